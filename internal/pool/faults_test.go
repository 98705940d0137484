package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/task"
)

// fake reader: numbered lines, cursor = number of lines handed out.
type fakeOpener struct {
	mu      sync.Mutex
	arena   *record.Pool
	lines   []string
	lossAt  int // losses come with this line
	opens   []int64
	block   bool // followers block at the end instead of ErrIdle
	gone    bool
	denied  error // of Open
	changed chan struct{}
}

type fakeReader struct {
	source.Losses
	o      *fakeOpener
	at     int
	target source.Target
	life   context.Context
}

func (o *fakeOpener) Open(ctx context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := 0
	if from.API != nil {
		at = int(from.API.Since)
	}
	o.opens = append(o.opens, int64(at))
	if o.denied != nil {
		return nil, o.denied
	}
	return &fakeReader{o: o, at: at, target: t, life: ctx}, nil
}

func (r *fakeReader) Next(ctx context.Context) (*record.Batch, error) {
	for {
		r.o.mu.Lock()
		switch {
		case r.at < len(r.o.lines):
			line := r.o.lines[r.at]
			if r.at == r.o.lossAt {
				r.Add(source.LostGap, 1)
			}
			r.at++
			src := r.target.Source
			r.o.mu.Unlock()
			b := r.o.arena.Force(len(line))
			b.Source = src
			b.Append(int64(r.at), record.Stdout, []byte(line))
			return b, nil
		case r.o.gone:
			r.o.mu.Unlock()
			return nil, io.EOF
		case r.o.block && r.target.Mode == source.Stream:
			r.o.mu.Unlock()
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-r.life.Done():
				return nil, r.life.Err()
			case <-r.o.changed:
				continue
			}
		}
		r.o.mu.Unlock()
		return nil, source.ErrIdle
	}
}
func (r *fakeReader) Cursor() position.Cursor {
	return position.Cursor{API: &position.APIPos{Since: int64(r.at)}}
}
func (r *fakeReader) Update(t source.Target) { r.target = t }
func (r *fakeReader) Close()                 {}
func (r *fakeReader) Leave()                 {}
func (r *fakeReader) Pause() time.Duration   { return 20 * time.Millisecond }

func apiTarget(mode source.Mode) source.Target {
	src := &record.Source{ID: "container:c1", Kind: "container", Name: "c1"}
	for i := range src.Streams {
		src.Streams[i] = record.NewStream(record.Labels{{Name: "o", Value: fmt.Sprint(i)}}, nil)
	}
	return source.Target{Source: src, Mode: mode, Container: &source.Container{ID: "c1", Name: "c1", Running: true, Started: time.Now()}}
}

// A loss that is told of does not move the position behind lines that are not delivered.
func TestALossMarkerDoesNotAcknowledgeTheBatchBehindIt(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lines: []string{"one", "two", "three"}, lossAt: 1}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	failed := false
	f.out.answer = func(b *record.Batch) (record.Outcome, error) {
		if string(b.Line(0)) == "two" && !failed {
			failed = true
			return record.Failed, errors.New("full")
		}
		return record.Delivered, nil
	}
	tg := apiTarget(source.Poll)
	tg.LossMarkers = true
	f.pool.Apply([]source.Target{tg})
	f.eventually("the line that was not delivered at first", func() bool { return slices.Contains(f.out.of("container:c1"), "two") })
}

// An exit whose entry finds no room is told when there is.
func TestAnExitThatFoundNoRoomIsToldLater(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lines: []string{"one"}, lossAt: -1}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	n := 0
	f.out.answer = func(b *record.Batch) (record.Outcome, error) {
		if b.Entries[0].Output == record.OutputNone {
			if n++; n == 1 {
				return record.Failed, errors.New("full")
			}
		}
		return record.Delivered, nil
	}
	tg := apiTarget(source.Poll)
	f.pool.Apply([]source.Target{tg})
	f.arrives("container:c1", "one")
	c := *tg.Container
	c.Running, c.Exit = false, &source.Exit{Time: time.Now(), Code: 3}
	tg.Container = &c
	f.pool.Apply([]source.Target{tg})
	f.arrives("container:c1", "one", "event=exit exit_code=3 oom_killed=false")
}

