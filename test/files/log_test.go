package files

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// host is a directory of logs, an agent that reads them, and what came.
type host struct {
	*testing.T
	dir   string
	tally *harness.Tally
	agent *harness.AgentProcess
	wrote int64 // lines, numbered from 1 on
}

// newHost starts an agent for dir/*.log with one of the harness's functions: as it is shipped
// where its memory counts.
func newHost(t *testing.T, start func(testing.TB, string) *harness.AgentProcess) *host {
	t.Helper()
	h := &host{T: t, dir: t.TempDir(), tally: harness.NewTally(t)}
	h.agent = start(t, fmt.Sprintf(`
container_monitor: {enabled: false}
file_monitor: {include: [%q]}
sinks:
  loki: {url: %s}
`, filepath.Join(h.dir, "*.log"), h.tally.URL))
	return h
}

func shipped(t testing.TB, config string) *harness.AgentProcess {
	return harness.StartShippedAgent(t, config)
}

func (h *host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// write appends lines to a log.
func (h *host) write(name string, lines int) {
	h.Helper()
	f, err := os.OpenFile(h.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	h.must(err)
	defer f.Close()
	var text []byte
	for range lines {
		h.wrote++
		text = append(line.Append(text, line.Plain, id, h.wrote, 0, time.Now()), '\n')
	}
	_, err = f.Write(text)
	h.must(err)
}

// arrived waits until all that was written has come, and returns what came twice.
func (h *host) arrived() (repeated int64) {
	h.Helper()
	harness.Eventually(h, 30*time.Second, "all lines", func() (bool, string) {
		have := h.tally.Of(id)
		return have >= h.wrote, fmt.Sprintf("%d of %d", have, h.wrote)
	})
	ledger := harness.NewLedger()
	ledger.Expect(id, 1, h.wrote)
	report := h.tally.Check(ledger)
	if report.Unexpected.N > 0 || report.OutOfOrder.N > 0 && report.Repeated.N == 0 {
		h.Errorf("%+v", report)
	}
	return report.Repeated.N
}

// saved waits until the positions were saved from now on.
func (h *host) saved() {
	h.Helper()
	now := time.Now()
	harness.Eventually(h, 10*time.Second, "positions", func() (bool, string) {
		info, err := os.Stat(h.positions())
		return err == nil && info.ModTime().After(now), fmt.Sprint(err)
	})
}

func (h *host) positions() string { return filepath.Join(h.agent.Data, "positions") }

// lost returns how often a loss was told for a reason, since the agent started.
func (h *host) lost(reason string) float64 {
	h.Helper()
	return h.agent.Metrics(h).Sum("lines_upstream_lost_total", fmt.Sprintf("reason=%q", reason))
}
