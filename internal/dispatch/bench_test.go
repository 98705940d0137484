package dispatch

import (
	"context"
	"log/slog"
	"testing"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
	"github.com/logcapturer/log_capturer/internal/task"
)

// nowhere is a sink that takes everything.
type nowhere struct{}

func (nowhere) Send(context.Context, []record.View) error { return nil }
func (nowhere) Close() error                              { return nil }

// BenchmarkDeliver carries batches of 300 lines from a file to two sinks.
func BenchmarkDeliver(b *testing.B) {
	log, count := slog.New(slog.DiscardHandler), metrics.New()
	dir := b.TempDir()
	var lanes []*Lane
	for _, name := range []string{"a", "b"} {
		sp, err := spool.Open(dir+"/spool/"+name, 1<<20, spool.Options{})
		if err != nil {
			b.Fatal(err)
		}
		dead, err := deadletter.Open(dir, name, 1<<20, deadletter.Options{})
		if err != nil {
			b.Fatal(err)
		}
		lanes = append(lanes, NewLane(LaneDeps{
			Name: name, Sink: nowhere{}, Spool: sp, Dead: dead, Config: DefaultConfig(), Memory: 24 << 20,
			Metrics: count, Board: &health.Board{}, Log: log,
		}))
	}
	d := New(lanes, DefaultConfig().RateLimit, count, log)
	scope := task.NewRoot(b.Context(), "bench", log)
	scope.Go("dispatcher", func(ctx context.Context) { d.Run(ctx, scope) })
	pool := record.NewPool(64 << 20)
	src := &record.Source{ID: "a", CanWait: true}
	line := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		batch, err := pool.Get(b.Context(), 32<<10)
		if err != nil {
			b.Fatal(err)
		}
		batch.Source = src
		for i := range 300 {
			batch.Append(int64(i), record.OutputNone, line)
		}
		batch.OnDone(func(record.Outcome) {})
		if err := d.Deliver(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	_ = scope.Close(context.WithoutCancel(b.Context()))
	_ = d.Close()
}
