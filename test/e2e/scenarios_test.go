package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// readers are the ways to read a container; each scenario holds for all of them.
var readers = []string{"file", "stream", "poll"}

func forEachReader(t *testing.T, test func(t *testing.T, read string)) {
	for _, read := range readers {
		t.Run(read, func(t *testing.T) { test(t, read) })
	}
}

// forEachReaderAtOnce is for tests that mostly wait, and measure nothing.
func forEachReaderAtOnce(t *testing.T, test func(t *testing.T, read string)) {
	forEachReader(t, func(t *testing.T, read string) {
		t.Parallel()
		test(t, read)
	})
}

// Scenario 3: what was logged while the agent was down is delivered, without repeats:
// to files too, since Loki hides them.
func TestDowntimeOfTheAgentIsCaughtUp(t *testing.T) {
	forEachReaderAtOnce(t, func(t *testing.T, read string) {
		w := newWorld(t, harness.Engine(t), harness.Loki(t))
		dir := t.TempDir()
		w.startAgent(w.config(read, "", "") + fmt.Sprintf("  local_file: {path: \"%s/{source}.{stream}.log\", format: raw}\n", dir))
		w.ready()
		c := w.container(3000, harness.RunOptions{Args: []string{"-rate", "300", "-stderr-every", "3", "-gate", "1500"}})
		w.reached(0.1)
		w.agent.Stop(t)
		c.Open(t)
		c.Wait(t) // the rest is written while nobody listens
		w.agent.Start(t)
		w.ends("3: the agent is down for a while", time.Minute)
		w.agent.Stop(t)
		w.exactlyOnceInFiles(dir)
	})
}

// What the engine rotated and compressed while the agent was down is read from its archives.
func TestGenerationsThatTheEngineCompressedAreCaughtUp(t *testing.T) {
	w := newWorld(t, harness.Engine(t), harness.Loki(t))
	dir := t.TempDir()
	w.startAgent(w.config("file", "", "") + fmt.Sprintf("  local_file: {path: \"%s/{source}.{stream}.log\", format: raw}\n", dir))
	w.ready()
	c := w.container(6000, harness.RunOptions{
		Args:    []string{"-rate", "2000", "-stderr-every", "3", "-size", "150", "-gate", "1500"},
		LogOpts: map[string]string{"max-size": "100k", "max-file": "20", "compress": "true"},
	})
	w.reached(0.1)
	w.agent.Stop(t)
	c.Open(t)
	c.Wait(t)
	archives, err := filepath.Glob(c.LogPath(t) + ".*.gz")
	if err != nil || len(archives) < 5 {
		t.Fatalf("the engine made %d archives, error %v", len(archives), err)
	}
	w.agent.Start(t)
	w.ends("3: the agent is down, the engine compresses", time.Minute)
	w.agent.Stop(t)
	w.exactlyOnceInFiles(dir)
}

// Scenario 3, by force: nothing is lost when the agent is killed, and Loki shows
// nothing twice, because what is sent again has the same timestamps.
func TestAKilledAgentLosesNothing(t *testing.T) {
	forEachReaderAtOnce(t, func(t *testing.T, read string) {
		w := newWorld(t, harness.Engine(t), harness.Loki(t))
		w.startAgent(w.config(read, "", ""))
		c := w.container(6000, harness.RunOptions{Args: []string{"-rate", "600", "-stderr-every", "3", "-gate", "5000"}})
		for _, share := range []float64{0.1, 0.4} {
			w.reached(share)
			w.agent.Kill(t)
			w.agent.Start(t)
		}
		c.Open(t)
		c.Wait(t)
		w.exactlyOnce(time.Minute)
	})
}

// While Loki is down, files wait and streams go to the spool; the agent is stopped, or
// killed, meanwhile. When Loki is back everything is there, once.
func TestAnOutageOfLokiIsBridged(t *testing.T) {
	for _, end := range []string{"stopped", "killed"} {
		t.Run(end, func(t *testing.T) { forEachReaderAtOnce(t, func(t *testing.T, read string) { outage(t, end, read) }) })
	}
}

