package dispatch

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

// off switches the only lane off, with a second for what is in the way.
func (f *fixture) off() error {
	ctx, cancel := context.WithTimeout(f.t.Context(), grace)
	defer cancel()
	return f.d.Lanes()[0].SwitchOff(ctx)
}

func (f *fixture) on(s sink.Sink) error { return f.d.Lanes()[0].SwitchOn(f.t.Context(), s) }

// A sink is switched off and on all the time while lines come: each is at one of its
// lives, once and in order, and nothing is left over.
func TestASinkIsSwitchedUnderLoad(t *testing.T) {
	f := newFixture(t, 16<<10, 1<<20, "a")
	const batches, least = 3000, 50
	o, all := &outcomes{}, []*scripted{f.sinks["a"]}
	f.eventually("the lane", func() bool { return f.scope.Census()["test/sinks/a/lane"] == 1 })
	before := f.scope.Census()
	put := make(chan struct{})
	f.scope.Go("source", func(ctx context.Context) {
		defer close(put)
		for i := range batches {
			if err := f.d.Deliver(ctx, f.batch(f.source("file", true), i, o)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for through := false; !through || len(all) < least; {
		select {
		case <-put:
			through = true
		default:
		}
		last := all[len(all)-1]
		if err := f.off(); err != nil {
			t.Fatal(err)
		}
		if !last.closed.Load() || f.d.Lanes()[0].Up() {
			t.Fatalf("off, its sink is closed: %v, up: %v", last.closed.Load(), f.d.Lanes()[0].Up())
		}
		f.eventually("the end of what sends", func() bool { return f.scope.Census()["test/sinks/a/lane"] == 0 })
		all = append(all, &scripted{})
		if err := f.on(all[len(all)-1]); err != nil {
			t.Fatal(err)
		}
		if !through {
			f.eventually("a line", func() bool { return len(all[len(all)-1].got()) > 0 || o.count() == batches })
		}
	}
	f.eventually("an answer for every batch", func() bool { return o.count() == batches })
	var lines []string
	for _, s := range all {
		lines = append(lines, s.got()...)
	}
	if len(lines) != batches || !inOrder(lines, "file", batches) {
		t.Errorf("%d lines, of %d", len(lines), batches)
	}
	f.balanced("a", batches)
	f.eventually("as many goroutines as before", func() bool { return maps.Equal(f.scope.Census(), before) })
	t.Logf("%d lives", len(all))
}

// While it is off nothing is sent, also no dead letters; what comes fills memory and spool,
// as if the sink were down.
func TestASinkThatIsOffIsSentNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 4<<10, 4<<10, "a")
		synctest.Wait()
		if err := errors.Join(f.off(), f.off()); err != nil { // twice is as good as once
			t.Fatal(err)
		}
		o, n := &outcomes{}, 0
		for ; ; n++ {
			err := f.d.Deliver(t.Context(), f.batch(f.source("stream", false), n, o))
			if errors.Is(err, ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		task.Sleep(t.Context(), time.Hour)
		if got := f.sinks["a"].sends; got != 0 {
			t.Errorf("%d sends while it was off", got)
		}
		var later *sink.RetryError
		if err := f.d.Lanes()[0].Resend(t.Context(), letter("x")); !errors.As(err, &later) || !strings.Contains(err.Error(), "switched off by hand") {
			t.Errorf("dead letters: %v", err)
		}
		c, unused := f.same(), &scripted{}
		c.Sinks["a"] = unused
		f.change(c)
		if !unused.closed.Load() {
			t.Error("the sink of a reload is kept open")
		}
		next := &scripted{}
		if err := f.on(next); err != nil {
			t.Fatal(err)
		}
		f.eventually("all lines", func() bool { return len(next.got()) == n })
		if n < 20 || !inOrder(next.got(), "stream", n) || len(unused.got()) > 0 {
			t.Errorf("%d lines, in order: %v", n, inOrder(next.got(), "stream", n))
		}
	})
}

// A sink that is tried again after a long pause is off at once.
func TestTheNextTryIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureWith(t, 1<<20, 1<<20, func(c *Config) {
			c.Retry = RetryConfig{Initial: units.Duration(time.Hour), Max: units.Duration(time.Hour)}
		}, "a")
		f.sinks["a"].set(down)
		if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), 0, &outcomes{})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if err := f.off(); err != nil || time.Since(began) > grace {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// slow answers after a while, unless it is cut off.
type slow struct {
	scripted

	takes time.Duration
}

func (s *slow) Send(ctx context.Context, views []record.View) error {
	if !task.Sleep(ctx, s.takes) {
		return ctx.Err()
	}
	return s.scripted.Send(ctx, views)
}

func TestARequestUnderWayHasTimeForItsAnswer(t *testing.T) {
	for _, c := range []struct {
		takes        time.Duration
		first, after int // lines at the sink of before, and at the next
	}{{grace / 2, 1, 0}, {time.Hour, 0, 1}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, 1<<20, 1<<20, "a")
			first, next, change := &slow{takes: c.takes}, &scripted{}, f.same()
			change.Sinks["a"] = first
			f.change(change)
			if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), 0, &outcomes{})); err != nil {
				t.Fatal(err)
			}
			task.Sleep(t.Context(), grace/4)
			if err := f.off(); err != nil {
				t.Fatal(err)
			}
			if err := f.on(next); err != nil {
				t.Fatal(err)
			}
			task.Sleep(t.Context(), time.Minute)
			if len(first.got()) != c.first || len(next.got()) != c.after {
				t.Errorf("takes %v: %d lines at the first, %d at the next", c.takes, len(first.got()), len(next.got()))
			}
		})
	}
}

func TestASinkThatDoesNotEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "a")
		stuck, change := &stubborn{let: make(chan struct{})}, f.same()
		change.Sinks["a"] = stuck
		f.change(change)
		if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), 0, &outcomes{})); err != nil {
			t.Fatal(err)
		}
		task.Sleep(t.Context(), time.Minute)
		if err := f.off(); !errors.Is(err, errSending) {
			t.Errorf("off: %v", err)
		}
		refused := &scripted{}
		if err := f.on(refused); !errors.Is(err, errSending) || !refused.closed.Load() {
			t.Errorf("on: %v", err)
		}
		close(stuck.let)
		next := &scripted{}
		if err := errors.Join(f.off(), f.on(next)); err != nil {
			t.Fatal(err)
		}
		f.eventually("the line", func() bool { return len(next.got()) == 1 })
		if !stuck.closed.Load() {
			t.Error("it is open")
		}
	})
}

// An agent that stops, and a reload that removes the sink, do not wait for one that is off:
// what it holds is in its spool then.
func TestWhatASinkThatIsOffHoldsGoesToItsSpool(t *testing.T) {
	for name, end := range map[string]func(f *fixture){
		"stop": func(f *fixture) {
			f.d.Drain()
			ctx, cancel := context.WithTimeout(f.t.Context(), grace)
			defer cancel()
			if !f.d.Drained(ctx) {
				f.t.Error("it is waited for")
			}
			if err := errors.Join(f.scope.Close(f.t.Context()), f.d.Close()); err != nil {
				f.t.Fatal(err)
			}
		},
		"removal": func(f *fixture) {
			c := f.same()
			c.Add, c.Remove = []*Lane{f.lane("b", 1<<20, 1<<20)}, []string{"a"}
			began := time.Now()
			f.change(c)
			if took := time.Since(began); took >= grace {
				f.t.Errorf("it was waited for, %v", took)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 1<<20, 1<<20, "a")
				synctest.Wait()
				if err := f.off(); err != nil {
					t.Fatal(err)
				}
				o := &outcomes{}
				for i := range 10 {
					if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), i, o)); err != nil {
						t.Fatal(err)
					}
				}
				end(f)
				if got := f.reopened("a"); got != 10 || f.sinks["a"].sends != 0 {
					t.Errorf("%d lines in the spool, %d sends", got, f.sinks["a"].sends)
				}
			})
		})
	}
}