// A batch that fails later, of a container that is followed and says nothing more.
func TestAnUndeliveredBatchOfASilentContainerIsReadAgain(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lines: []string{"one", "two"}, lossAt: -1, block: true, changed: make(chan struct{})}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	held := make(chan *record.Batch, 10)
	f.pool.Dispatcher = &later{collector: f.out, held: held}
	f.pool.Apply([]source.Target{apiTarget(source.Stream)})
	b1, b2 := <-held, <-held
	b1.Done(record.Delivered)
	b2.Done(record.Failed)
	select {
	case b := <-held:
		if got := string(b.Line(0)); got != "two" {
			t.Errorf("%q is read again, want two", got)
		}
		b.Done(record.Delivered)
	case <-time.After(5 * time.Second):
		t.Error("the failed batch is not read again while the container says nothing")
	}
}

type later struct {
	*collector
	held chan *record.Batch
}

func (l *later) Deliver(_ context.Context, b *record.Batch) error { l.held <- b; return nil }

// The engine denies a container before discovery says that it is gone: its position stays.
func TestAContainerThatIsDeniedBeforeItIsGoneIsReadOnce(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lines: []string{"one", "two"}, lossAt: -1}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	tg := apiTarget(source.Poll)
	f.pool.Apply([]source.Target{tg})
	f.arrives("container:c1", "one", "two")
	c := *tg.Container
	c.Running, c.Exit = false, &source.Exit{Time: time.Now(), Code: 3}
	tg.Container = &c
	o.mu.Lock()
	o.gone = true
	opens := len(o.opens)
	o.mu.Unlock()
	f.pool.Apply([]source.Target{tg})
	f.eventually("the container to be asked for again", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.opens) >= opens+2
	})
	f.pool.Apply([]source.Target{tg}) // something else happened on the host
	tg.Gone = true
	f.pool.Apply([]source.Target{tg})
	f.eventually("the end", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.forgot) == 1 })
	f.arrives("container:c1", "one", "two", "event=exit exit_code=3 oom_killed=false")
}

// A target may change before the goroutine that is to follow it has begun.
func TestAnUpdateMayComeBeforeAFollowerHasBegun(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lossAt: -1}
	p := newFixture(t, map[source.Mode]source.Opener{source.Stream: o}).pool
	j := &job{p: p, id: "container:c1", target: apiTarget(source.Stream), state: following}
	j.ctx, j.cancel = context.WithCancel(t.Context())
	defer j.cancel()
	j.update(apiTarget(source.File))
	if !j.evicted {
		t.Error("the goroutine will not know that it is to end")
	}
}

// What one change on a host with 5,000 containers costs.
func BenchmarkApply5000(b *testing.B) {
	p := New(Deps{Scope: task.NewRoot(b.Context(), "b", slog.New(slog.DiscardHandler)), Streams: 50, PollInterval: time.Second})
	var ts []source.Target
	for i := range 5000 {
		tg := apiTarget(source.Stream)
		tg.Source = &record.Source{ID: fmt.Sprintf("container:%064d", i), Name: fmt.Sprint(i)}
		ts = append(ts, tg)
		j := &job{p: p, id: tg.Source.ID, target: tg, state: idle}
		p.jobs[j.id] = j
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Apply(ts)
	}
}

// A log that cannot be opened is told of until it can be, though nothing is in it then.
func TestALogThatCannotBeOpenedIsToldOfUntilItCanBe(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lossAt: -1, denied: errors.New("too many open files")}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	f.pool.Apply([]source.Target{apiTarget(source.Poll)})
	says := func(want string) func() bool {
		return func() bool { return f.pool.Statuses()[0].Error == want }
	}
	f.eventually("the error", says("too many open files"))
	o.mu.Lock()
	o.denied = nil
	o.mu.Unlock()
	f.eventually("no error", says(""))
}

func TestFailuresCountWhenTheyLast(t *testing.T) {
	start := time.Now()
	r := row{failed: start, failedLast: start}
	if r.fails(start.Add(time.Second)) {
		t.Error("a moment's failure counts")
	}
	r.failedLast = start.Add(10 * time.Second)
	if !r.fails(start.Add(20 * time.Second)) {
		t.Error("one that lasts does not")
	}
	if r.fails(start.Add(2 * time.Minute)) {
		t.Error("a stream that has not failed again still counts")
	}
}