func outage(t *testing.T, end, read string) {
	// Draining the backlog is fast enough for Loki to split the stream into shards, between
	// which it does not see that an entry is sent again.
	w := newWorld(t, harness.Engine(t), harness.PrivateLoki(t, harness.LokiOptions{
		Config: "limits_config: {shard_streams: {enabled: false}}\n",
	}))
	w.startAgent("shutdown_timeout: 2s\ndispatcher: {memory: 1MiB, batch: {max_bytes: 256KiB}}\n" + w.config(read, "", ""))
	c := w.container(20_000, harness.RunOptions{Args: []string{"-rate", "2000", "-size", "300", "-stderr-every", "3", "-gate", "6000"}})
	w.reached(0.05)
	w.loki.Stop(t)
	c.Open(t)
	c.Wait(t)
	harness.Eventually(t, 20*time.Second, "spooled lines of the API, none of files", func() (bool, string) {
		m := w.agent.Metrics(t)
		spooled, used := m.Sum("log_capturer_lines_spooled"), m.Sum("log_capturer_arena_bytes")
		return (spooled > 0) == (read != "file") && used < 2<<20, fmt.Sprintf("%.0f lines spooled, %.0f bytes in flight", spooled, used)
	})
	if end == "stopped" {
		w.agent.Stop(t) // exits with 0, though not all could be delivered
	} else {
		w.agent.Kill(t)
	}
	w.agent.Start(t)
	w.loki.Start(t)
	w.exactlyOnce(time.Minute)
}

// Scenario 4: after docker restart, with the same id, new lines arrive within 2 s.
func TestARestartedContainerIsFollowed(t *testing.T) {
	forEachReader(t, func(t *testing.T, read string) {
		w := newWorld(t, harness.Engine(t), harness.Loki(t))
		w.startAgent(w.config(read, "", ""))
		c := w.container(40, harness.RunOptions{Args: []string{"-burst", "10", "-every", "1h", "-state", "/seq"}})
		best := time.Hour // one slow try is the machine's
		for n := range 3 {
			w.atLeast(int64(10*(n+1)), 20*time.Second)
			c.Restart(t)
			began := time.Now()
			w.atLeast(int64(10*(n+2)), 20*time.Second)
			best = min(best, time.Since(began))
		}
		if best > 2*time.Second {
			t.Errorf("the lines after a restart took %v to arrive, want under 2s", best)
		}
		w.exactlyOnce(20 * time.Second)
	})
}

func (w *world) atLeast(n int64, deadline time.Duration) {
	w.t.Helper()
	harness.Eventually(w.t, deadline, fmt.Sprintf("%d lines in Loki", n), func() (bool, string) {
		got, err := w.loki.Count(w.t.Context(), w.selector(), w.start, time.Now().Add(time.Minute))
		return err == nil && got >= n, fmt.Sprintf("%d lines, error %v", got, err)
	})
}

// Scenario 5: an engine that is absent at boot, or is restarted, is no reason to
// restart the agent; health says so meanwhile.
func TestTheEngineMayBeAbsentAndRestarted(t *testing.T) {
	forEachReaderAtOnce(t, func(t *testing.T, read string) {
		engine := harness.PrivateEngine(t, harness.EngineOptions{})
		w := newWorld(t, engine, harness.Loki(t))
		engine.Image(t)
		engine.Stop(t)
		w.startAgent(w.config(read, "", ""))
		w.dockerHealth("degraded")
		engine.Start(t)
		w.dockerHealth("healthy")
		first := w.container(500, harness.RunOptions{Args: []string{"-rate", "500"}})
		first.Wait(t)
		w.arrived(30 * time.Second)
		engine.Restart(t)
		second := w.container(500, harness.RunOptions{Args: []string{"-rate", "500"}})
		second.Wait(t)
		w.exactlyOnce(30 * time.Second)
		w.dockerHealth("healthy")
		if n := strings.Count(w.agent.Log(), "level=WARN"); n > 6 {
			t.Errorf("%d warnings for two outages; once each is enough:\n%s", n, w.agent.Log())
		}
	})
}

func (w *world) dockerHealth(want string) {
	w.t.Helper()
	harness.Eventually(w.t, 20*time.Second, "docker "+want, func() (bool, string) {
		h := w.agent.Health(w.t)
		for _, c := range h.Components {
			if c.Name == "container_monitor" {
				return c.Status == want && (want == "healthy" || c.Reason != ""), fmt.Sprintf("%+v", c)
			}
		}
		return false, fmt.Sprintf("no component container_monitor in %+v", h)
	})
}

