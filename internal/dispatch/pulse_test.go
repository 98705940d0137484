package dispatch

import (
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
)

// A sink that is down for hours, and one that never answers, are no reason to restart the
// agent: their lanes do what they are there for.
func TestADeadSinkIsNoDeadLane(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "down", "hangs", "fine")
	f.sinks["down"].set(down)
	hang := make(chan struct{})
	defer close(hang)
	f.sinks["hangs"].set(func([]record.View) error { <-hang; return nil })
	pulse, now := f.d.Pulse(), time.Now()
	var o outcomes
	src := f.source("a", true)
	for n := range 100 {
		if err := f.d.Deliver(t.Context(), f.batch(src, n, &o)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(30 * time.Second)
		f.eventually("the lanes to have their batches", func() bool {
			for _, l := range f.d.Lanes() {
				if l.queue.Takeable() && l.taking.Load() != 0 {
					return false
				}
			}
			return true
		})
		if err := pulse.Check(now); err != nil {
			t.Fatal(err)
		}
	}
}

func TestALaneThatLeavesABatchLyingIsFound(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "loki")
	lane := f.d.Lanes()[0]
	f.sinks["loki"].set(down)
	var o outcomes
	deliver := func(n int) {
		t.Helper()
		if err := f.d.Deliver(t.Context(), f.batch(f.source("a", true), n, &o)); err != nil {
			t.Fatal(err)
		}
	}
	deliver(0)
	f.eventually("the lane to have the first", func() bool { return lane.taking.Load() == 0 && !lane.Up() })
	lane.leaving() // it ends, and the queue keeps what comes
	f.sinks["loki"].set(nil)
	<-lane.done
	deliver(1)
	lane.taking.Store(1) // as if it had missed its wake-up
	pulse, now := f.d.Pulse(), time.Now()
	for _, c := range []struct {
		after time.Duration
		stuck bool
	}{{0, false}, {30 * time.Second, false}, {59 * time.Second, false}, {61 * time.Second, true}, {90 * time.Second, true}} {
		err := pulse.Check(now.Add(c.after))
		if stuck := err != nil; stuck != c.stuck || stuck && !strings.Contains(err.Error(), "the lane of sink loki has left a batch lying") {
			t.Errorf("after %s: %v", c.after, err)
		}
	}
	lane.taking.Store(2) // it moved meanwhile
	if err := pulse.Check(now.Add(2 * time.Minute)); err != nil {
		t.Error(err)
	}
}
