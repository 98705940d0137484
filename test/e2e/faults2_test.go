//go:build scenarios

package e2e

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// R21, scenario 15: a sink that is dead and a spool that is full slow no container: the
// agent makes no difference.
func TestADeadSinkSlowsNoContainer(t *testing.T) {
	forEachReader(t, func(t *testing.T, read string) {
		w := newWorld(t, harness.Engine(t), harness.PrivateLoki(t, harness.LokiOptions{Config: "limits_config: {shard_streams: {enabled: false}}\n"}))
		w.startAgent("dispatcher: {memory: 1MiB, batch: {max_bytes: 256KiB}, spool: {max_bytes: 1MiB}}\nshutdown_timeout: 2s\n" + w.config(read, "", ""))
		w.ready()
		w.loki.Stop(t)
		w.container(12_000, harness.RunOptions{Args: []string{"-size", "300"}}).Wait(t)
		w.full()
		w.slowsNobody()
		w.loki.Start(t)
		harness.Eventually(t, 5*time.Minute, "the rest of what nobody counts", func() (bool, string) {
			m := w.agent.Metrics(t)
			waiting := m.Sum("lines_in_flight") + m.Sum("lines_spooled")
			return waiting == 0 && w.stands(), fmt.Sprintf("%.0f lines are waiting", waiting)
		})
		w.ends("R21, 15: the sink is dead, the spool full", 5*time.Minute)
	})
}

// slowsNobody compares, in turn, what one container takes to write and others to run, stop
// and be removed, with the agent and without; and what the agent does meanwhile: next to
// nothing.
func (w *world) slowsNobody() {
	w.t.Helper()
	const pairs, bursts, lines = 16, 10, 20_000
	dir, done := w.t.TempDir(), 0
	// It says more than can be kept, so it is not among those whose lines are counted.
	writer := w.engine.Run(w.t, harness.RunOptions{
		Labels: map[string]string{"e2e": w.run}, Binds: []string{dir + ":/took"}, LogOpts: map[string]string{"max-size": "50m", "max-file": "2"},
		Args: []string{"-burst", fmt.Sprint(lines), "-every", "0", "-size", "200", "-took", "/took/bursts"},
	})
	defer writer.Remove(w.t)
	w.ledger.Ignore(writer.Name)
	write := func() time.Duration {
		for range bursts {
			done++
			writer.Open(w.t)
			harness.Eventually(w.t, time.Minute, "the end of a burst", func() (bool, string) {
				n := len(durations(w.t, filepath.Join(dir, "bursts")))
				return n == done, fmt.Sprintf("%d of %d", n, done)
			})
		}
		return median(durations(w.t, filepath.Join(dir, "bursts"))[done-bursts:])
	}
	calls := func() time.Duration {
		return median([]time.Duration{w.runStopRemove(), w.runStopRemove(), w.runStopRemove()})
	}
	used := func() float64 { return w.agent.Metrics(w.t).Sum("process_cpu_seconds_total") }
	var writes, runs compared
	var cpu, took float64
	for range pairs {
		before, began := used(), time.Now()
		writes.with = append(writes.with, write())
		cpu, took = cpu+used()-before, took+time.Since(began).Seconds()
		runs.with = append(runs.with, calls())
		w.agent.Stop(w.t)
		writes.without, runs.without = append(writes.without, write()), append(runs.without, calls())
		w.agent.Start(w.t)
		w.full()
	}
	w.t.Logf("the agent took %.1f %% of a core while the container wrote", 100*cpu/took)
	idle := 0.02
	if harness.RaceEnabled {
		idle *= 5
	}
	if cpu/took > idle {
		w.t.Error("the agent does something although there is no room")
	}
	writes.longer(w.t, "writing", 1.02)
	runs.longer(w.t, "docker run, stop and rm", 1.1)
}

// full waits until the agent takes nothing more.
func (w *world) full() {
	w.t.Helper()
	harness.Eventually(w.t, 30*time.Second, "nothing more fits", func() (bool, string) {
		m := w.agent.Metrics(w.t)
		spooled, held := m.Sum("sink_spool_bytes"), m.Sum("sink_queue_bytes")
		return spooled+held > 250<<10 && w.stands(), fmt.Sprintf("%.0f bytes in the spool, %.0f in memory", spooled, held)
	})
}

