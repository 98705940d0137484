package canary

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// way is a dispatcher with two sinks, each open or not.
type way struct {
	mu    sync.Mutex
	c     *Canary
	open  map[string]bool
	full  bool
	lines []string
}

func (w *way) set(sink string, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[sink] = open
}

func (w *way) deliver(_ context.Context, b *record.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		b.Done(record.Failed)
		return errors.New("no room")
	}
	w.lines = append(w.lines, string(b.Line(0)))
	for sink, open := range w.open {
		if open {
			w.c.Arrived(sink, time.Unix(0, b.Entries[0].Time))
		}
	}
	b.Done(record.Delivered)
	return nil
}

func newWay(t *testing.T, config Config) *way {
	w := &way{open: map[string]bool{"a": true, "b": true}}
	w.c = New(config, "host1", Deps{
		Arena: record.NewPool(1 << 20), Deliver: w.deliver, Read: func(*record.Source, int, int) {}, Log: slog.New(slog.DiscardHandler),
	})
	w.c.SetSinks([]string{"a", "b"})
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() { w.c.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

func pause(t *testing.T, d time.Duration) { task.Sleep(t.Context(), d) }

// A sink at which nothing arrives is told of within an interval and half a minute, by name,
// and no longer when something has arrived.
func TestWhatDoesNotArriveIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWay(t, DefaultConfig())
		pause(t, 10*time.Minute+time.Millisecond)
		if why := w.c.Missing(); why != "" {
			t.Errorf("all is well, but %s", why)
		}
		all, sent := w.c.Figures()
		if len(all) != 2 || sent != 11 || all[0].Arrived != 11 || len(w.lines) != 11 || w.lines[10] != "canary n=11" {
			t.Errorf("%+v of %d, %q", all, sent, w.lines)
		}
		w.set("b", false)
		pause(t, 90*time.Second)
		if why := w.c.Missing(); !strings.Contains(why, "sink b for 1m30s") {
			t.Errorf("a dead sink: %q", why)
		}
		w.set("b", true)
		pause(t, time.Minute)
		if why := w.c.Missing(); why != "" {
			t.Errorf("it is back, but %s", why)
		}
		w.mu.Lock()
		w.full = true
		w.mu.Unlock()
		pause(t, 2*time.Minute)
		if why := w.c.Missing(); !strings.Contains(why, "sink a") {
			t.Errorf("no room anywhere: %q", why)
		}
	})
}

// What is asked rarely is known all the same; a sink that was just added is not missed, one
// that was removed neither.
func TestSinksComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWay(t, DefaultConfig())
		w.set("b", false)
		pause(t, time.Hour)
		w.c.SetSinks([]string{"a", "c"})
		if why := w.c.Missing(); why != "" {
			t.Errorf("a sink that is gone: %s", why)
		}
		pause(t, 91*time.Second)
		if why := w.c.Missing(); !strings.Contains(why, "sink c for 1m31s") {
			t.Errorf("a new sink that is dead: %q", why)
		}
		if all, _ := w.c.Figures(); len(all) != 1 {
			t.Errorf("%+v", all)
		}
	})
}

func TestItIsSwitchedOffAndOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWay(t, Config{Interval: units.Duration(time.Hour)})
		pause(t, time.Minute)
		w.c.Reconfigure(Config{Enabled: true, Interval: units.Duration(time.Second)})
		pause(t, time.Minute)
		w.c.Reconfigure(Config{Interval: units.Duration(time.Second)})
		w.set("a", false)
		pause(t, time.Hour)
		if _, sent := w.c.Figures(); sent != 60 && sent != 61 {
			t.Errorf("%d were sent in a minute", sent)
		}
		if why := w.c.Missing(); why != "" {
			t.Errorf("it is off, but %s", why)
		}
	})
}
