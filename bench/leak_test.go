package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/leak"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/ledger/census"
	"github.com/logcapturer/log_capturer/internal/task"
)

// watchShare is the most of a core that the leak watch may take, in percent.
const watchShare = 0.5

// BenchmarkLeakWatch is one look of the leak watch: the census, and what is made of it. It
// fails when that is more than watchShare of a core at the interval that is the default.
// Processor time is what counts, that of all threads.
func BenchmarkLeakWatch(b *testing.B) {
	for _, size := range []struct{ goroutines, files int }{{60, 10}, {1000, 10}, {1000, 5000}} {
		b.Run(fmt.Sprintf("goroutines=%d/files=%d", size.goroutines, size.files), func(b *testing.B) {
			w, take := watched(b, size.goroutines, size.files)
			look := func() {
				s, err := take()
				if err != nil {
					b.Fatal(err)
				}
				w.Observe(b.Context(), leak.FromSnapshot(s))
			}
			for range 300 { // an hour, and the histories are full
				look()
			}
			began, looks := processorTime(b), 0
			b.ReportAllocs()
			for b.Loop() {
				look()
				looks++
			}
			each := (processorTime(b) - began) / time.Duration(looks)
			share := 100 * each.Seconds() / leak.DefaultConfig().Interval.Std().Seconds()
			b.ReportMetric(float64(each.Microseconds()), "cpu_µs/look")
			b.ReportMetric(share, "core_%")
			if share > watchShare {
				b.Errorf("%.3f %% of a core, at most %.1f is right", share, watchShare)
			}
		})
	}
}

// watched returns a leak watch and the census of a process that holds so much.
func watched(b *testing.B, goroutines, files int) (*leak.Watch, func() (ledger.Snapshot, error)) {
	b.Helper()
	root := task.NewRoot(context.Background(), "agent", slog.New(slog.DiscardHandler))
	b.Cleanup(func() {
		if err := root.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	const owners = 12
	for i := range goroutines {
		root.Child(fmt.Sprintf("part%d", i%owners)).Go("run", func(ctx context.Context) { <-ctx.Done() })
	}
	path := filepath.Join(b.TempDir(), "app.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	var logs ledger.Account
	for range files {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		held := ledger.Open("", &logs, f)
		b.Cleanup(func() { held.Close(); f.Close() })
	}
	c := &census.Census{
		Tasks: root, Started: time.Now(), DataDir: b.TempDir(),
		Accounts: func() []census.Entry {
			return []census.Entry{{Owner: "agent/part0", Kind: census.LogFile, Account: &logs, Expected: func() int { return files }}}
		},
		Expected: root.Census, Component: func(owner string) string { return owner },
		BatchBytes: func() int64 { return 0 }, Components: func() []ledger.ComponentState { return nil },
	}
	w := leak.New(leak.DefaultConfig(), leak.Deps{
		Report: func(health.Status, string) {}, Log: slog.New(slog.DiscardHandler),
	})
	return w, c.Take
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