// Scenario 6: containers of docker run --rm that live for milliseconds, on a loaded host.
func TestShortLivedContainersAreCaught(t *testing.T) {
	w := newWorld(t, harness.Engine(t), harness.Loki(t))
	w.startAgent(w.config("auto", "", ""))
	w.burst(100, 1)
	w.exactlyOnce(time.Minute)
}

// Scenario 9: a 100 KB JSON line, interleaved with the other output or on a terminal,
// is one intact record.
func TestLongLinesStayWhole(t *testing.T) {
	forEachReaderAtOnce(t, func(t *testing.T, read string) {
		for _, tty := range []bool{false, true} {
			t.Run(fmt.Sprintf("tty=%v", tty), func(t *testing.T) {
				w := newWorld(t, harness.Engine(t), harness.Loki(t))
				w.startAgent(w.config(read, "", ""))
				w.container(120, harness.RunOptions{ // 20 long ones: an answer of Loki is at most 4 MiB
					TTY: tty, Args: []string{"-rate", "100", "-long-every", "6", "-long-bytes", "100000", "-stderr-every", "3"},
				})
				w.exactlyOnce(time.Minute)
			})
		}
	})
}

// Scenario 14: an agent in a container does not capture itself, unless it is asked to;
// it would feed on what it says.
func TestTheAgentsOwnContainerIsLeftOut(t *testing.T) {
	engine := harness.Engine(t)
	bin := harness.ShippedAgent(t)
	for _, self := range []string{"exclude", "include"} {
		t.Run(self, func(t *testing.T) {
			dir := t.TempDir()
			key, value := engine.Label()
			config := fmt.Sprintf(`
data_dir: /out/data
container_monitor:
  docker_host: %s
  self: %s
  exit_events: false
  include: {labels: {%s: %q, e2e: %q}}
file_monitor: {enabled: false}
sinks: {local_file: {path: "/out/logs/{source}.log", format: raw}}
`, engine.Host(), self, key, value, t.Name())
			if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			socket := strings.TrimPrefix(engine.Host(), "unix://")
			root := engine.DataRoot(t)
			mark := map[string]string{"e2e": t.Name()}
			agent := engine.Run(t, harness.RunOptions{
				Labels: mark, Entrypoint: []string{"/agent", "run", "-c", "/out/config.yaml"},
				Binds: []string{bin + ":/agent:ro", dir + ":/out", socket + ":" + socket, root + ":" + root + ":ro"},
			})
			other := engine.Run(t, harness.RunOptions{Labels: mark, Args: []string{"-n", "100"}})
			captured := func(name string) int {
				data, _ := os.ReadFile(filepath.Join(dir, "logs", name+".log")) // may not be there yet
				return strings.Count(string(data), "\n")
			}
			harness.Eventually(t, 20*time.Second, "100 lines of the other container", func() (bool, string) {
				return captured(other.Name) == 100, fmt.Sprint(captured(other.Name))
			})
			if self == "include" {
				harness.Eventually(t, 20*time.Second, "the agent's own lines", func() (bool, string) { return captured(agent.Name) > 0, "none" })
			}
			agent.Stop(t)
			if n := captured(agent.Name); (n > 0) != (self == "include") {
				t.Errorf("%d lines of its own with self: %s", n, self)
			}
		})
	}
}

// Containers that the configuration leaves out are not read.
func TestContainersThatAreLeftOut(t *testing.T) {
	w := newWorld(t, harness.Engine(t), harness.Loki(t))
	w.startAgent(w.config("auto", `
  exclude: {names: ["*-noise"], labels: {quiet: "yes"}}`, ""))
	mark := map[string]string{"e2e": w.run, "quiet": "yes"}
	w.engine.Run(t, harness.RunOptions{Args: []string{"-n", "10"}, Labels: mark}).Wait(t)
	w.engine.Run(t, harness.RunOptions{Name: harnessName(w) + "-noise", Args: []string{"-n", "10"}, Labels: map[string]string{"e2e": w.run}}).Wait(t)
	w.container(10, harness.RunOptions{}).Wait(t)
	w.exactlyOnce(30 * time.Second)
}
