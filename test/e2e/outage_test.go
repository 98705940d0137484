package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

// R18: the sink is down for a long time, and the agent restarted meanwhile: no line is lost
// or repeated, and each stream comes in order. 30 seconds, or LOG_CAPTURER_OUTAGE_FOR.
func TestALongOutageWithARestart(t *testing.T) {
	lasts := during(t, "LOG_CAPTURER_OUTAGE_FOR", 30*time.Second)
	loki := newTaker(t)
	proxy := harness.NewToxiproxy(t, loki.url)
	w := newWorld(t, harness.Engine(t), harness.OpenLoki(proxy.URL))
	dir := t.TempDir()
	w.startAgent(w.config("stream", "", filepath.Join(dir, "*.log")))
	w.ready()
	c := w.engine.Run(t, harness.RunOptions{Labels: map[string]string{"e2e": w.run}, Args: []string{"-rate", "500", "-stderr-every", "3"}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := newLogFile(filepath.Join(dir, "file.log"), 1000)
	defer f.close()
	var writer errgroup.Group
	writer.Go(func() error {
		for task.Sleep(ctx, 20*time.Millisecond) {
			if err := f.write(6, 20_000); err != nil {
				return err
			}
		}
		return nil
	})
	arrive := func() { // between two tries are up to 30 s
		t.Helper()
		before := loki.lines()
		harness.Eventually(t, time.Minute, "lines to arrive", func() (bool, string) {
			n := loki.lines() - before
			return n > 2000, fmt.Sprintf("%d more", n)
		})
	}
	arrive()
	proxy.Refuse(t)
	task.Sleep(ctx, lasts/2)
	w.agent.Stop(t)
	w.agent.Start(t)
	task.Sleep(ctx, lasts/2)
	proxy.Mend(t)
	arrive()
	cancel()
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	w.ledger.Expect(f.id(), 1, f.seq)
	c.Stop(t)
	want := f.seq + int64(w.kept(c))
	harness.Eventually(t, 2*time.Minute+lasts/4, "all lines", func() (bool, string) {
		n := loki.lines() // to check them takes seconds, in which none can come
		return n >= want, fmt.Sprintf("%d of %d lines", n, want)
	})
	w.balanced()
	report := loki.check(w.ledger)
	t.Logf("%v without the sink: %s", lasts, report)
	if !report.OK() {
		t.Error("not every line came once, and in order")
	}
}
