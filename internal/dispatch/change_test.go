package dispatch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

// same is a Change that changes nothing yet.
func (f *fixture) same() Change {
	return Change{Config: f.config, Memory: 1 << 20, Sinks: map[string]sink.Sink{}}
}

const grace = time.Second

// change applies c, with a second for what is in the way.
func (f *fixture) change(c Change) {
	ctx, cancel := context.WithTimeout(f.t.Context(), grace)
	defer cancel()
	f.d.Change(ctx, c)
}

// Sinks are replaced all the time while lines come: each is at one of them, in order.
func TestSinksAreReplacedUnderLoad(t *testing.T) {
	f := newFixture(t, 64<<10, 1<<20, "a")
	const batches = 2000
	o, all := &outcomes{}, []*scripted{f.sinks["a"]}
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
	for through := false; !through; {
		select {
		case <-put:
			through = true
		default:
		}
		c, next := f.same(), &scripted{}
		c.Sinks["a"] = next
		f.change(c)
		all = append(all, next)
	}
	f.eventually("an answer for every batch", func() bool { return o.count() == batches })
	var lines []string
	for _, s := range all {
		lines = append(lines, s.got()...)
	}
	if len(lines) != batches || !inOrder(lines, "file", batches) {
		t.Errorf("%d lines at %d sinks, of %d", len(lines), len(all), batches)
	}
	for _, s := range all[:len(all)-1] {
		if !s.closed.Load() {
			t.Fatal("a sink that was replaced is open")
		}
	}
	t.Logf("%d sinks", len(all))
}

// What waits for the next try goes to the new sink at once.
func TestANewSinkIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureWith(t, 1<<20, 1<<20, func(c *Config) {
			c.Retry = RetryConfig{Initial: units.Duration(time.Hour), Max: units.Duration(time.Hour)}
		}, "a")
		f.sinks["a"].set(down)
		o := &outcomes{}
		for i := range 10 {
			if err := f.d.Deliver(t.Context(), f.batch(f.source("stream", false), i, o)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		began, c, next := time.Now(), f.same(), &scripted{}
		c.Sinks["a"] = next
		f.change(c)
		f.eventually("all lines", func() bool { return len(next.got()) == 10 })
		if !inOrder(next.got(), "stream", 10) {
			t.Errorf("got %v", next.got())
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// hanging takes nothing, and ends with its context only.
type hanging struct{ scripted }

func (*hanging) Send(ctx context.Context, _ []record.View) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestASendThatHangsDoesNotHoldUpAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "a")
		o := &outcomes{}
		c, stuck := f.same(), &hanging{}
		c.Sinks["a"] = stuck
		f.change(c)
		if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), 0, o)); err != nil {
			t.Fatal(err)
		}
		task.Sleep(t.Context(), time.Minute)
		began, next := time.Now(), &scripted{}
		c.Sinks["a"] = next
		f.change(c)
		if took := time.Since(began); took != grace {
			t.Errorf("the change took %v, want %v", took, grace)
		}
		f.eventually("the line", func() bool { return len(next.got()) == 1 })
	})
}

// stubborn ends when it is let, whatever its context says.
type stubborn struct {
	scripted
	let chan struct{}
}

func (s *stubborn) Send(context.Context, []record.View) error {
	<-s.let
	return errDown
}

// A sink that does not end by its context is waited for by the next one, not by the change.
func TestASendThatIgnoresItsEndDoesNotHoldUpAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "a")
		o := &outcomes{}
		c, stuck, next := f.same(), &stubborn{let: make(chan struct{})}, &scripted{}
		c.Sinks["a"] = stuck
		f.change(c)
		if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), 0, o)); err != nil {
			t.Fatal(err)
		}
		task.Sleep(t.Context(), time.Minute)
		began := time.Now()
		c.Sinks["a"] = &scripted{}
		f.change(c)
		c.Sinks["a"] = next // and yet another one
		f.change(c)
		if took := time.Since(began); took > 2*(grace+closeWait) {
			t.Errorf("the changes took %v", took)
		}
		if stuck.closed.Load() {
			t.Error("a sink that is in use was closed")
		}
		close(stuck.let)
		f.eventually("the line", func() bool { return len(next.got()) == 1 })
		if !stuck.closed.Load() {
			t.Error("the sink of before is open")
		}
	})
}

// A sink that is down, and waits long for its next try, goes at once.
func TestADeadSinkGoesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureWith(t, 1<<20, 1<<20, func(c *Config) {
			c.Retry = RetryConfig{Initial: units.Duration(time.Hour), Max: units.Duration(time.Hour)}
		}, "a", "b")
		f.sinks["b"].set(down)
		o := &outcomes{}
		if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), 0, o)); err != nil {
			t.Fatal(err)
		}
		task.Sleep(t.Context(), time.Minute)
		began, c := time.Now(), f.same()
		c.Remove = []string{"b"}
		f.change(c)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		f.eventually("an answer", func() bool { return o.count() == 1 })
	})
}

