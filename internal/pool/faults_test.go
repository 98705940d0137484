package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
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

// D: a loss marker acknowledges the batch behind it.
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
	time.Sleep(500 * time.Millisecond)
	t.Log(f.out.of("container:c1"), "opened at", o.opens)
	for _, l := range f.out.of("container:c1") {
		if l == "two" {
			return
		}
	}
	t.Error("LOST: two")
}

// E: an exit that finds the sink full is never told.
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
	time.Sleep(200 * time.Millisecond)
	c := *tg.Container
	c.Running, c.Exit = false, &source.Exit{Time: time.Now(), Code: 3}
	tg.Container = &c
	f.pool.Apply([]source.Target{tg})
	time.Sleep(time.Second)
	t.Log(f.out.of("container:c1"), "told", n, "opened at", o.opens)
	if n < 2 {
		t.Error("LOST: the exit entry")
	}
}

// F: a batch that fails later, of a container that is followed and says nothing more.
func TestAnUndeliveredBatchOfASilentContainerIsReadAgain(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lines: []string{"one", "two"}, lossAt: -1, block: true, changed: make(chan struct{})}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	held := make(chan *record.Batch, 10)
	f.pool.Dispatcher = &later{collector: f.out, held: held}
	f.pool.Apply([]source.Target{apiTarget(source.Stream)})
	b1, b2 := <-held, <-held
	time.Sleep(100 * time.Millisecond)
	b1.Done(record.Delivered)
	b2.Done(record.Failed)
	select {
	case b := <-held:
		t.Logf("read again: %s", b.Line(0))
		b.Done(record.Delivered)
	case <-time.After(5 * time.Second):
		t.Error("STUCK: the failed batch is not read again while the container says nothing; opened", o.opens)
	}
}

type later struct {
	*collector
	held chan *record.Batch
}

func (l *later) Deliver(_ context.Context, b *record.Batch) error { l.held <- b; return nil }

// K: the engine says 404 though discovery does not say that it is gone: the position and
// the job go, and the next Apply begins anew.
func TestAContainerThatIsDeniedBeforeItIsGoneIsReadOnce(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lines: []string{"one", "two"}, lossAt: -1}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	tg := apiTarget(source.Poll)
	f.pool.Apply([]source.Target{tg})
	time.Sleep(200 * time.Millisecond)
	c := *tg.Container
	c.Running, c.Exit = false, &source.Exit{Time: time.Now(), Code: 3}
	tg.Container = &c
	o.mu.Lock()
	o.gone = true
	o.mu.Unlock()
	f.pool.Apply([]source.Target{tg})
	time.Sleep(5 * time.Second)
	f.pool.Apply([]source.Target{tg}) // something else happened on the host
	time.Sleep(time.Second)
	t.Log(f.out.of("container:c1"), "opened at", o.opens, f.forgot)
	if n := len(f.out.of("container:c1")); n != 3 {
		t.Errorf("REPEATED: %d entries, want 2 lines and 1 exit", n)
	}
}

// G: update between put (state following) and follow's first lock.
func TestAnUpdateMayComeBeforeAFollowerHasBegun(t *testing.T) {
	o := &fakeOpener{arena: record.NewPool(1 << 20), lossAt: -1}
	p := New(Deps{Scope: newFixture(t, map[source.Mode]source.Opener{source.Stream: o}).scope.Child("x"), Streams: 1, PollInterval: time.Second, Store: nil})
	_ = p
	defer func() {
		if x := recover(); x != nil {
			t.Error("PANIC under the pool's lock:", x)
		}
	}()
	j := &job{p: p, id: "container:c1", target: apiTarget(source.Stream), state: following}
	j.ctx, j.cancel = context.WithCancel(t.Context())
	tg := apiTarget(source.File)
	j.update(tg)
}

// P: a burst of applies at 5,000 targets.
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

var _ = synctest.Test
