//go:build scenarios

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// stall takes nothing until the returned function is called.
func (l *taker) stall() (end func()) {
	over := make(chan struct{})
	l.mu.Lock()
	l.stalled = over
	l.mu.Unlock()
	return func() { close(over) }
}

// R01: the only sink stalls for a minute below 4,000 lines/s and a log of twice 1 MB. Its
// file loses nothing; a stream nothing that the engine has not lost, and says so.
func TestTheSinkStallsForAMinute(t *testing.T) {
	const lines, rate, stall = 240_000, 4000, time.Minute
	for _, read := range []string{"file", "stream"} {
		t.Run(read, func(t *testing.T) {
			loki := newTaker(t)
			w := newWorld(t, harness.Engine(t), harness.OpenLoki(loki.url))
			w.startAgent("dispatcher: {memory: 4MiB}\n" + w.config(read, "", ""))
			w.ready()
			end := loki.stall()
			defer func() { end() }()
			began := time.Now()
			c := w.container(lines, harness.RunOptions{
				Args: []string{"-rate", fmt.Sprint(rate), "-size", "150"}, LogOpts: map[string]string{"max-size": "1m", "max-file": "2"},
			})
			c.Wait(t)
			if took := time.Since(began); took < stall-time.Second {
				t.Errorf("the container wrote for %v only", took)
			}
			held := w.agent.Metrics(t).Sum("log_capturer_container_held_files")
			end()
			end = func() {}
			var told, late float64
			harness.Eventually(t, 2*time.Minute, "all that is left", func() (bool, string) {
				m := w.agent.Metrics(t)
				told, late = m.Sum("lines_upstream_lost_total"), m.Sum("container_stream_late_lines_total")
				n := loki.lines()
				return n >= lines || told > 0, fmt.Sprintf("%d lines, told of %.0f lost", n, told)
			})
			w.balanced()
			report := loki.check(w.ledger)
			t.Logf("%.0f generations were held, told of %.0f lost\n%s", held, told, report)
			if report.Repeated.N+report.Damaged.N > 0 || report.OutOfOrder.N > int64(late) || report.Lost.N > 0 && (read == "file" || told == 0) {
				t.Error("not every line is there once")
			}
			if read == "file" && held < 20 {
				t.Errorf("%.0f generations were held; the stall was none", held)
			}
			w.removeContainers()
			var after census
			harness.Eventually(t, 30*time.Second, "what was held before", func() (bool, string) {
				var err error
				after, err = w.census()
				return err == nil && after.owned == w.before.owned && after.descriptors == w.before.descriptors, fmt.Sprintf("%+v, before %+v", after, w.before)
			})
			addResult(t, "R01: 4,000 lines/s, max-size=1m max-file=2, the sink stalls a minute", report, w.before, after)
		})
	}
}
