// Package load measures what the agent costs while it captures many real containers,
// counts every line, and looks for goroutines and descriptors that stay behind.
//
// Its ordinary tests are short, for every run of the tests. With the build tag load
// there are long ones, for make load, which write a report. They all run
// the agent as it is shipped on an engine of their own, so that dockerd's time and
// descriptors are those of the test. Time is CPU time: a busy machine does not change
// it much.
package load

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// startsAtOnce is how many containers are started and stopped at a time.
const startsAtOnce = 4

// rig is one test's engine, agent, containers and oracle.
type rig struct {
	engine  *harness.DockerEngine
	dockerd int // process id
	agent   *harness.AgentProcess
	out     string // the one file of the sink
	fleet   []*harness.Container
}

// newRig starts an engine, and has the image and all that the first container needs there.
func newRig(t *testing.T) *rig {
	t.Helper()
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	r := &rig{engine: engine, dockerd: engine.PID(t)}
	first := engine.Run(t, harness.RunOptions{Args: []string{"-n", "1"}})
	first.Wait(t)
	first.Remove(t)
	return r
}

// capture starts the agent; monitor are lines of container_monitor.
func (r *rig) capture(t *testing.T, monitor string) {
	t.Helper()
	r.out = filepath.Join(t.TempDir(), "out.log")
	r.agent = harness.StartShippedAgent(t, fmt.Sprintf(`
container_monitor:
  docker_host: %q
  exit_events: false
%s
file_monitor: {enabled: false}
sinks: {local_file: {path: %q, format: raw, rotate: {max_bytes: 0, compress: none, keep: 0s}}}
`, r.engine.Host(), monitor, r.out))
}

// grow starts containers until there are n, and says on stderr how far it is.
func (r *rig) grow(t *testing.T, n int, o harness.RunOptions) {
	t.Helper()
	ctx, from, began := t.Context(), len(r.fleet), time.Now()
	r.fleet = append(r.fleet, make([]*harness.Container, n-from)...)
	var all errgroup.Group
	all.SetLimit(startsAtOnce)
	for i := from; i < n; i++ {
		if i > from && (i-from)%50 == 0 {
			fmt.Fprintf(os.Stderr, "%s: %d of %d containers after %.0fs\n", t.Name(), i, n, time.Since(began).Seconds())
		}
		all.Go(func() error {
			mine := o
			mine.Name = fmt.Sprintf("load-%s-%d", strings.ToLower(filepath.Base(t.Name())), i)
			c, err := r.engine.RunContainer(ctx, mine)
			r.fleet[i] = c
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// each does the same to all containers, a few at a time.
func (r *rig) each(t *testing.T, do func(ctx context.Context, c *harness.Container) error) {
	t.Helper()
	var all errgroup.Group
	all.SetLimit(startsAtOnce)
	for _, c := range r.fleet {
		all.Go(func() error { return do(t.Context(), c) })
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// end stops all containers, expects what each wrote by then, waits until all of it was
// delivered, and counts it.
func (r *rig) end(t *testing.T) *harness.Report {
	t.Helper()
	r.each(t, func(ctx context.Context, c *harness.Container) error { return c.StopContext(ctx) })
	ledger := harness.NewLedger()
	for _, c := range r.fleet {
		last, err := lastLine(c.LogPath(t), c.Name)
		if err != nil {
			t.Fatal(err)
		}
		ledger.Expect(c.Name, 1, last)
	}
	return r.count(t, ledger)
}

// count waits until all that ledger expects was delivered, and counts it.
func (r *rig) count(t *testing.T, ledger *harness.Ledger) *harness.Report {
	t.Helper()
	want := float64(ledger.Total())
	var acked float64
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting && acked < want; {
		select {
		case <-tick.C:
			acked = r.agent.Metrics(t).Sum("lines_acked_total")
		case <-deadline:
			waiting = false // the count says what is missing
		}
	}
	count := ledger.Count()
	if err := count.AddFile(r.out); err != nil {
		t.Fatal(err)
	}
	report := count.Report()
	t.Log(report)
	if !report.OK() {
		t.Error("not every line was delivered exactly once")
	}
	return report
}
