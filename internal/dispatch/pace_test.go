package dispatch

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/units"
)

// leisurely is a sink that takes a while for a request, and notes for how long lines waited for
// theirs.
type leisurely struct {
	takes time.Duration

	mu              sync.Mutex
	requests, lines int
	longest         time.Duration
}

func (s *leisurely) answer(views []record.View) error {
	s.mu.Lock()
	s.requests++
	for _, v := range views {
		for _, e := range v.Entries() {
			s.lines++
			s.longest = max(s.longest, time.Since(time.Unix(0, e.Time)))
		}
	}
	s.mu.Unlock()
	<-time.After(s.takes)
	return nil
}

func TestTheRhythmOfRequestsFollowsTheSink(t *testing.T) {
	const ms, lasts = time.Millisecond, 10 * time.Second
	for _, c := range []struct {
		name         string
		takes, every time.Duration // of a request, between two lines
		requests     int           // a second, at most
		least, most  time.Duration // that the line waits which waits longest
	}{
		{"rare lines go out at once", ms, 10 * ms, 100, 0, 0},
		{"many lines share requests", ms, ms, 130, 3 * ms, 9 * ms},
		{"a slower sink has fewer requests", 12 * ms, ms, 12, 80 * ms, 110 * ms},
		{"no line waits longer than linger", 100 * ms, ms, 5, 200 * ms, 250 * ms},
		{"after a pause a line goes out at once", 100 * ms, time.Second, 1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixtureWith(t, 1<<20, 1<<20, func(config *Config) { config.Batch.Linger = units.Duration(250 * ms) }, "a")
				s, src := &leisurely{takes: c.takes}, f.source("s", true)
				f.sinks["a"].set(s.answer)
				n := int(lasts / c.every)
				for i := range n {
					if err := f.d.Deliver(t.Context(), f.batch(src, i, &outcomes{})); err != nil {
						t.Fatal(err)
					}
					<-time.After(c.every)
				}
				<-time.After(time.Second)
				if s.lines != n {
					t.Errorf("%d lines came, want %d", s.lines, n)
				}
				// The rhythm is found within some requests.
				if most := c.requests*int(lasts/time.Second) + 20; s.requests > most {
					t.Errorf("%d requests in %v, want %d at most", s.requests, lasts, most)
				}
				if s.longest < c.least || s.longest > c.most {
					t.Errorf("a line waited for %v, want %v to %v", s.longest, c.least, c.most)
				}
			})
		})
	}
}
