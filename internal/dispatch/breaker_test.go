package dispatch

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

// A dead endpoint costs one delivery at a time, after pauses that grow to the cap; what
// it says about when to come back is kept to; and its first success opens the gates.
func TestADeadEndpointCostsOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 2 * time.Second // a try that fails
		const initial, longest, asked = 500 * time.Millisecond, 30 * time.Second, 5 * time.Minute
		f := newFixtureWith(t, 64*record.SmallArena, 4<<20, func(c *Config) {
			c.Retry = RetryConfig{Initial: units.Duration(initial), Max: units.Duration(longest)}
			c.Batch.MaxBytes = 100
		}, "a", "b")
		var mu sync.Mutex
		var tries []time.Time
		answer := errDown
		f.sinks["a"].set(func([]record.View) error {
			mu.Lock()
			tries = append(tries, time.Now())
			err := answer
			mu.Unlock()
			if err != nil {
				task.Sleep(context.Background(), slow)
			}
			return err
		})
		say := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			answer = err
		}
		tried := func() []time.Time {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(tries)
		}
		src, o := f.source("s", true), &outcomes{}
		for i := range 300 {
			if err := f.d.Deliver(t.Context(), f.batch(src, i, o)); err != nil {
				t.Fatal(err)
			}
		}
		sleep := func(d time.Duration) {
			task.Sleep(context.Background(), d)
			synctest.Wait()
		}
		sleep(10 * time.Minute)
		if lane := f.d.Lanes()[0]; lane.Up() || !f.d.Lanes()[1].Up() {
			t.Error("the lanes do not know which sink is down")
		}
		reason := f.board.Report().Components[0].Reason
		if !regexp.MustCompile(`connection refused; next try at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(reason) {
			t.Errorf("health says %q", reason)
		}
		want, different, tries := initial, 0, tried()
		for i := range len(tries) - 1 {
			gap := tries[i+1].Sub(tries[i]) - slow
			if gap < want/2 || gap > want+time.Millisecond {
				t.Errorf("pause %d is %v, want %v to %v", i, gap, want/2, want)
			}
			if i > 0 && gap != tries[i].Sub(tries[i-1])-slow {
				different++
			}
			want = min(2*want, longest)
		}
		if len(tries) < 20 || len(tries) > 50 || different < len(tries)/2 {
			t.Errorf("%d tries in ten minutes, %d pauses unlike the one before", len(tries), different)
		}

		say(&sink.RetryError{After: asked, Err: errors.New("429 Too Many Requests")})
		sleep(longest + slow)
		before := len(tried())
		say(nil)
		sleep(asked - longest - 2*slow - time.Second)
		if n := len(tried()); n != before {
			t.Errorf("%d tries although the sink asked for %v", n-before, asked)
		}
		sleep(longest + 5*slow)
		if got := f.sinks["a"].got(); !slices.Equal(got, lines("s", 300)) {
			t.Errorf("after the first success %d of 300 lines came", len(got))
		}
		tries = tried()
		if took := tries[len(tries)-1].Sub(tries[before]); took > time.Second || len(tries)-before < 10 {
			t.Errorf("the backlog took %v in %d deliveries", took, len(tries)-before)
		}
		if !f.d.Lanes()[0].Up() {
			t.Error("the lane does not know that the sink is up")
		}
	})
}
