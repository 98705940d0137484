package observe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// newPatientOf is one that captures the containers of an engine, as streams.
func newPatientOf(t *testing.T, engine *harness.DockerEngine, streams int) (p *patient, config func(streams int, spool string) string) {
	t.Helper()
	p = &patient{t: t, loki: harness.NewFakeLoki(t, maxLine)}
	key, value := engine.Label()
	config = func(streams int, spool string) string {
		return fmt.Sprintf("container_monitor: {docker_host: %q, read: stream, exit_events: false, poll_interval: 1s, include: {labels: {%s: %q}}, streams: {max: %d}}\n"+
			"file_monitor: {enabled: false}\ndispatcher: {memory: 1MiB, retry: {initial: 100ms, max: 500ms}, spool: {max_bytes: %s}}\nsinks: {loki: {url: %q}}\n",
			engine.Host(), key, value, streams, spool, p.loki.URL)
	}
	p.AgentProcess = harness.StartAgent(t, config(streams, "8MiB"))
	return p, config
}

// sums waits until the sum of a metric is as wanted.
func (p *patient) sums(what, name string, ok func(float64) bool, filters ...string) (n float64) {
	p.t.Helper()
	harness.Eventually(p.t, time.Minute, what, func() (bool, string) {
		n = p.Metrics(p.t).Sum(name, filters...)
		return ok(n), fmt.Sprint(name, " is ", n)
	})
	return n
}

// docs/runbooks/spool.md
func TestASpoolThatFillsIsEnlargedAndEmptied(t *testing.T) {
	const lines = 40_000
	engine := harness.Engine(t)
	p, config := newPatientOf(t, engine, 10)
	p.loki.Set(maxLine, true)
	c := engine.Run(t, harness.RunOptions{Args: []string{"-n", fmt.Sprint(lines), "-rate", "20000", "-size", "190"}})
	p.sums("half of the spool is used", "sink_spool_bytes", func(n float64) bool { return n > 4<<20 })
	if err := p.SetConfig(config(10, "64MiB")); err != nil {
		t.Fatal(err)
	}
	p.does(0, "reload")
	if got := p.Metrics(t).Sum("sink_spool_max_bytes"); got != 64<<20 {
		t.Errorf("the spool may take %v bytes after the reload", got)
	}
	c.Wait(t)
	p.sums("all of it in the spool or in memory", "lines_read_total", func(n float64) bool { return n == lines })
	p.loki.Set(maxLine, false)
	p.sums("all lines delivered", "lines_acked_total", func(n float64) bool { return n == lines })
	if got := p.Metrics(t).Sum("lines_upstream_lost_total") + p.Metrics(t).Sum("lines_dropped_total"); got != 0 {
		t.Errorf("%v lines were lost", got)
	}
	p.sums("an empty spool", "sink_spool_bytes", func(n float64) bool { return n < 1<<20 })
}

