//go:build scenarios

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
)

// trio is three agents, one for each way to read, that capture the same containers side
// by side: a fault hits them all, and takes its time once. Each delivers to Loki and to
// files, since Loki hides what is sent twice.
type trio struct {
	*world // its containers and its ledger are those of all
	each   []*world
	dirs   []string // of their files
}

// startTrio starts the agents. change, if any, changes their configurations.
func startTrio(t *testing.T, engine *harness.DockerEngine, loki *harness.LokiServer, change func(string) string) *trio {
	t.Helper()
	o := &trio{world: newWorld(t, engine, loki)}
	for _, read := range readers {
		w := *o.world
		w.run += "-" + read
		dir := t.TempDir()
		config := o.config(read, "", "") + fmt.Sprintf("  local_file: {path: \"%s/{source}.{stream}.log\", format: raw}\n", dir)
		config = strings.Replace(config, fmt.Sprintf("labels: {run: %q}", o.run), fmt.Sprintf("labels: {run: %q}", w.run), 1)
		if change != nil {
			config = change(config)
		}
		w.startAgent(config)
		w.ready()
		o.each, o.dirs = append(o.each, &w), append(o.dirs, dir)
	}
	return o
}

// ends is world.ends for each of them, and then counts the lines of the files.
func (o *trio) ends(scenario string, deadline time.Duration) {
	o.t.Helper()
	for _, w := range o.each {
		w.arrived(deadline)
	}
	o.removeContainers()
	for i, w := range o.each {
		o.t.Run(readers[i], func(t *testing.T) {
			w.t = t
			w.ends(scenario, deadline)
			w.agent.Stop(t)
			w.exactlyOnceInFiles(o.dirs[i])
		})
	}
}

// have waits until each agent has brought n lines of one container, or of all if name is "".
func (o *trio) have(name string, n int64, deadline time.Duration) {
	o.t.Helper()
	for i, w := range o.each {
		harness.Eventually(o.t, deadline, fmt.Sprintf("%d lines of %s by %s", n, name, readers[i]), func() (bool, string) {
			got, err := w.loki.Count(o.t.Context(), w.of(name), w.start, time.Now().Add(time.Minute))
			return err == nil && got >= n, fmt.Sprintf("%d lines, error %v", got, err)
		})
	}
}

// of is the selector of a container's entries.
func (w *world) of(name string) string {
	if name == "" {
		return w.selector()
	}
	return fmt.Sprintf("{run=%q, container=~%q}", w.run, name)
}

// R12, scenario 21: what is opened for a container is closed, in the agent and in dockerd.
// Containers come and go, and others talk on while their streams are replaced each second.
func TestOpenedStreamsAreClosed(t *testing.T) {
	const rounds, containers, lines = 10, 30, 3
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	w := newWorld(t, engine, harness.Loki(t))
	w.startAgent("log: {level: debug}\n" + strings.Replace(w.config("stream", "", ""), "rotation_interval: 2s", "rotation_interval: 1s", 1))
	first := w.container(10, harness.RunOptions{})
	first.Wait(t)
	w.arrived(20 * time.Second) // what is opened once, for good, is open now
	first.Remove(t)
	w.settled()
	before, dockerdBefore := w.atRest()
	w.before = before

	for range 5 {
		w.container(400, harness.RunOptions{Args: []string{"-rate", "20"}})
	}
	for round := range rounds {
		w.comeAndGo(fmt.Sprintf("%s-r%d-", harnessName(w), round), containers, lines)
	}
	w.ends("R12, 21: streams open and close", time.Minute)
	m := w.agent.Metrics(t)
	opens, turns := m.Sum("container_stream_opens_total"), m.Sum("container_stream_rotations_total")
	if opens < rounds*containers || turns < 20 {
		t.Errorf("%.0f opens and %.0f turns are too few to tell", opens, turns)
	}
	harness.Eventually(t, time.Minute, "the goroutines and descriptors of before", func() (bool, string) {
		now, err := w.census()
		return err == nil && now.within(before), fmt.Sprintf("%+v, before %+v, error %v", now, before, err)
	})
	after, dockerd := w.atRest()
	if !after.within(before) || dockerd > dockerdBefore {
		t.Errorf("the agent holds %+v, before %+v; dockerd %d descriptors, before %d", after, before, dockerd, dockerdBefore)
	}
	t.Logf("%.0f opens, %.0f turns; agent %+v, before %+v; descriptors of dockerd %d, before %d", opens, turns, after, before, dockerd, dockerdBefore)
}

// within tells whether nothing is held that was not before: idle connections, with their
// goroutines, may have been closed meanwhile.
func (c census) within(before census) bool {
	return c.owned == before.owned && c.descriptors == before.descriptors && c.goroutines <= before.goroutines && c.fds <= before.fds
}

