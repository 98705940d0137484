package dispatch

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/logcapturer/log_capturer/internal/units"
)

func TestALimiterKeepsToItsRate(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimiter(RateLimitConfig{BytesPerSecond: 100, Burst: 300})
	passed := 0
	for range 60_000 { // ten minutes
		if l.take("loud", 70, now) == 0 {
			passed += 70
		}
		now = now.Add(10 * time.Millisecond)
	}
	if want := 300 + 600*100; passed < want-100 || passed > want+100 {
		t.Errorf("%d bytes passed in ten minutes, want %d", passed, want)
	}
	if wait := l.take("quiet", 70, now); wait != 0 {
		t.Errorf("another source waits for %v", wait)
	}
	l.take("large", 1300, now)
	if wait := l.take("large", 1, now); wait < 10*time.Second || wait > 10*time.Second+20*time.Millisecond {
		t.Errorf("1000 bytes of debt are paid after %v, want 10s", wait)
	}
	for i := range 2 * maxBuckets {
		l.take(fmt.Sprint(i), 1, now)
		now = now.Add(time.Second)
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets are kept", len(l.buckets))
	}
}

// A file beyond its rate waits; a stream goes to the spool; others are not concerned.
func TestBeyondItsRateASourceIsDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureWith(t, 1<<20, 1<<20, func(c *Config) {
			c.RateLimit = RateLimitConfig{BytesPerSecond: 10, Policy: LimitDelay}
		}, "a", "b")
		o := &outcomes{}
		began := time.Now()
		for i := range 100 { // 690 bytes
			if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), i, o)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 65*time.Second || took > 69*time.Second {
			t.Errorf("690 bytes at 10 a second took %v", took)
		}
		began = time.Now()
		for i := range 10 {
			if err := f.d.Deliver(t.Context(), f.batch(f.source("other", true), i, o)); err != nil && i < 1 {
				t.Fatal(err)
			}
			if i == 0 && time.Since(began) > 0 {
				t.Error("another source waited")
			}
		}
		f.sinks["a"].set(down)
		began = time.Now()
		for i := range 100 {
			if err := f.d.Deliver(t.Context(), f.batch(f.source("stream", false), i, o)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a stream waited for %v", took)
		}
		if n := testutil.ToFloat64(f.metrics.LinesLimited.WithLabelValues("spooled")); n < 90 {
			t.Errorf("%v lines of the stream went to the spool for the limit", n)
		}
		f.sinks["a"].set(nil)
		f.eventually("all", func() bool { return len(f.sinks["a"].got()) == 210 })
		for _, name := range []string{"a", "b"} {
			f.balanced(name, 210)
			for id, n := range map[string]int{"file": 100, "other": 10, "stream": 100} {
				if !inOrder(f.sinks[name].got(), id, n) {
					t.Errorf("sink %s: lines of %s out of order", name, id)
				}
			}
		}
	})
}

func TestBeyondItsRateLinesAreDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureWith(t, 1<<20, 1<<20, func(c *Config) {
			c.RateLimit = RateLimitConfig{BytesPerSecond: 100 * units.KiB, Burst: 100, Policy: LimitDrop}
		}, "a", "may")
		o := &outcomes{}
		for _, id := range []string{"file", "stream"} {
			for i := range 100 {
				if err := f.d.Deliver(t.Context(), f.batch(f.source(id, id == "file"), i, o)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, name := range []string{"a", "may"} {
			f.balanced(name, 200)
			f.eventually("the rest", func() bool { acked, inside, _, _ := f.books(name); return acked > 0 && inside == 0 })
			dropped := int(testutil.ToFloat64(f.metrics.LinesDropped.WithLabelValues(name, "rate_limit")))
			if got := len(f.sinks[name].got()); dropped < 100 || got != 200-dropped {
				t.Errorf("sink %s: %d lines came, %d were dropped, of 200", name, got, dropped)
			}
		}
		f.eventually("an answer for every batch", func() bool { return o.count() == 100 }) // both sources' are numbered alike
	})
}
