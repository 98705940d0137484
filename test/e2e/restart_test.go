//go:build scenarios

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
)

// Scenario 11: when the agent restarts among containers with long histories, the engine is
// not made to read them again.
func TestARestartAmongLongHistoriesIsCheap(t *testing.T) {
	const containers, lines = 40, 5000
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	for _, read := range []string{"stream", "poll"} {
		t.Run(read, func(t *testing.T) {
			w := newWorld(t, engine, harness.Loki(t))
			dir := t.TempDir()
			w.startAgent(w.config(read, "", "") + fmt.Sprintf("  local_file: {path: \"%s/{source}.log\", format: raw}\n", dir))
			w.ready()
			var all errgroup.Group
			all.SetLimit(4)
			for i := range containers {
				name := fmt.Sprintf("%s-%d", harnessName(w), i)
				w.ledger.Expect(name, 1, lines)
				all.Go(func() error {
					_, err := engine.RunContainer(context.WithoutCancel(t.Context()), harness.RunOptions{
						Name: name, Args: []string{"-n", fmt.Sprint(lines), "-hold"}, Labels: map[string]string{"e2e": w.run},
					})
					return err
				})
			}
			if err := all.Wait(); err != nil {
				t.Fatal(err)
			}
			w.arrived(time.Minute)
			first := w.dockerdTime(engine)
			w.agent.Stop(t)
			before := w.dockerdTime(engine)
			w.agent.Start(t)
			harness.Eventually(t, 30*time.Second, "every container to be asked for again", func() (bool, string) {
				m := w.agent.Metrics(t)
				opens := m.Sum("log_capturer_container_stream_opens_total")
				return opens >= containers && m.Sum("log_capturer_container_stream_repeats_total") > 0, fmt.Sprint(opens, " opens")
			})
			spent := w.dockerdTime(engine) - before
			m := w.agent.Metrics(t)
			repeats := m.Sum("log_capturer_container_stream_repeats_total")
			t.Logf("dockerd spent %.2f s on the first reading and all before, %.2f s on the restart; %.0f records came again", first, spent, repeats)
			if n := m.Sum("log_capturer_container_log_searches_total"); n > 0 {
				t.Errorf("%.0f logs were searched from the start", n)
			}
			if most := 0.1 * containers * lines; repeats > most {
				t.Errorf("%.0f records were read again, want at most %.0f", repeats, most)
			}
			w.ends("11: a restart among 40 long histories", time.Minute)
			w.agent.Stop(t)
			w.exactlyOnceInFiles(dir)
		})
	}
}

// dockerdTime returns the processor time of a private engine so far, in seconds.
func (w *world) dockerdTime(engine *harness.DockerEngine) float64 {
	w.t.Helper()
	spent, err := harness.CPUSeconds(engine.PID(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return spent
}