// docs/runbooks/spool.md: the broken bytes are set aside, and all else is delivered.
func TestADamagedSpoolIsSaidAndItsRestDelivered(t *testing.T) {
	const lines = 20_000
	engine := harness.Engine(t)
	p, _ := newPatientOf(t, engine, 10)
	p.loki.Set(maxLine, true)
	c := engine.Run(t, harness.RunOptions{Args: []string{"-n", fmt.Sprint(lines), "-rate", "20000", "-size", "190"}})
	c.Wait(t)
	p.sums("all lines read", "lines_read_total", func(n float64) bool { return n == lines })
	p.Stop(t) // what is in memory goes to the spool
	segments, err := filepath.Glob(filepath.Join(p.Data, "spool", "loki", "*.seg"))
	if err != nil || len(segments) == 0 {
		all, _ := filepath.Glob(filepath.Join(p.Data, "spool", "loki", "*"))
		t.Fatalf("%d segments, error %v; there are %q", len(segments), err, all)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0xff
	if err := os.WriteFile(segments[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.loki.Set(maxLine, false)
	p.Start(t)
	lost := p.sums("a loss that is counted", "spool_lost_lines_total", func(n float64) bool { return n > 0 })
	p.sums("the rest delivered", "lines_acked_total", func(n float64) bool { return n == lines-lost })
	if !strings.Contains(strings.ToLower(p.Log()), "spool") {
		t.Error("the agent's log does not speak of the spool")
	}
	aside, err := filepath.Glob(filepath.Join(p.Data, "spool", "loki", "*.damaged"))
	if err != nil || len(aside) == 0 {
		t.Fatalf("nothing was set aside, error %v", err)
	}
	if err := os.Remove(aside[0]); err != nil {
		t.Fatal(err)
	}
	if got := p.Metrics(t).Sum("spool_lost_lines_total"); got != lost {
		t.Errorf("%v lines are lost now, were %v", got, lost)
	}
}

// docs/runbooks/engine.md
func TestAnEngineThatIsBackIsFoundAgain(t *testing.T) {
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	p, _ := newPatientOf(t, engine, 10)
	p.is("container_monitor", "healthy", "")
	engine.Stop(t)
	p.is("container_monitor", "degraded", "cannot be reached")
	if said := p.does(0, "health"); !strings.Contains(said, "cannot be reached") { // degraded is no failure
		t.Errorf("health does not tell the reason: %s", said)
	}
	cmd := exec.CommandContext(t.Context(), p.Bin(), "doctor", "-c", p.ConfigPath())
	if said, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() == 0 || !strings.Contains(string(said), "Docker") { // the exit code tells
		t.Errorf("doctor finds nothing: %s", said)
	}
	engine.Start(t)
	p.is("container_monitor", "healthy", "")
}

// docs/runbooks/streams.md
func TestAPoolOfStreamsThatIsTooSmallIsEnlarged(t *testing.T) {
	engine := harness.Engine(t)
	p, config := newPatientOf(t, engine, 1)
	for range 2 {
		engine.Run(t, harness.RunOptions{Args: []string{"-rate", "20"}})
	}
	p.sums("one that is polled", "container_streams_active", func(n float64) bool { return n == 1 }, `mode="poll"`)
	p.sums("a pool in full use", "container_stream_pool_utilization", func(n float64) bool { return n == 1 })
	if err := p.SetConfig(config(4, "8MiB")); err != nil {
		t.Fatal(err)
	}
	p.does(0, "reload")
	p.sums("two that are followed", "container_streams_active", func(n float64) bool { return n == 2 }, `mode="stream"`)
	p.sums("room in the pool", "container_stream_pool_utilization", func(n float64) bool { return n == 0.5 })
}

// docs/runbooks/agent.md
func TestAnAgentThatDoesNotStartSaysWhatToDo(t *testing.T) {
	p := newPatient(t)
	p.sums("a line", "lines_acked_total", func(n float64) bool { return n == 1 })
	second := exec.CommandContext(t.Context(), p.Bin(), "run", "-c", p.ConfigPath())
	if said, _ := second.CombinedOutput(); !strings.Contains(string(said), "another log_capturer uses this data_dir") { // the text tells
		t.Errorf("a second agent says %s", said)
	}
	p.Kill(t)
	p.say("while it is down")
	if err := p.SetConfig(p.config("nonsense: true\n")); err != nil {
		t.Fatal(err)
	}
	p.does(2, "run")
	if said := p.does(2, "check"); !strings.Contains(said, "nonsense") {
		t.Errorf("check does not name the mistake: %s", said)
	}
	if err := p.SetConfig(p.config("")); err != nil {
		t.Fatal(err)
	}
	p.Start(t)
	p.does(0, "health")
	p.sums("the line of meanwhile", "lines_acked_total", func(n float64) bool { return n >= 1 })
	if got := p.Metrics(t).Sum("lines_upstream_lost_total"); got != 0 {
		t.Errorf("%v lines were lost by the restart", got)
	}
}

// docs/runbooks/leak.md: near the limit of descriptors, which is raised.
func TestDescriptorsNearTheirLimitAreSaidAndTheLimitRaised(t *testing.T) {
	const files, few = 500, 512
	dir := t.TempDir()
	for n := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", n)), []byte("hello\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loki := harness.NewFakeLoki(t, maxLine)
	config := fmt.Sprintf("container_monitor: {enabled: false}\nfile_monitor: {include: [%q]}\nleak_watch: {interval: 1s}\nsinks: {loki: {url: %q}}\n", dir+"/*.log", loki.URL)
	p := &patient{t: t, loki: loki, AgentProcess: harness.StartAgentUnder(t, config, "prlimit", fmt.Sprintf("--nofile=%d:%d", few, few))}
	p.is("leak_watch", "unhealthy", "descriptors")
	p.Stop(t)
	p.AgentProcess = harness.StartAgent(t, fmt.Sprintf("data_dir: %q\n%s", p.Data, config)) // with the limit of everybody else
	p.is("leak_watch", "healthy", "")
	p.sums("all files", "files_monitored", func(n float64) bool { return n == files })
	harness.Eventually(t, time.Minute, "all lines", func() (bool, string) {
		n := len(loki.Streams()) // one for each file
		return n == files, fmt.Sprint(n)
	})
}

// docs/runbooks/lost-lines.md: a source says more than it may.
func TestLinesThatALimitDropsAreFoundAndTheLimitRaised(t *testing.T) {
	p := newPatient(t)
	limited := strings.Replace(p.config(""), "dispatcher: {", "dispatcher: {rate_limit: {bytes_per_second: 1KiB, burst: 1KiB, policy: drop}, ", 1)
	if err := p.SetConfig(limited); err != nil {
		t.Fatal(err)
	}
	p.does(0, "reload")
	for n := range 100 {
		p.say(fmt.Sprintf("chatter %d %s", n, strings.Repeat("x", 100)))
	}
	p.sums("lines that are dropped", "lines_dropped_total", func(n float64) bool { return n > 0 }, `reason="rate_limit"`)
	if got := p.Metrics(t).Sum("lines_read_total", fmt.Sprintf("source=%q", p.log)); got < 10 {
		t.Errorf("who says most is not to be seen: %v lines of it", got)
	}
	if err := p.SetConfig(p.config("")); err != nil {
		t.Fatal(err)
	}
	p.does(0, "reload")
	p.sums("all lines read", "lines_read_total", func(n float64) bool { return n == 101 })
	before := p.Metrics(t).Sum("lines_dropped_total")
	for n := range 100 {
		p.say(fmt.Sprint("more ", n))
	}
	p.sums("all lines accounted for", "lines_acked_total", func(n float64) bool { return n == 201-before })
	if got := p.Metrics(t).Sum("lines_dropped_total"); got != before {
		t.Errorf("%v lines are dropped now, were %v", got, before)
	}
}
