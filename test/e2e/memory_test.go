package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
)

// R26: in 64 MB, with the settings that users get, a sink that is dead and far more said
// than it could ever be told: the agent stays, and delivers when the sink is back. Two
// minutes, or LOG_CAPTURER_MEMORY_FOR.
func TestSixtyFourMegabytesAreEnough(t *testing.T) {
	const limit = 64 << 20
	lasts := during(t, "LOG_CAPTURER_MEMORY_FOR", 2*time.Minute)
	w := newWorld(t, harness.Engine(t), harness.PrivateLoki(t, harness.LokiOptions{}))
	dir, group := t.TempDir(), harness.NewCgroup(t, limit)
	w.agent = harness.StartShippedAgent(t, w.config("stream", "", filepath.Join(dir, "*.log")), group.Enter()...)
	w.ready()
	w.loki.Stop(t)
	for range 8 {
		w.engine.Run(t, harness.RunOptions{
			Labels: map[string]string{"e2e": w.run}, LogOpts: map[string]string{"max-size": "5m", "max-file": "2"},
			Args: []string{"-rate", "5000", "-sizes", "100:1000", "-long-every", "1000", "-long-bytes", "200000"},
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var writer errgroup.Group
	writer.Go(func() error {
		f := newLogFile(filepath.Join(dir, "busy.log"), 3)
		defer f.close()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			if err := f.write(1000, 100_000); err != nil {
				return err
			}
		}
		return nil
	})
	pid, most := w.agent.PID(), int64(0)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if n := group.Kills(t); n > 0 || !w.agent.Running() {
			t.Fatalf("killed for want of memory, %d times; at most %d MiB were in use", n, most>>20)
		}
		rss, _, err := harness.RSS(pid)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, rss)
	}
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	m := w.agent.Metrics(t)
	t.Logf("%v, %d MiB at most of %d; %.0f lines read, %.0f MiB in the spool", lasts, most>>20, limit>>20, m.Sum("lines_read_total"), m.Sum("sink_spool_bytes")/(1<<20))
	w.removeContainers()
	before := m.Sum("lines_acked_total")
	w.loki.Start(t)
	harness.Eventually(t, time.Minute, "deliveries", func() (bool, string) {
		n := w.agent.Metrics(t).Sum("lines_acked_total") - before
		return n > 10_000, fmt.Sprintf("%.0f lines", n)
	})
	if n := group.Kills(t); n > 0 {
		t.Errorf("killed for want of memory while it caught up, %d times", n)
	}
}