// comeAndGo runs containers, a few at a time, waits for their lines, and removes them.
func (w *world) comeAndGo(prefix string, containers int, lines int64) {
	w.t.Helper()
	all := make([]*harness.Container, containers)
	var group errgroup.Group
	group.SetLimit(8)
	ctx := context.WithoutCancel(w.t.Context())
	for i := range all {
		name := fmt.Sprint(prefix, i)
		w.ledger.Expect(name, 1, lines)
		group.Go(func() (err error) {
			all[i], err = w.engine.RunContainer(ctx, harness.RunOptions{
				Name: name, Args: []string{"-n", fmt.Sprint(lines)}, Labels: map[string]string{"e2e": w.run},
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		w.t.Fatal(err)
	}
	harness.Eventually(w.t, 30*time.Second, "the lines of "+prefix, func() (bool, string) {
		n, err := w.loki.Count(w.t.Context(), w.of(prefix+".*"), w.start, time.Now().Add(time.Minute))
		return err == nil && n >= int64(containers)*lines, fmt.Sprintf("%d, error %v; %s", n, err, w.silent(prefix))
	})
	for _, c := range all {
		group.Go(func() error {
			_, err := w.engine.Client().ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// silent tells of the containers without a line.
func (w *world) silent(prefix string) (rows string) {
	for name, r := range w.agent.Readings(w.t) {
		if strings.HasPrefix(name, prefix) && r.Lines == 0 {
			rows += fmt.Sprintf("%+v ", r)
		}
	}
	return rows
}

// settled waits until the agent reads no container.
func (w *world) settled() {
	w.t.Helper()
	harness.Eventually(w.t, 30*time.Second, "no container", func() (bool, string) {
		m := w.agent.Metrics(w.t)
		n, open := m.Sum("log_capturer_containers_monitored"), m.Open()
		return n == 0 && open <= 1, fmt.Sprintf("%.0f containers, %d descriptors", n, open)
	})
}

// dockerd returns how many descriptors a private dockerd has, without pipes: some, of its
// own children, it leaves to its garbage collector.
func (w *world) dockerd() int {
	w.t.Helper()
	fds, err := harness.FDs(w.engine.PID(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(slices.DeleteFunc(fds, func(kind string) bool { return strings.HasPrefix(kind, "pipe:") }))
}

// atRest returns the least that the agent and dockerd hold in the time of a reconcile:
// what they hold between two calls.
func (w *world) atRest() (agent census, dockerd int) {
	w.t.Helper()
	dockerd = w.dockerd()
	since := time.Now()
	harness.Eventually(w.t, time.Minute, "the time to pass", func() (bool, string) {
		now, err := w.census()
		if err != nil {
			return false, err.Error()
		}
		if agent == (census{}) || now.goroutines+now.fds < agent.goroutines+agent.fds {
			agent = now
		}
		dockerd = min(dockerd, w.dockerd())
		return time.Since(since) > 6*time.Second, ""
	})
	return agent, dockerd
}

// R13: dockerd ends under a container that writes, in good order or not, with live-restore
// and without. What it kept is delivered, once, and capture is back in 5 s.
func TestTheEngineEndsUnderAWriter(t *testing.T) {
	const lines, rate = 4000, 400
	for _, live := range []bool{true, false} {
		t.Run(fmt.Sprintf("live-restore=%v", live), func(t *testing.T) {
			engine := harness.PrivateEngine(t, harness.EngineOptions{LiveRestore: live})
			for _, signal := range []string{"SIGTERM", "SIGKILL"} {
				t.Run(signal, func(t *testing.T) {
					o := startTrio(t, engine, harness.Loki(t), nil)
					writer := engine.Run(t, harness.RunOptions{
						Args: []string{"-n", fmt.Sprint(lines), "-rate", fmt.Sprint(rate), "-stderr-every", "3", "-gate", fmt.Sprint(lines * 9 / 10)}, Labels: map[string]string{"e2e": o.run},
					})
					o.have(writer.Name, 2*rate, 30*time.Second)
					if signal == "SIGTERM" {
						engine.Stop(t)
					} else {
						engine.Kill(t)
					}
					engine.Start(t)
					back := time.Now()
					if live {
						writer.Open(t)
					}
					second := o.container(50, harness.RunOptions{})
					o.have(second.Name, 50, time.Until(back.Add(5*time.Second)))
					t.Logf("capture was back %v after the engine answered", time.Since(back).Round(10*time.Millisecond))
					writer.Wait(t)
					kept := o.kept(writer)
					t.Logf("the engine kept %d of %d lines", kept, lines)
					if live && kept < lines*9/10 {
						t.Errorf("the engine kept only %d of %d lines: this shows nothing", kept, lines)
					}
					o.ends(fmt.Sprintf("R13: %s of dockerd, live-restore %v", signal, live), time.Minute)
				})
			}
		})
	}
}

// R14, and the bounds of cancellation: dockerd is frozen, its sockets stay open and silent.
// Health says so in 15 s, nothing grows meanwhile, and nothing is lost.
func TestAFrozenEngine(t *testing.T) {
	const containers, rate, frozenFor = 20, 20, time.Minute
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	o := startTrio(t, engine, harness.Loki(t), nil)
	for range containers {
		o.container(rate*80, harness.RunOptions{Args: []string{"-rate", fmt.Sprint(rate)}})
	}
	o.have("", containers*rate*3, 30*time.Second)
	before := o.censuses()
	engine.Pause(t)
	since := time.Now()
	for i, w := range o.each {
		w.dockerHealth("degraded")
		took := time.Since(since)
		_, reason, _ := w.agent.Health(t).Component("container_monitor")
		t.Logf("%s: noticed after %v: %s", readers[i], took.Round(100*time.Millisecond), reason)
		if took > 15*time.Second {
			t.Errorf("%s: a frozen engine was noticed after %v, want 15s", readers[i], took)
		}
	}
	var most [2][]census // in the first half, and in the second
	most[0], most[1] = slices.Clone(before), slices.Clone(before)
	harness.Eventually(t, 2*frozenFor, "the time to pass", func() (bool, string) {
		half := 0
		if time.Since(since) > frozenFor/2 {
			half = 1
		}
		for i, c := range o.censuses() {
			m := &most[half][i]
			m.owned, m.goroutines, m.fds = max(m.owned, c.owned), max(m.goroutines, c.goroutines), max(m.fds, c.fds)
		}
		return time.Since(since) >= frozenFor, ""
	})
	engine.Resume(t)
	for i, w := range o.each {
		first, second := most[0][i], most[1][i]
		t.Logf("%s: at most %+v, then %+v; before %+v", readers[i], first, second, before[i])
		if first.owned > before[i].owned || second.owned > before[i].owned ||
			max(first.goroutines, second.goroutines) > before[i].goroutines+waiting {
			t.Errorf("%s: goroutines grew while the engine was frozen: at most %+v, then %+v; before %+v", readers[i], first, second, before[i])
		}
		w.dockerHealth("healthy")
	}
	o.ends("R14: dockerd is frozen for a minute", time.Minute)
}

// waiting are the goroutines of the connections on which a frozen engine can keep the
// agent waiting: one each for its 8 pollers, 2 streams that are being replaced, and
// discovery. It is how many there are at most, however long it lasts.
const waiting = 3 * (8 + 2 + 1)

func (o *trio) censuses() []census {
	o.t.Helper()
	out := make([]census, len(o.each))
	for i, w := range o.each {
		var err error
		if out[i], err = w.census(); err != nil {
			o.t.Fatal(err)
		}
	}
	return out
}

// While dockerd is frozen the agent stops as fast as ever.
func TestStoppingWhileTheEngineIsFrozen(t *testing.T) {
	const containers, rate, hung = 20, 20, 5 * time.Second
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	o := startTrio(t, engine, harness.Loki(t), nil)
	for range containers {
		o.container(rate*15, harness.RunOptions{Args: []string{"-rate", fmt.Sprint(rate)}})
	}
	o.have("", containers*rate*2, 30*time.Second)
	engine.Pause(t)
	since := time.Now()
	harness.Eventually(t, 2*hung, "calls that hang", func() (bool, string) { return time.Since(since) > hung, "" })
	for i, w := range o.each {
		began := time.Now()
		w.agent.Stop(t)
		took := time.Since(began)
		t.Logf("%s: stopped in %v", readers[i], took.Round(time.Millisecond))
		if took > 3*time.Second { // 2 for the readers, 1 for the sinks
			t.Errorf("%s: stopping took %v", readers[i], took)
		}
	}
	engine.Resume(t)
	for _, w := range o.each {
		w.agent.Start(t)
	}
	o.ends("6: stopped while dockerd is frozen", time.Minute)
}

// R16: containers that live for milliseconds and are removed at once.
func TestManyContainersLiveForMilliseconds(t *testing.T) {
	for _, read := range []string{"file", "auto"} {
		t.Run(read, func(t *testing.T) {
			w := newWorld(t, harness.Engine(t), harness.Loki(t))
			w.startAgent(w.config(read, "", ""))
			w.ready()
			w.burst(500, 3)
			w.ends("R16, 6, 7: 500 × docker run --rm", time.Minute)
		})
	}
}

// R17: one container, killed and started again over and over, with the same id.
func TestAContainerIsRestartedManyTimes(t *testing.T) {
	const restarts, lines = 100, 5
	o := startTrio(t, harness.Engine(t), harness.Loki(t), nil)
	c := o.container(lines*(restarts+1), harness.RunOptions{Args: []string{"-burst", fmt.Sprint(lines), "-every", "1h", "-hold", "-state", "/seq"}})
	path := c.LogPath(t)
	now := 0
	for n := range restarts + 1 {
		harness.Eventually(t, 20*time.Second, "the lines of a run", func() (bool, string) {
			data, err := os.ReadFile(path)
			have := bytes.Count(data, []byte("\n"))
			return have == lines*(n+1), fmt.Sprintf("%d of %d, error %v", have, lines*(n+1), err)
		})
		if n == restarts {
			break
		}
		if _, err := o.engine.Client().ContainerRestart(t.Context(), c.ID, client.ContainerRestartOptions{Timeout: &now}); err != nil {
			t.Fatal(err)
		}
	}
	o.ends(fmt.Sprintf("R17: %d × docker restart", restarts), time.Minute)
}
