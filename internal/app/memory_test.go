package app

import (
	"log/slog"
	"testing"

	"github.com/logcapturer/log_capturer/internal/units"
)

func TestMemoryIsBoundedByTheCgroup(t *testing.T) {
	for _, c := range []struct{ limit, memory, batch, wantMemory, wantBatch units.Size }{
		{0, 64 * units.MiB, units.MiB, 64 * units.MiB, units.MiB},
		{64 * units.MiB, 64 * units.MiB, units.MiB, 16 * units.MiB, units.MiB},
		{64 * units.MiB, 8 * units.MiB, units.MiB, 8 * units.MiB, units.MiB},
		{units.GiB, 64 * units.MiB, units.MiB, 64 * units.MiB, units.MiB},
		{units.MiB, 64 * units.MiB, 8 * units.MiB, units.MiB, units.MiB},
	} {
		cfg := DefaultConfig()
		cfg.Dispatcher.Memory, cfg.Dispatcher.Batch.MaxBytes = c.memory, c.batch
		got := boundMemory(cfg, c.limit, slog.New(slog.DiscardHandler)).Dispatcher
		if got.Memory != c.wantMemory || got.Batch.MaxBytes != c.wantBatch {
			t.Errorf("limit %s, memory %s: %s, batches of %s", c.limit, c.memory, got.Memory, got.Batch.MaxBytes)
		}
	}
}
