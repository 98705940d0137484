//go:build scenarios

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// R31: the wall clock is set back an hour, and a year ahead, and right again. Nothing
// spins, nothing waits for a time that is far away: lines arrive, acknowledgements are
// synced, dead sinks are tried again.
func TestTheClockIsSet(t *testing.T) {
	w := newWorld(t, harness.Engine(t), harness.PrivateLoki(t, harness.LokiOptions{}))
	dir, files := t.TempDir(), t.TempDir()
	var clock *harness.Clock
	w.agent, clock = harness.StartAgentWithClock(t, w.config("stream", "", filepath.Join(dir, "*.log"))+fmt.Sprintf(`
  local_file: {path: "%s/{source}.log", format: raw}
`, files))
	w.ready()
	log := newLogFile(filepath.Join(dir, "app.log"), 3)
	defer log.close()
	box := w.container(4000, harness.RunOptions{Args: []string{"-rate", "50"}})
	acked := func(sink string) float64 {
		return w.agent.Metrics(t).Sum("lines_acked_total", fmt.Sprintf("sink=%q", sink))
	}
	moves := func(what string, within time.Duration, value func() float64) {
		t.Helper()
		before := value()
		harness.Eventually(t, within, what, func() (bool, string) { return value() > before, fmt.Sprintf("%v, before %v", value(), before) })
	}
	steps := []time.Duration{0, -time.Hour, 365 * 24 * time.Hour, -time.Hour, 0}
	for i, step := range steps {
		clock.Set(t, step)
		if err := log.write(500, 1200); err != nil {
			t.Fatal(err)
		}
		moves("lines in files", 5*time.Second, func() float64 { return acked("local_file") })
		moves("lines in Loki", 10*time.Second, func() float64 { return acked("loki") })
		w.loki.Stop(t)
		if err := log.write(500, 1200); err != nil {
			t.Fatal(err)
		}
		moves("a send that is tried again", 10*time.Second, func() float64 { return w.agent.Metrics(t).Sum("retries_total") })
		w.loki.Start(t)
		moves("lines in Loki after its outage", 45*time.Second, func() float64 { return acked("loki") })
		cpu, err := harness.CPUSeconds(w.agent.PID())
		if err != nil {
			t.Fatal(err)
		}
		const watched = 3 * time.Second
		<-time.After(watched)
		after, err := harness.CPUSeconds(w.agent.PID())
		if err != nil {
			t.Fatal(err)
		}
		if share := (after - cpu) / watched.Seconds(); share > 0.3 {
			t.Errorf("step %d, %v: the agent takes %.0f %% of a core", i, step, 100*share)
		}
	}
	box.Wait(t)
	w.ledger.Expect(log.id(), 1, int64(1000*len(steps)))
	harness.Eventually(t, time.Minute, "all lines", func() (bool, string) {
		m := w.agent.Metrics(t)
		waiting := m.Sum("lines_in_flight") + m.Sum("lines_spooled")
		return waiting == 0 && acked("local_file") >= float64(4000+1000*len(steps)), fmt.Sprintf("%v wait", waiting)
	})
	w.balanced()
	w.exactlyOnceInFiles(files)
	if n := w.agent.Metrics(t).Sum("lines_deadlettered_total", `sink="loki"`); n > 1000 {
		t.Errorf("%v lines are dead letters: more than were read in the wrong year", n)
	}
}