// compared are durations in pairs, with the agent and without.
type compared struct{ with, without []time.Duration }

// longer fails the test when something was seen to take more than the given share of the
// time that it takes without the agent. The machine alone makes single ones half as long
// or twice, so a share is known to two standard errors of the pairs' mean.
func (c compared) longer(t *testing.T, what string, most float64) {
	t.Helper()
	var sum, squares float64
	n := float64(len(c.with))
	for i := range c.with {
		x := math.Log(float64(c.with[i]) / float64(c.without[i]))
		sum, squares = sum+x, squares+x*x
	}
	mean := sum / n
	err := math.Sqrt((squares/n-mean*mean)/(n-1)) * 2
	said := fmt.Sprintf("%s takes %.3f of the time that it takes without the agent, between %.3f and %.3f; medians %v and %v",
		what, math.Exp(mean), math.Exp(mean-err), math.Exp(mean+err), median(c.with), median(c.without))
	t.Log(said)
	if math.Exp(mean-err) > most {
		t.Error(said)
	}
}

func median(all []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(all))[len(all)/2].Round(10 * time.Microsecond)
}

// durations reads what loggen wrote with -took.
func durations(t *testing.T, path string) (all []time.Duration) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, text := range strings.Fields(string(data)) {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// stands tells whether the agent reads nothing more.
func (w *world) stands() bool {
	w.t.Helper()
	read := func() float64 { return w.agent.Metrics(w.t).Sum("log_capturer_lines_read_total") }
	before, since := read(), time.Now()
	harness.Eventually(w.t, time.Minute, "a moment", func() (bool, string) { return time.Since(since) > time.Second, "" })
	return read() == before
}

// runStopRemove times these three for a container that says nothing.
func (w *world) runStopRemove() time.Duration {
	w.t.Helper()
	began := time.Now()
	c := w.engine.Run(w.t, harness.RunOptions{Labels: map[string]string{"e2e": w.run}, Args: []string{"-n", "1", "-file", "/dev/null", "-hold"}})
	c.Stop(w.t)
	c.Remove(w.t)
	return time.Since(began)
}

// R25: the disk with the containers' logs is full, and the engine drops lines. The agent
// says so, delivers what was kept, and goes on when there is room.
func TestTheEnginesDiskIsFull(t *testing.T) {
	const lines, rate = 8000, 1000
	engine := harness.PrivateEngine(t, harness.EngineOptions{DataSize: 80 << 20})
	o := startTrio(t, engine, harness.Loki(t), nil)
	c := engine.Run(t, harness.RunOptions{
		Args: []string{"-n", fmt.Sprint(lines), "-rate", fmt.Sprint(rate), "-size", "300"}, Labels: map[string]string{"e2e": o.run},
	})
	o.have(c.Name, rate, 30*time.Second)
	ballast := filepath.Join(engine.DataRoot(t), "ballast")
	fill(t, ballast)
	since := time.Now()
	for i, w := range o.each {
		harness.Eventually(t, 30*time.Second, "an alarm of "+readers[i], func() (bool, string) {
			status, reason, _ := w.agent.Health(t).Component("engine_disk")
			n := w.agent.Metrics(t).Sum("lines_upstream_lost_total", `reason="engine_disk_full"`)
			return status == "degraded" && n == 1, fmt.Sprintf("%s %q, %.0f times", status, reason, n)
		})
	}
	t.Logf("all three gave the alarm within %v", time.Since(since).Round(100*time.Millisecond))
	c.Wait(t)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for i, w := range o.each {
		harness.Eventually(t, 30*time.Second, "room for "+readers[i], func() (bool, string) {
			status, reason, _ := w.agent.Health(t).Component("engine_disk")
			return status == "healthy", reason
		})
	}
	kept := o.kept(c)
	t.Logf("the engine kept %d of %d lines", kept, lines)
	if kept == lines {
		t.Error("the engine dropped nothing: this shows nothing")
	}
	o.container(100, harness.RunOptions{}).Wait(t)
	o.ends("R25: the engine's disk is full", time.Minute)
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	piece := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(piece)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// R27: 50 containers and 64 descriptors. The agent lives, does not spin, and says what is
// wrong; when there are fewer containers it has all that they wrote.
func TestTooFewDescriptors(t *testing.T) {
	const containers, stay, lines, rate = 50, 10, 500, 10
	for _, read := range []string{"file", "stream"} {
		t.Run(read, func(t *testing.T) {
			w := newWorld(t, harness.Engine(t), harness.Loki(t))
			w.agent = harness.StartAgentUnder(t, w.config(read, "", ""), harness.FewDescriptors(64)...)
			w.ready()
			var all []*harness.Container
			for range containers {
				all = append(all, w.engine.Run(t, harness.RunOptions{
					Args: []string{"-n", fmt.Sprint(lines), "-rate", fmt.Sprint(rate), "-hold"}, Labels: map[string]string{"e2e": w.run},
				}))
			}
			before, err := harness.CPUSeconds(w.agent.PID())
			if err != nil {
				t.Fatal(err)
			}
			since := time.Now()
			harness.Eventually(t, time.Minute, "10 seconds", func() (bool, string) { return time.Since(since) >= 10*time.Second, "" })
			after, err := harness.CPUSeconds(w.agent.PID())
			if err != nil {
				t.Fatal(err)
			}
			warnings := strings.Count(w.agent.Log(), "level=WARN") + strings.Count(w.agent.Log(), "level=ERROR")
			t.Logf("%.1f%% of a core, %d warnings", 10*(after-before), warnings)
			if !strings.Contains(w.agent.Log(), "too many open files") {
				t.Error("the agent's log does not say what it lacks")
			}
			harness.Eventually(t, 20*time.Second, "a state that says so", func() (bool, string) {
				status, reason, _ := w.agent.Health(t).Component("container_monitor")
				// The library's words for a socket that cannot be had do not tell of the limit.
				return status == "degraded" && (read == "stream" || strings.Contains(reason, "too many open files")), status + " " + reason
			})
			most := 1.0
			if harness.RaceEnabled {
				most = 5 // the detector's own work
			}
			if after-before > most {
				t.Errorf("%.1f s of CPU time in 10 s", after-before)
			}
			if warnings > 3*containers {
				t.Errorf("%d warnings:\n%.4000s", warnings, w.agent.Log())
			}
			for _, c := range all[stay:] {
				c.Remove(t)
			}
			for _, c := range all[:stay] {
				w.ledger.Expect(c.Name, 1, lines)
			}
			w.onlyOf(all[:stay], time.Minute)
			w.removeContainers()
			harness.Eventually(t, 30*time.Second, "what was held before", func() (bool, string) {
				now, err := w.census()
				return err == nil && now.owned == w.before.owned && now.descriptors == w.before.descriptors, fmt.Sprintf("%+v, before %+v", now, w.before)
			})
		})
	}
}

// onlyOf waits for the lines of some containers and counts these alone.
func (w *world) onlyOf(containers []*harness.Container, deadline time.Duration) {
	w.t.Helper()
	names := make([]string, len(containers))
	for i, c := range containers {
		names[i] = c.Name
	}
	w.arrivedOf(strings.Join(names, "|"), deadline)
	w.balanced()
	ours := slices.DeleteFunc(w.query(), func(s harness.Stream) bool { return !slices.Contains(names, s.Labels["container"]) })
	if report := w.ledger.Check(ours); !report.OK() {
		w.t.Error(report)
	}
}

func (w *world) arrivedOf(names string, deadline time.Duration) {
	w.t.Helper()
	harness.Eventually(w.t, deadline, fmt.Sprintf("%d lines", w.ledger.Total()), func() (bool, string) {
		n, err := w.loki.Count(w.t.Context(), w.of(names), w.start, time.Now().Add(time.Minute))
		return err == nil && n >= w.ledger.Total(), fmt.Sprintf("%d, error %v", n, err)
	})
}

// A container whose json-file cannot be read any more is read through the engine, by a
// stream or, when there is none left, by polling; and by its file again when it can be.
// Nothing is lost by it, and nothing comes twice. The agent is not root, and forbidden the
// files' directories for a while.
func TestAContainerWhoseFileCannotBeReadGoesOnThroughTheEngine(t *testing.T) {
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	w := newWorld(t, engine, harness.Loki(t))
	socket := strings.TrimPrefix(engine.Host(), "unix://")
	chmod(t, filepath.Dir(socket), 0o711)
	chmod(t, socket, 0o666) // its group is not root's everywhere
	dir := t.TempDir()
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(w.config("auto", "", ""), "rotation_interval: 2s", "rotation_interval: 2s, max: 1", 1) +
		fmt.Sprintf("  local_file: {path: \"%s/{source}.{stream}.log\", format: raw}\n", dir)
	w.agent = harness.StartAgentUnder(t, config, harness.Nobody...)
	w.ready()
	w.agent.Stop(t) // it may not look into directories, so a file is found at once only if it is there
	var all []*harness.Container
	for range 2 {
		all = append(all, w.container(4000, harness.RunOptions{
			Args: []string{"-rate", "120", "-stderr-every", "3", "-gate", "3500"}, LogOpts: map[string]string{"max-size": "100k", "max-file": "20"},
		}))
	}
	w.atLog(all)
	w.agent.Start(t)
	w.readBy(all, "file", "file")
	w.atLeast(600, time.Minute)
	for _, c := range all {
		chmod(t, filepath.Dir(c.LogPath(t)), 0o700)
	}
	w.readBy(all, "poll", "stream")
	for _, r := range w.agent.Readings(t) {
		if !strings.Contains(r.Reason, "cannot be read any more") {
			t.Errorf("%s is read by %s because %q", r.Name, r.Mode, r.Reason)
		}
	}
	w.atLeast(2400, time.Minute)
	for _, c := range all {
		chmod(t, filepath.Dir(c.LogPath(t)), 0o710)
	}
	w.readBy(all, "file", "file")
	for _, c := range all {
		c.Open(t)
	}
	w.ends("item 4: a json-file cannot be read for a while", time.Minute)
	w.agent.Stop(t)
	w.exactlyOnceInFiles(dir)
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// atLog waits until containers have written something.
func (w *world) atLog(containers []*harness.Container) {
	w.t.Helper()
	for _, c := range containers {
		path := c.LogPath(w.t)
		harness.Eventually(w.t, 10*time.Second, "a first line", func() (bool, string) {
			info, err := os.Stat(path)
			return err == nil && info.Size() > 0, fmt.Sprint(err)
		})
	}
}

// readBy waits until containers are read in these ways, whichever in which.
func (w *world) readBy(containers []*harness.Container, modes ...string) {
	w.t.Helper()
	harness.Eventually(w.t, 40*time.Second, fmt.Sprintf("reading by %v", modes), func() (bool, string) {
		rows := w.agent.Readings(w.t)
		var now []string
		for _, c := range containers {
			now = append(now, rows[c.Name].Mode)
		}
		slices.Sort(now)
		return slices.Equal(now, modes), fmt.Sprintf("%+v", rows)
	})
}

// Every end of a container's run is told once, with its code, also when the container is
// gone at once, starts again at once, or ended while the agent was down.
func TestExitsAreToldOnce(t *testing.T) {
	o := startTrio(t, harness.Engine(t), harness.Loki(t), func(config string) string {
		return strings.NewReplacer("exit_events: false", "exit_events: true", "{stream}.log", "{label:stream}.log").Replace(config)
	})
	want := map[string][]string{}
	run := func(runs int, exit string, more harness.RunOptions) *harness.Container {
		t.Helper()
		c := o.container(3, more)
		o.ledger.Expect(c.Name, 4, int64(3*runs))
		for range runs {
			want[c.Name] = append(want[c.Name], exit)
		}
		return c
	}
	const code = "event=exit exit_code=%d oom_killed=%v"
	run(1, fmt.Sprintf(code, 0, false), harness.RunOptions{})
	run(1, fmt.Sprintf(code, 3, false), harness.RunOptions{Args: []string{"-exit", "3"}})
	run(1, fmt.Sprintf(code, 4, false), harness.RunOptions{Args: []string{"-exit", "4", "-rate", "1.5"}, AutoRemove: true})
	run(1, fmt.Sprintf(code, 137, true), harness.RunOptions{Args: []string{"-eat", "-rate", "3"}, Memory: 16 << 20})
	run(4, fmt.Sprintf(code, 7, false), harness.RunOptions{Args: []string{"-exit", "7", "-state", "/seq"}, Restart: "on-failure", Retries: 3})
	killed := run(1, fmt.Sprintf(code, 137, false), harness.RunOptions{Args: []string{"-hold"}})
	unseen := run(1, fmt.Sprintf(code, 137, false), harness.RunOptions{Args: []string{"-hold"}})
	o.have("", o.ledger.Total(), 30*time.Second)
	killed.Kill(t)
	o.told(want, unseen.Name)
	for _, w := range o.each {
		w.agent.Stop(t)
	}
	unseen.Kill(t)
	unseen.Wait(t)
	for _, w := range o.each {
		w.agent.Start(t)
	}
	o.told(want, "")
	o.removeContainers()
	for i, w := range o.each {
		t.Run(readers[i], func(t *testing.T) {
			w.t = t
			w.settled()
			w.balanced()
			w.agent.Stop(t)
			if got, wanted := exitsIn(t, o.dirs[i]), fmt.Sprint(want); fmt.Sprint(got) != wanted {
				t.Errorf("told %v\nwant %v", got, wanted)
			}
			count := o.ledger.Count()
			paths, err := filepath.Glob(filepath.Join(o.dirs[i], "*.std*.log"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				if err := count.AddFile(path); err != nil {
					t.Fatal(err)
				}
			}
			if report := count.Report(); !report.OK() {
				t.Error(report)
			}
		})
	}
}

// told waits until each agent has told of all ends but one container's.
func (o *trio) told(want map[string][]string, but string) {
	o.t.Helper()
	total := 0
	for name, list := range want {
		if name != but {
			total += len(list)
		}
	}
	for i := range o.each {
		harness.Eventually(o.t, 40*time.Second, fmt.Sprintf("%d ends told by %s", total, readers[i]), func() (bool, string) {
			got := exitsIn(o.t, o.dirs[i])
			n := 0
			for _, list := range got {
				n += len(list)
			}
			return n >= total, fmt.Sprintf("%d: %v, want %v", n, got, want)
		})
	}
}

// exitsIn returns what the event streams in files say, by container.
func exitsIn(t *testing.T, dir string) map[string][]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.event.log"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".event.log")] = strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	return out
}

// What a container's labels say of how it is captured holds.
func TestContainersSayHowTheyAreCaptured(t *testing.T) {
	w := newWorld(t, harness.Engine(t), harness.Loki(t))
	w.startAgent(w.config("auto", "", ""))
	labels := func(more ...string) map[string]string {
		l := map[string]string{"e2e": w.run}
		for i := 0; i < len(more); i += 2 {
			l["log_capturer."+more[i]] = more[i+1]
		}
		return l
	}
	left := w.engine.Run(t, harness.RunOptions{Args: []string{"-n", "10", "-hold"}, Labels: labels("enable", "false")})
	polled := w.container(10, harness.RunOptions{Args: []string{"-hold"}, Labels: labels("read", "poll")})
	paid := w.container(10, harness.RunOptions{Args: []string{"-hold"}, Labels: labels("label.team", "payments", "metadata.owner", "ann")})
	w.arrived(30 * time.Second)
	rows := w.agent.Readings(t)
	if _, there := rows[left.Name]; there {
		t.Errorf("a container that is not to be captured is: %+v", rows)
	}
	if r := rows[polled.Name]; r.Mode != "poll" || !strings.Contains(r.Reason, "log_capturer.read") {
		t.Errorf("read by %s because %q", r.Mode, r.Reason)
	}
	if r := rows[paid.Name]; r.Mode != "file" {
		t.Errorf("read by %s because %q", r.Mode, r.Reason)
	}
	for _, s := range w.query() {
		team, is := s.Labels["team"], s.Labels["container"] == paid.Name
		if (team == "payments") != is || (s.Entries[0].Metadata["owner"] == "ann") != is {
			t.Errorf("labels %v, metadata %v", s.Labels, s.Entries[0].Metadata)
		}
	}
	w.exactlyOnce(30 * time.Second)
}
