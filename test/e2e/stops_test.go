package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

// R23: the agent is stopped by SIGTERM over and over, at any moment, while files and
// containers are written: no line is lost, and none is sent twice, to a Loki that shows it.
// Twenty times, or LOG_CAPTURER_STOPS.
func TestStopsUnderLoad(t *testing.T) {
	stops := 20
	if text := os.Getenv("LOG_CAPTURER_STOPS"); text != "" {
		var err error
		if stops, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	loki := newTaker(t)
	w := newWorld(t, harness.Engine(t), harness.OpenLoki(loki.url))
	dir := t.TempDir()
	w.startAgent("shutdown_timeout: 10s\n" + w.config("stream", "", filepath.Join(dir, "*.log")))
	var containers []*harness.Container
	for range 3 {
		containers = append(containers, w.engine.Run(t, harness.RunOptions{
			Labels: map[string]string{"e2e": w.run}, Args: []string{"-rate", "500", "-stderr-every", "3"},
		}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers errgroup.Group
	var files []*logFile
	for i := range 3 {
		f := newLogFile(filepath.Join(dir, fmt.Sprintf("file%d.log", i)), 1000)
		files = append(files, f)
		writers.Go(func() error {
			defer f.close()
			for task.Sleep(ctx, 10*time.Millisecond) {
				if err := f.write(10, 2000); err != nil {
					return err
				}
			}
			return nil
		})
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range stops {
		before := loki.lines()
		harness.Eventually(t, time.Minute, "more lines", func() (bool, string) { return loki.lines() > before, "" })
		task.Sleep(ctx, time.Duration(random.IntN(300))*time.Millisecond) // any moment
		w.agent.Stop(t)
		w.agent.Start(t)
	}
	cancel()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		w.ledger.Expect(f.id(), 1, f.seq)
	}
	for _, c := range containers {
		c.Stop(t)
		w.kept(c)
	}
	harness.Eventually(t, time.Minute, "all lines", func() (bool, string) {
		n := loki.lines()
		return n >= w.ledger.Total(), fmt.Sprintf("%d of %d", n, w.ledger.Total())
	})
	w.balanced()
	report := loki.check(w.ledger)
	t.Logf("%d stops\n%s", stops, report)
	if !report.OK() {
		t.Error("not every line is there exactly once")
	}
}
