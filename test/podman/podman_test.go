// Package podman runs the agent, as a process, on a real Podman through its
// Docker-compatible API, and counts every line by its source and number.
//
// That API differs from Docker's where it matters here: its timestamps have whole
// seconds, its pieces of long lines are shorter, it calls a k8s-file log a json-file,
// and what Docker calls destroy it calls remove.
package podman

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// podman is one test's Podman, agent and oracle.
type podman struct {
	engine *harness.DockerEngine
	agent  *harness.AgentProcess
	ledger *harness.Ledger
	dir    string // of the local_file sink
}

func newPodman(t *testing.T, read string) *podman {
	p := &podman{engine: harness.Podman(t), ledger: harness.NewLedger(), dir: t.TempDir()}
	key, value := p.engine.Label()
	p.agent = harness.StartAgent(t, fmt.Sprintf(`
container_monitor:
  docker_host: %q
  exit_events: false
  poll_interval: 500ms
  streams: {rotation_interval: 2s}
  read: %s
  include: {labels: {%s: %q}}
file_monitor: {enabled: false}
sinks: {local_file: {path: "%s/{source}.{stream}.log", format: raw}}
`, p.engine.Host(), read, key, value, p.dir))
	return p
}

// run starts a container of n lines.
func (p *podman) run(t *testing.T, n int64, o harness.RunOptions) *harness.Container {
	t.Helper()
	o.Args = append([]string{"-n", fmt.Sprint(n)}, o.Args...)
	c := p.engine.Run(t, o)
	p.ledger.Expect(c.Name, 1, n)
	return c
}

// count counts what is in the sink's files.
func (p *podman) count(t *testing.T) *harness.Report {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(p.dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	count := p.ledger.Count()
	for _, path := range paths {
		if err := count.AddFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return count.Report()
}

// exactlyOnce waits until the sink has all lines, and looks once more when the agent
// has stopped: by then nothing is on its way.
func (p *podman) exactlyOnce(t *testing.T, deadline time.Duration) {
	t.Helper()
	p.arrived(t, deadline, p.ledger.Total())
	p.agent.Stop(t)
	report := p.count(t)
	t.Log(report)
	if !report.OK() {
		t.Error("not every line is in the files exactly once")
	}
}

// arrived waits until the agent has delivered n lines.
func (p *podman) arrived(t *testing.T, deadline time.Duration, n int64) {
	t.Helper()
	harness.Eventually(t, deadline, fmt.Sprintf("%d lines in the files", n), func() (bool, string) {
		report := p.count(t)
		return report.Lines >= n, report.String()
	})
}

func TestEachLineOfEachDriverArrivesOnceAcrossARestartOfTheAgent(t *testing.T) {
	const lines = 5000
	for _, driver := range harness.PodmanDrivers {
		t.Run(driver, func(t *testing.T) {
			p := newPodman(t, "auto")
			var all []*harness.Container
			for _, shape := range [][]string{
				{},
				{"-stderr-every", "3", "-format", "mixed"},
				{"-stderr-every", "2", "-long-every", "500", "-long-bytes", "40000"}, // in pieces
			} {
				all = append(all, p.run(t, lines, harness.RunOptions{Driver: driver, Args: append(shape, "-rate", "500")}))
			}
			p.arrived(t, time.Minute, 2000)
			p.agent.Stop(t)
			for _, c := range all {
				if !c.Running(t) {
					t.Fatalf("container %s has ended already; the machine is too slow for this test's timing", c.Name)
				}
			}
			p.agent.Start(t)
			for _, c := range all {
				c.Wait(t)
			}
			p.arrived(t, time.Minute, p.ledger.Total())
			if n := p.agent.Metrics(t).Sum("container_stream_rotations_total"); n == 0 {
				t.Error("no stream was replaced")
			} else {
				t.Log(n, "streams were replaced")
			}
			p.exactlyOnce(t, time.Minute)
		})
	}
}

func TestAPollerOfPodmanLosesAndRepeatsNothing(t *testing.T) {
	for _, driver := range harness.PodmanDrivers {
		t.Run(driver, func(t *testing.T) {
			p := newPodman(t, "poll")
			for _, shape := range [][]string{
				{"-stderr-every", "3"},
				{"-stderr-every", "2", "-long-every", "200", "-long-bytes", "40000"},
			} {
				p.run(t, 3000, harness.RunOptions{Driver: driver, Args: append(shape, "-rate", "500")})
			}
			p.arrived(t, time.Minute, 1000)
			p.agent.Stop(t)
			p.agent.Start(t)
			p.exactlyOnce(t, time.Minute)
		})
	}
}

// In one second there are more lines than any other engine has of one timestamp.
func TestThousandsOfLinesInASecondOfPodmanArriveOnceAcrossARestart(t *testing.T) {
	for _, driver := range harness.PodmanDrivers {
		t.Run(driver, func(t *testing.T) {
			p := newPodman(t, "stream")
			p.run(t, 50_000, harness.RunOptions{Driver: driver, Args: []string{"-rate", "10000", "-stderr-every", "4", "-hold"}})
			for range 3 {
				p.arrived(t, time.Minute, p.count(t).Lines+5000)
				p.agent.Stop(t)
				p.agent.Start(t)
			}
			p.exactlyOnce(t, time.Minute)
		})
	}
}

func TestWhatIsToBeReadByFileIsReadThroughTheAPIOfPodman(t *testing.T) {
	p := newPodman(t, "file")
	p.run(t, 100, harness.RunOptions{Driver: "k8s-file"})
	p.exactlyOnce(t, 20*time.Second)
}

func TestAContainerOfPodmanThatIsRemovedIsLetGo(t *testing.T) {
	p := newPodman(t, "auto")
	c := p.run(t, 100, harness.RunOptions{Args: []string{"-hold"}, Driver: "k8s-file"})
	monitored := func(want float64) {
		t.Helper()
		harness.Eventually(t, 20*time.Second, fmt.Sprint(want, " containers monitored"), func() (bool, string) {
			got := p.agent.Metrics(t).Sum("containers_monitored")
			return got == want, fmt.Sprint(got)
		})
	}
	p.arrived(t, 20*time.Second, 100)
	monitored(1)
	c.Remove(t)
	monitored(0)
	p.exactlyOnce(t, time.Second)
}