// A canary arrives though its neighbours are refused; one that is refused does not.
func TestACanaryArrivesBesideWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "a")
		arrived := 0
		f.d.Lanes()[0].arrived = func(string, time.Time) { arrived++ }
		f.sinks["a"].set(func(views []record.View) error {
			for i, v := range views {
				if v.Batch.Source.ID == "bad" {
					return &sink.RejectedError{Entries: []sink.Rejection{{View: i, Reason: "rejected"}}}
				}
			}
			return nil
		})
		canary := f.source("canary", false)
		canary.Kind = record.KindCanary
		o := &outcomes{}
		for i, src := range []*record.Source{f.source("bad", true), canary} {
			if err := f.d.Deliver(t.Context(), f.batch(src, i, o)); err != nil {
				t.Fatal(err)
			}
		}
		f.eventually("both", func() bool { return o.count() == 2 })
		if arrived != 1 {
			t.Errorf("%d canaries arrived", arrived)
		}
	})
}

// A sink that goes leaves what it has not taken in its spool, and takes it when it comes
// back; the others are not concerned, and no source is read again.
func TestSinksComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "a")
		o, n := &outcomes{}, 0
		deliver := func(id string, canWait bool) {
			for range 10 {
				if err := f.d.Deliver(t.Context(), f.batch(f.source(id, canWait), n, o)); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		deliver("first", true) // before there is another
		c := f.same()
		c.Add = []*Lane{f.lane("b", 1<<20, 1<<20)}
		f.change(c)
		f.sinks["b"].set(down)
		deliver("second", true)
		deliver("third", false)
		f.eventually("all at the first sink", func() bool { return len(f.sinks["a"].got()) == 30 })

		old := f.sinks["b"]
		c = f.same()
		c.Remove = []string{"b"}
		f.change(c)
		if !old.closed.Load() || len(f.d.Lanes()) != 1 || len(f.board.Report().Components) != 1 {
			t.Errorf("the sink is still there: %+v", f.board.Report())
		}
		f.eventually("an answer for every batch", func() bool { return o.count() == 30 })
		for i, outcome := range o.all {
			if outcome != record.Delivered {
				t.Errorf("batch %d is to be read again", i)
			}
		}
		deliver("fourth", true) // of which it knows nothing

		c = f.same()
		c.Add = []*Lane{f.lane("b", 1<<20, 1<<20)}
		f.change(c)
		f.eventually("what it had left", func() bool { return len(f.sinks["b"].got()) == 20 })
		f.eventually("all at the first sink", func() bool { return len(f.sinks["a"].got()) == 40 })
		if got := fmt.Sprint(f.sinks["b"].got()); !strings.Contains(got, "second-10 ") || !strings.Contains(got, "third-29") {
			t.Errorf("it got %s", got)
		}
		for _, l := range f.d.Lanes() {
			acked, inside, dead, dropped := f.books(l.Name())
			if there := acked + inside + dead + dropped + int(l.Missed()-l.Restored()); there != n {
				t.Errorf("sink %s: %d of %d lines are accounted for", l.Name(), there, n)
			}
		}
	})
}

func TestWhatFindsNoRoomWhenASinkGoesIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 64<<10, 400, "a", "b")
		f.sinks["b"].set(down)
		o, n := &outcomes{}, 0
		for ; n < 8; n++ {
			if err := f.d.Deliver(t.Context(), f.batch(f.source(fmt.Sprint("file", n), true), n, o)); err != nil {
				t.Fatal(err)
			}
		}
		c := f.same()
		c.Remove = []string{"b"}
		f.change(c)
		f.eventually("an answer for every batch", func() bool { return o.count() == n })
		for i, outcome := range o.all {
			if outcome != record.Delivered {
				t.Errorf("batch %d is to be read again", i)
			}
		}
		parked := int(f.lane("b", 1<<20, 1<<20).Restored())
		if dropped := int(testutil.ToFloat64(f.metrics.LinesDropped.WithLabelValues("b", "not_spooled"))); dropped == 0 || dropped+parked != n {
			t.Errorf("%d lines are in the spool, %d dropped, of %d", parked, dropped, n)
		}
	})
}

// Limits that change hold from then on.
func TestLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "a")
		f.sinks["a"].set(down)
		c := f.same()
		c.Memory, c.Config.Spool = 4<<10, SpoolConfig{MaxBytes: 4 << 10, WhenFull: DropNewest}
		f.change(c)
		o := &outcomes{}
		for i := range 1000 {
			if err := f.d.Deliver(t.Context(), f.batch(f.source("stream", false), i, o)); err != nil {
				t.Fatal(err)
			}
		}
		if testutil.ToFloat64(f.metrics.LinesDropped.WithLabelValues("a", "drop_newest")) == 0 {
			t.Error("the spool's new cap and policy are not in use")
		}
		f.sinks["a"].set(nil)
		c.Config.RateLimit = RateLimitConfig{BytesPerSecond: 1, Policy: LimitDrop}
		f.change(c)
		for i := range 10 {
			if err := f.d.Deliver(t.Context(), f.batch(f.source("file", true), i, o)); err != nil {
				t.Fatal(err)
			}
		}
		if testutil.ToFloat64(f.metrics.LinesLimited.WithLabelValues("dropped")) == 0 {
			t.Error("the rate limit is not in use")
		}
		c.Config.RateLimit = RateLimitConfig{BytesPerSecond: 1, Policy: LimitDelay}
		f.change(c)
		began := time.Now()
		time.AfterFunc(time.Minute, func() { c.Config.RateLimit = RateLimitConfig{}; f.change(c) })
		for i := range 100 {
			if err := f.d.Deliver(t.Context(), f.batch(f.source("slow", true), i, o)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("a limit that is no more delayed lines for %v", took)
		}
	})
}
