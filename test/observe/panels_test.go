package observe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
)

// busy are panels, or single queries of theirs, in which something has to be seen, not merely a 0: what the test makes
// happen.
var busy = []string{
	"Lines read", "Bytes read", "Lines accepted", "Who says most", "Containers by mode", "Rotations", "Age of streams at their end",
	"Opens/A", "Opens/B", "Sends", "Retries", "Duration of sends", "Canary", "Spool on disk", "New dead letters", "Lost before they could be read", "Lines given up",
	"Processor", "Memory", "Alerts, pending and firing",
}

// Every query of every panel is run against a real Prometheus that scrapes a real agent: with
// containers whose streams are replaced every second, a log file, a Loki that takes what
// comes but for lines that are too long, and a sink that takes nothing.
func TestEveryPanelHasData(t *testing.T) {
	w := newWorld(t)
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				name := fmt.Sprintf("%s/%s/%s", d.UID, p.Title, q.RefID)
				t.Run(name, func(t *testing.T) {
					harness.Eventually(t, time.Minute, q.Expr, func() (bool, string) { return w.hasData(p, q) })
				})
			}
		}
	}
	w.rulesWork()
	w.stop()
	w.booksBalance()
}

type world struct {
	t          *testing.T
	prometheus *harness.PrometheusServer
	variables  *strings.Replacer
	stop       func() // of the load
}

func newWorld(t *testing.T) *world {
	engine, loki, dir := harness.Engine(t), harness.NewFakeLoki(t, 600), t.TempDir()
	key, value := engine.Label()
	agent := harness.StartAgent(t, fmt.Sprintf(`
canary: {interval: 1s}
container_monitor:
  docker_host: %q
  read: stream
  include: {labels: {%s: %q, observe: %q}}
  streams: {max: 2, rotation_interval: 1s}
  poll_interval: 500ms
file_monitor: {include: [%q]}
dispatcher:
  memory: 1MiB
  batch: {max_bytes: 64KiB, linger: 100ms}
  retry: {initial: 100ms, max: 1s}
  spool: {max_bytes: 1MiB}
sinks:
  loki: {url: %q}
  broken: {type: loki, url: "http://127.0.0.1:1", delivery: best_effort}
`, engine.Host(), key, value, t.Name(), filepath.Join(dir, "*.log"), loki.URL))
	address := strings.TrimPrefix(agent.URL, "http://")
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, variables: strings.NewReplacer(
		"$instance", address, "$sink", "broken|loki", "$__rate_interval", "10s", "$__range", "1m",
	)}
	w.prometheus = harness.StartPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: log_capturer
    static_configs: [{targets: [%q]}]
`, filepath.Join(root, filepath.FromSlash(rulesFile)), address))

	var containers []*harness.Container
	for range 3 {
		containers = append(containers, engine.Run(t, harness.RunOptions{
			Args: []string{"-n", "1000000", "-rate", "300"}, Labels: map[string]string{"observe": t.Name()},
		}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var files errgroup.Group
	files.Go(func() error { return write(ctx, dir) })
	w.stop = func() {
		for _, c := range containers {
			c.Stop(t)
		}
		cancel()
		if err := files.Wait(); err != nil {
			t.Error(err)
		}
		containers = nil
	}
	t.Cleanup(func() { w.stop() })
	return w
}

// write keeps a log file going in which one line of ten is too long for Loki, and another
// that is cut off and begun anew again and again, which loses what nobody can know.
func write(ctx context.Context, dir string) error {
	long, err := os.Create(filepath.Join(dir, "long.log"))
	if err != nil {
		return err
	}
	defer long.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		size := 100
		if n%10 == 0 {
			size = 700
		}
		if _, err := fmt.Fprintf(long, "%d %s\n", n, strings.Repeat("x", size)); err != nil {
			return err
		}
		if n%100 == 0 { // shorter each time, down to nothing
			text := strings.Repeat("cut\n", max(0, 1000-n/10))
			if err := os.WriteFile(filepath.Join(dir, "cut.log"), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
}

// hasData tells whether a panel's query has values, and one above 0 where there must be one.
func (w *world) hasData(p panel, q target) (bool, string) {
	series, err := w.prometheus.Query(w.t.Context(), w.variables.Replace(q.Expr))
	if err != nil {
		return false, err.Error()
	}
	numbers, above := 0, 0
	for _, s := range series {
		if s.Value == "NaN" {
			continue
		}
		numbers++
		if s.Value != "0" && !strings.HasPrefix(s.Value, "-") {
			above++
		}
	}
	if slices.Contains(busy, p.Title) || slices.Contains(busy, p.Title+"/"+q.RefID) {
		return above > 0, fmt.Sprintf("%v, want one above 0", series)
	}
	return numbers > 0, fmt.Sprint(series)
}

// rulesWork checks that Prometheus evaluates all rules, and that the broken sink is about to
// be told of while the other is not.
func (w *world) rulesWork() {
	w.t.Helper()
	harness.Eventually(w.t, time.Minute, "the alert of the broken sink", func() (bool, string) {
		series, err := w.prometheus.Query(w.t.Context(), `ALERTS{alertname="LogCapturerSinkDown"}`)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range series {
			if s.Labels["sink"] != "broken" {
				w.t.Errorf("alert %v, want it for the broken sink alone", s.Labels)
			}
		}
		return len(series) == 1, fmt.Sprint(series)
	})
	for _, r := range w.prometheus.Rules(w.t) {
		if r.Health != "ok" {
			w.t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
		}
	}
}

// booksBalance checks that nothing is unaccounted for at a quiet moment.
func (w *world) booksBalance() {
	w.t.Helper()
	harness.Eventually(w.t, time.Minute, "balanced books", func() (bool, string) {
		series, err := w.prometheus.Query(w.t.Context(), `log_capturer:unaccounted:lines`)
		if err != nil {
			w.t.Fatal(err)
		}
		balanced := len(series) == 2
		for _, s := range series {
			balanced = balanced && s.Value == "0"
		}
		return balanced, fmt.Sprint(series)
	})
}
