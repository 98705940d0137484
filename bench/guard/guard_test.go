package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/bench"
	"github.com/logcapturer/log_capturer/bench/limit"
	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/loki"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/file"
	"github.com/logcapturer/log_capturer/internal/source/jsonfile"
	"github.com/logcapturer/log_capturer/internal/spool"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cost is what a line costs.
type cost struct {
	allocs, bytes float64 // of memory that is allocated for it
	ratio         float64 // processor time, the limit's being 1
}

// most is what a line may cost: one and a half to two times what was measured, on a machine
// that was busy with other things, which is less than a mistake costs that does anything
// for each line. What is allocated on the way to Loki is for requests and batches.
var most = map[string]cost{
	"read a log file":                 {allocs: 0.002, bytes: 1, ratio: 0.25},
	"read a json-file":                {allocs: 0.002, bytes: 1, ratio: 1.2},
	"deliver a log file to Loki":      {allocs: 0.05, bytes: 40, ratio: 2.4},
	"deliver a container's json-file": {allocs: 0.05, bytes: 40, ratio: 2.6},
}

const (
	inputBytes = 16 << 20
	rounds     = 7
)

func TestALineCostsNoMoreThanItDid(t *testing.T) {
	readers := map[string]source.Opener{
		"file":     &file.Opener{Pool: record.NewPool(16 << 20), MaxLine: 1 << 20, Stats: &file.Stats{}},
		"jsonfile": &jsonfile.Opener{Pool: record.NewPool(16 << 20), MaxLine: 1 << 20, Stats: &jsonfile.Stats{}},
	}
	way := newWay(t)
	plain, records := bench.Lines("guard", inputBytes), bench.JSONFile("guard", inputBytes)
	for _, c := range []struct {
		name, reader string
		content      []byte
		hand         func(*record.Batch)
	}{
		{"read a log file", "file", plain, func(b *record.Batch) { b.Done(record.Delivered) }},
		{"read a json-file", "jsonfile", records, func(b *record.Batch) { b.Done(record.Delivered) }},
		{"deliver a log file to Loki", "file", plain, way.deliver},
		{"deliver a container's json-file", "jsonfile", records, way.deliver},
	} {
		path := bench.File(t, "guard.log", c.content)
		lines := bytes.Count(c.content, []byte("\n"))
		add := (*limit.Limit).Copy
		if c.reader == "jsonfile" {
			add = (*limit.Limit).Unescape
		}
		l := limit.New(true)
		got, best := cost{allocs: 1e9, bytes: 1e9}, time.Hour
		took := time.Hour
		for range rounds {
			best = min(best, measure(t, func() {
				if _, err := l.File(path, add); err != nil {
					t.Error(err)
				}
			}, nil))
			var used usage
			took = min(took, measure(t, func() {
				if n := read(t, readers[c.reader], path, c.hand); n != lines {
					t.Errorf("%s: %d lines, want %d", c.name, n, lines)
				}
				way.pending.Wait()
			}, &used))
			got.allocs = min(got.allocs, float64(used.allocs)/float64(lines))
			got.bytes = min(got.bytes, float64(used.bytes)/float64(lines))
		}
		got.ratio = took.Seconds() / best.Seconds()
		limits := most[c.name]
		t.Logf("%-32s %.4f allocations and %.1f bytes a line (at most %g and %g), %.2f times the limit's processor time (at most %g)",
			c.name, got.allocs, got.bytes, limits.allocs, limits.bytes, got.ratio, limits.ratio)
		if got.allocs > limits.allocs || got.bytes > limits.bytes || got.ratio > limits.ratio {
			t.Errorf("%s: a line costs more than it may", c.name)
		}
	}
}

// read reads a log to its end, and hands its batches over.
func read(t *testing.T, o source.Opener, path string, hand func(*record.Batch)) (lines int) {
	src := &record.Source{ID: "guard:" + path, Kind: "file", Name: path, CanWait: true}
	for out := range src.Streams {
		src.Streams[out] = record.NewStream(record.Labels{{Name: "filename", Value: path}, {Name: "output", Value: fmt.Sprint(out)}}, nil)
	}
	r, err := o.Open(t.Context(), source.Target{Source: src, Mode: source.File, Path: path, Container: &source.Container{ID: "guard"}}, position.Cursor{})
	if err != nil {
		t.Error(err)
		return 0
	}
	defer r.Close()
	for {
		b, err := r.Next(t.Context())
		if errors.Is(err, source.ErrIdle) {
			return lines
		}
		if err != nil {
			t.Error(err)
			return lines
		}
		lines += len(b.Entries)
		b.Filled()
		hand(b)
	}
}

// way is that of a line from the dispatcher on, to a Loki that takes everything.
type way struct {
	t       *testing.T
	d       *dispatch.Dispatcher
	pending sync.WaitGroup // batches that are not answered
}

func newWay(t *testing.T) *way {
	t.Helper()
	taker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(taker.Close)
	log, count := slog.New(slog.DiscardHandler), metrics.New()
	config := loki.DefaultConfig()
	config.URL = taker.URL
	to, err := loki.New(config, sink.Deps{Name: "loki", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sp, err := spool.Open(dir+"/spool", int64(units.MiB), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dead, err := deadletter.Open(dir, "loki", int64(units.MiB), deadletter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lane := dispatch.NewLane(dispatch.LaneDeps{
		Name: "loki", Sink: to, Spool: sp, Dead: dead, Config: dispatch.DefaultConfig(), Memory: 48 << 20,
		Metrics: count, Board: &health.Board{}, Log: log,
	})
	w := &way{t: t, d: dispatch.New([]*dispatch.Lane{lane}, dispatch.DefaultConfig().RateLimit, count, log)}
	scope := task.NewRoot(context.Background(), "guard", log)
	scope.Go("dispatcher", func(ctx context.Context) { w.d.Run(ctx, scope) })
	t.Cleanup(func() {
		if err := errors.Join(scope.Close(context.Background()), w.d.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *way) deliver(b *record.Batch) {
	w.pending.Add(1)
	b.OnDone(func(o record.Outcome) {
		if o != record.Delivered {
			w.t.Error("a batch was not delivered")
		}
		w.pending.Done()
	})
	if err := w.d.Deliver(w.t.Context(), b); err != nil {
		w.t.Error(err)
	}
}

// usage is memory that was allocated.
type usage struct{ allocs, bytes uint64 }

// measure returns the processor time of the process while fn runs, and what it allocated.
func measure(t *testing.T, fn func(), used *usage) time.Duration {
	t.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := cpu(t)
	fn()
	took := cpu(t) - began
	runtime.ReadMemStats(&after)
	if used != nil {
		used.allocs, used.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	}
	return took
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
