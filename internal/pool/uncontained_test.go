package pool

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/task"
)

// diary is a log that is no container's and is waited for, as systemd's journal is: it has a
// line a second, its place moves without one before the first, and reading fails after the
// third.
type diary struct {
	target source.Target
	lines  atomic.Int64
	moved  bool
	opened []position.Cursor
	closed int
}

var errTorn = errors.New("torn")

func (d *diary) Open(_ context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	d.target = t
	d.opened = append(d.opened, from)
	return d, nil
}

func (d *diary) Next(ctx context.Context) (*record.Batch, error) {
	if !d.moved {
		d.moved = true
		return nil, source.ErrIdle
	}
	if !task.Sleep(ctx, time.Second) {
		return nil, ctx.Err()
	}
	n := d.lines.Add(1)
	if n == 4 {
		return nil, errTorn
	}
	b := record.NewPool(1 << 20).Force(1)
	b.Source = d.target.Source
	b.Append(n, record.OutputNone, []byte("x"))
	return b, nil
}

func (d *diary) Cursor() position.Cursor {
	return position.Cursor{Journal: &position.JournalPos{Since: 1 + d.lines.Load()}}
}
func (d *diary) Update(source.Target) {}
func (d *diary) Close()               { d.closed++ }
func (d *diary) Pause() time.Duration { return time.Millisecond }

// held is a dispatcher that takes nothing until it is told to.
type held struct {
	numbered
	open chan struct{}
	wait bool // what it was given can wait
}

func (h *held) Deliver(ctx context.Context, b *record.Batch) error {
	h.wait = b.Source.CanWait
	select {
	case <-h.open:
	case <-ctx.Done():
		b.Done(record.Failed)
		return ctx.Err()
	}
	return h.numbered.Deliver(ctx, b)
}

// What is no container is followed by a goroutine of its own, can be held up, keeps a place
// that moved without lines, and is read on after a failure.
func TestWhatIsNoContainerIsFollowedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		store, err := position.OpenStore(t.TempDir(), log)
		if err != nil {
			t.Fatal(err)
		}
		d, out := &diary{}, &held{numbered: numbered{next: map[string]int{}}, open: make(chan struct{})}
		scope := task.NewRoot(t.Context(), "test", log)
		p := New(Deps{
			Name: "diary", Scope: scope, Store: store, Dispatcher: out, Openers: map[source.Mode]source.Opener{source.Stream: d},
			Arena: record.NewPool(1 << 20), Streams: 1, Pollers: 1, Workers: 2,
			Forget: func(string) {}, Read: func(*record.Source, int, int) {}, Lost: func(string, int64) {}, Log: log,
		})
		scope.Go("pool", p.Run)
		src := &record.Source{ID: "diary", Name: "diary", CanWait: true}
		src.Streams[record.OutputNone] = record.NewStream(nil, nil)
		p.Apply([]source.Target{{Source: src, Mode: source.Stream}})

		pause(500 * time.Millisecond)
		if at := store.Get("diary"); at.Journal == nil || at.Journal.Since != 1 {
			t.Errorf("where it begins is not kept: %+v", at)
		}
		pause(time.Minute)
		if d.lines.Load() != 1 || !out.wait {
			t.Errorf("it is not held up: %d lines were read; can wait: %v", d.lines.Load(), out.wait)
		}
		census := scope.Census()
		if census["test/readers/stream"] != 1 || census["test/readers/poll"] != 1 || census["test/readers/file"] != 0 {
			t.Errorf("goroutines: %v", census)
		}
		close(out.open)
		pause(3500 * time.Millisecond)
		if f := p.Figures(); d.lines.Load() < 4 || f.Slots != 1 {
			t.Errorf("%d lines, %d slots", d.lines.Load(), f.Slots)
		}
		pause(3 * time.Second)
		if n, at := out.of("diary"), store.Get("diary"); d.lines.Load() < 6 || n == 0 || at.Journal.Since < 6 || len(d.opened) != 1 {
			t.Errorf("it does not go on after a failure: %d read, at %+v, opened %d times", d.lines.Load(), at.Journal, len(d.opened))
		}
		if err := scope.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if p.Close(); d.closed != 1 {
			t.Errorf("it was closed %d times", d.closed)
		}
	})
}
