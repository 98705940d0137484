package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

// R28, R29: the way to the sink breaks in another manner every second: slow, cut off,
// reset, refused, in pieces, a black hole, answers that are lost. No line is lost; what is
// repeated was in an attempt that failed; nothing is left over. 45 seconds, or
// LOG_CAPTURER_NETWORK_FOR.
func TestTheNetworkBreaksInEveryWay(t *testing.T) {
	lasts := during(t, "LOG_CAPTURER_NETWORK_FOR", 45*time.Second)
	loki := newTaker(t)
	proxy := harness.NewToxiproxy(t, loki.url)
	w := newWorld(t, harness.Engine(t), harness.OpenLoki(proxy.URL))
	dir := t.TempDir()
	w.startAgent("dispatcher: {batch: {max_bytes: 64KiB}, retry: {max: 1s}}\n" + w.config("stream", "", filepath.Join(dir, "*.log")) + "    timeout: 2s\n")
	w.ready()
	c := w.engine.Run(t, harness.RunOptions{Labels: map[string]string{"e2e": w.run}, Args: []string{"-rate", "1000", "-stderr-every", "3"}})
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	f := newLogFile(filepath.Join(dir, "file.log"), 1000)
	defer f.close()
	var writer errgroup.Group
	writer.Go(func() error {
		for task.Sleep(ctx, 10*time.Millisecond) {
			if err := f.write(10, 5000); err != nil {
				return err
			}
		}
		return nil
	})
	toxics := []harness.Toxic{
		{Type: "latency", Attributes: map[string]int64{"latency": 700, "jitter": 600}},
		{Type: "bandwidth", Attributes: map[string]int64{"rate": 50}}, // kB/s
		{Type: "timeout", Attributes: map[string]int64{"timeout": 0}},
		{Type: "timeout", Attributes: map[string]int64{"timeout": 300}},
		{Type: "reset_peer", Attributes: map[string]int64{"timeout": 50}},
		{Type: "limit_data", Attributes: map[string]int64{"bytes": 3000}},
		{Type: "slicer", Attributes: map[string]int64{"average_size": 200, "size_variation": 100, "delay": 500}},
		{Type: "slow_close", Attributes: map[string]int64{"delay": 1000}},
	}
	random, faults := rand.New(rand.NewPCG(1, 1)), 0
	for ; ctx.Err() == nil; faults++ {
		if n := random.IntN(len(toxics) + 1); n < len(toxics) {
			toxic := toxics[n]
			toxic.Stream = []string{"upstream", "downstream"}[random.IntN(2)]
			proxy.Spoil(t, toxic)
		} else {
			proxy.Refuse(t)
		}
		task.Sleep(ctx, time.Duration(500+random.IntN(1500))*time.Millisecond)
		proxy.Mend(t)
		task.Sleep(ctx, time.Duration(random.IntN(500))*time.Millisecond)
	}
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	w.ledger.Expect(f.id(), 1, f.seq)
	c.Stop(t)
	w.kept(c)
	harness.Eventually(t, time.Minute, "all lines", func() (bool, string) {
		report := loki.check(w.ledger)
		return report.Lost.N == 0, fmt.Sprintf("%d lines are missing", report.Lost.N)
	})
	w.balanced()
	report := loki.check(w.ledger)
	failed := w.agent.Metrics(t).Sum("logs_sent_total", `status="failed"`)
	t.Logf("%d faults, %.0f lines in attempts that failed\n%s", faults, failed, report)
	if report.Damaged.N+report.OutOfOrder.N+report.Unexpected.N+report.Foreign.N > 0 {
		t.Error("not every line is there as it should be")
	}
	if float64(report.Repeated.N) > failed || faults > 20 && report.Repeated.N == 0 {
		t.Errorf("%d lines were repeated, %.0f were in attempts that failed", report.Repeated.N, failed)
	}
	w.removeContainers()
	harness.Eventually(t, 30*time.Second, "what was held before", func() (bool, string) {
		now, err := w.census()
		return err == nil && now.owned == w.before.owned && now.descriptors == w.before.descriptors+1, fmt.Sprintf("%+v, before %+v", now, w.before)
	})
}
