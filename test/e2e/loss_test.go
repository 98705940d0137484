package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// reading is an agent that reads in one of the ways, and writes what it gets to raw files
// of its own: there, other than in Loki, a repeated line shows.
type reading struct {
	*world
	read, dir string
}

// together has an agent for each reader, or for those named, capture the same containers:
// the ones that act makes. Then every line must be in the files of each once, and each must
// hold what it did before.
func together(t *testing.T, scenario string, engine *harness.DockerEngine, act func(w *world, agents []*reading), only ...string) {
	t.Helper()
	w := newWorld(t, engine, &harness.LokiServer{}) // no agent delivers to it
	var agents []*reading
	if len(only) == 0 {
		only = readers
	}
	for _, read := range only {
		own := *w
		r := &reading{&own, read, t.TempDir()}
		r.startAgent(r.toFiles(""))
		r.ready()
		agents = append(agents, r)
	}
	act(w, agents)
	reports := map[string]*harness.Report{}
	for _, r := range agents {
		t.Run(r.read, func(t *testing.T) {
			r.t = t
			r.inFiles(30 * time.Second)
			reports[r.read] = r.countFiles()
			if !reports[r.read].OK() {
				t.Error("not every line is in the files exactly once")
			}
		})
	}
	w.removeContainers()
	for _, r := range agents {
		t.Run(r.read+" lets go", func(t *testing.T) {
			r.t = t
			after := r.letsGo()
			if report := reports[r.read]; report != nil {
				addResult(t, scenario, report, r.before, after)
			}
		})
	}
}

// toFiles is a configuration without Loki.
func (r *reading) toFiles(settings string) string {
	key, value := r.engine.Label()
	return fmt.Sprintf(`
container_monitor:
  docker_host: %q
  read: %s
  include: {labels: {%s: %q, e2e: %q}}
  streams: {rotation_interval: 1s}
  poll_interval: 500ms
  exit_events: false
%s
file_monitor: {enabled: false}
sinks:
  local_file: {path: "%s/{source}.{stream}.log", format: raw}
`, r.engine.Host(), r.read, key, value, r.run, settings, r.dir)
}

// files returns the text of each file that the agent wrote.
func (r *reading) files() map[string][]byte {
	r.t.Helper()
	paths, err := filepath.Glob(filepath.Join(r.dir, "*.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		out[filepath.Base(path)] = text
	}
	return out
}

// inFiles waits until the files have as many lines as are expected, and no more are on
// their way.
func (r *reading) inFiles(deadline time.Duration) {
	r.t.Helper()
	want := int(r.ledger.Total())
	harness.Eventually(r.t, deadline, fmt.Sprintf("%d lines in the files of %s", want, r.read), func() (bool, string) {
		n := 0
		for _, text := range r.files() {
			n += bytes.Count(text, []byte("\n"))
		}
		return n >= want, fmt.Sprintf("%d lines", n)
	})
	r.balanced()
}

// countFiles counts each line of the containers in the files.
func (r *reading) countFiles() *harness.Report {
	r.t.Helper()
	count := r.ledger.Count()
	for name, text := range r.files() {
		if !strings.HasSuffix(name, ".stdout.log") && !strings.HasSuffix(name, ".stderr.log") {
			continue // what the agent itself has to tell
		}
		for l := range bytes.Lines(text) {
			count.Add(name, bytes.TrimSuffix(l, []byte("\n")))
		}
	}
	report := count.Report()
	r.t.Logf("%s: %s", r.read, report)
	return report
}

// letsGo waits until the agent holds what it held before there were containers.
func (r *reading) letsGo() (after census) {
	r.t.Helper()
	harness.Eventually(r.t, 15*time.Second, "what was held before", func() (bool, string) {
		var err error
		after, err = r.census()
		same := after.owned == r.before.owned && after.descriptors == r.before.descriptors
		return err == nil && same, fmt.Sprintf("%+v, before %+v, error %v", after, r.before, err)
	})
	return after
}

// metric waits until a counter of the agent is at least least; from any goroutine.
func (r *reading) metric(name string, least float64, labels ...string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(40 * time.Second); ; <-tick.C {
		m, err := r.agent.Scrape()
		if err != nil {
			return err
		}
		n := m.Sum(name, labels...)
		if n >= least {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %s is %.0f, want %.0f", r.read, name, n, least)
		}
	}
}

// fleet runs n containers, four at a time, each with these arguments and the id
// NAME-generation, and expects so many lines of each.
func (w *world) fleet(n, generation int, lines int64, o harness.RunOptions) []*harness.Container {
	w.t.Helper()
	boxes := make([]*harness.Container, n)
	var all errgroup.Group
	all.SetLimit(4)
	for i := range boxes {
		o := o
		o.Name = fmt.Sprintf("%s-%d", harnessName(w), i)
		id := fmt.Sprintf("%s-%d", o.Name, generation)
		o.Args = append([]string{"-id", id}, o.Args...)
		o.Labels = map[string]string{"e2e": w.run}
		w.ledger.Expect(id, 1, lines)
		all.Go(func() (err error) {
			boxes[i], err = w.engine.RunContainer(context.WithoutCancel(w.t.Context()), o)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		w.t.Fatal(err)
	}
	return boxes
}

// Scenario 1: silent containers, whose lines share a second, are read again and again:
// their streams are replaced, they are polled, the agent is restarted; 100 times in all.
func TestSilentContainersAreReopenedAHundredTimes(t *testing.T) {
	const boxes = 10
	together(t, "1: silent, reopened 100 times", harness.Engine(t), func(w *world, agents []*reading) {
		w.fleet(boxes, 0, 60, harness.RunOptions{Args: []string{"-n", "60", "-hold", "-stderr-every", "3"}})
		var all errgroup.Group
		for _, r := range agents {
			r.inFiles(20 * time.Second)
			all.Go(func() error {
				restarts := 3
				if r.read == "file" {
					restarts = 100 / boxes // a json-file is opened once in an agent's life
				}
				for range restarts {
					if err := r.agent.StopProcess(); err != nil {
						return err
					}
					if err := r.agent.StartProcess(); err != nil {
						return err
					}
					var err error
					switch r.read {
					case "file":
						err = r.metric("log_capturer_descriptors", boxes, `kind="json_file"`)
					case "stream":
						err = r.metric("log_capturer_descriptors", boxes, `kind="engine_stream"`)
					default:
						err = r.metric("log_capturer_container_polls_total", boxes)
					}
					if err != nil {
						return err
					}
				}
				switch r.read {
				case "stream":
					return r.metric("log_capturer_container_stream_rotations_total", 100)
				case "poll":
					return r.metric("log_capturer_container_polls_total", 100)
				}
				return nil
			})
		}
		if err := all.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// Scenario 2: nothing of a long history is sent again after docker stop and start, nor
// read again to any length.
func TestALongHistoryIsNotReadAgain(t *testing.T) {
	const history = 100_000
	together(t, "2: stop and start after 100,000 lines", harness.Engine(t), func(w *world, agents []*reading) {
		const stops = 3
		c := w.container(10*(stops+1), harness.RunOptions{Args: []string{"-n", "100", "-burst", "10", "-every", "1h", "-state", "/seq"}})
		path := c.LogPath(t)
		harness.Eventually(t, 10*time.Second, "the first lines", func() (bool, string) {
			text, err := os.ReadFile(path)
			return bytes.Count(text, []byte("\n")) == 10, fmt.Sprint(err)
		})
		// As the engine would have written them.
		w.ledger.Expect("history", 1, history)
		appendToLog(t, path, records("history", 1, history))
		before := map[string]harness.Metrics{}
		for _, r := range agents {
			harness.Eventually(t, 30*time.Second, "the history", func() (bool, string) {
				n := bytes.Count(r.files()[c.Name+".stdout.log"], []byte("\n"))
				return n == history+10, fmt.Sprintf("%s: %d lines", r.read, n)
			})
			before[r.read] = r.agent.Metrics(t)
		}
		for n := range stops {
			c.Stop(t)
			c.Start(t)
			for _, r := range agents {
				harness.Eventually(t, 10*time.Second, "the lines of the next run", func() (bool, string) {
					text := r.files()[c.Name+".stdout.log"]
					return bytes.Count(text, []byte("\n")) >= history+10*(n+2), fmt.Sprintf("%s: %d", r.read, n)
				})
			}
		}
		for _, r := range agents {
			after := r.agent.Metrics(t)
			more := func(name string) float64 { return after.Sum(name) - before[r.read].Sum(name) }
			if n := more("log_capturer_container_log_searches_total"); n != 0 {
				t.Errorf("%s: the engine had to search its whole log %.0f times", r.read, n)
			}
			// The first poll after the history may be made for as much again, up to 32 Ki lines.
			opens, again := more("log_capturer_container_stream_opens_total"), more("log_capturer_container_stream_repeats_total")
			t.Logf("%s: %.0f requests brought %.0f lines again", r.read, opens, again)
			if again > 1024*opens+32<<10 {
				t.Errorf("%s: %.0f requests brought %.0f lines again; a few hundred each are enough", r.read, opens, again)
			}
		}
	})
}

// records are lines from..to of an id as the engine writes them to a json-file, a
// microsecond apart.
func records(id string, from, to int64) []byte {
	var out []byte
	now := time.Now()
	for seq := from; seq <= to; seq++ {
		at := now.Add(time.Duration(seq-from)*time.Microsecond + 7)
		out = append(out, `{"log":"`...)
		out = line.Append(out, line.Plain, id, seq, 0, at)
		out = append(out, `\n","stream":"stdout","time":"`...)
		out = at.UTC().AppendFormat(out, time.RFC3339Nano)
		out = append(out, "\"}\n"...)
	}
	return out
}

// appendToLog writes to a json-file that the engine has open, too: both append.
func appendToLog(t *testing.T, path string, text []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// Scenario 7: a container crashes with a stack trace and is removed at once.
func TestTheLastWordsBeforeARemovalArrive(t *testing.T) {
	t.Run("rm -f", func(t *testing.T) {
		together(t, "7: a crash, then rm -f", harness.Engine(t), func(w *world, _ []*reading) { w.fleetOfCrashes(10, false) })
	})
	t.Run("run --rm", func(t *testing.T) {
		together(t, "7: a crash of run --rm", harness.Engine(t), func(w *world, _ []*reading) { w.fleetOfCrashes(10, true) }, "file", "stream")
	})
}

// Who is polled may take with it what it wrote since the last poll: the engine removes a
// container of run --rm while the agent is told of its end.
func TestAPolledContainerThatRemovesItselfIsReadToTheLastPoll(t *testing.T) {
	const boxes, interval = 10, 100 // lines in a poll_interval
	w := newWorld(t, harness.Engine(t), &harness.LokiServer{})
	r := &reading{w, "poll", t.TempDir()}
	r.startAgent(r.toFiles(""))
	r.ready()
	w.fleetOfCrashes(boxes, true)
	after := r.letsGo()
	w.balanced()
	report := r.countFiles()
	if most := int64(boxes * 2 * interval); report.Lost.N > most || report.Repeated.N+report.Damaged.N+report.OutOfOrder.N > 0 {
		t.Errorf("want at most %d lines lost, and nothing else amiss: %s", most, report)
	}
	addResult(t, "7: a crash of run --rm, polled", report, w.before, after)
}

// fleetOfCrashes runs containers that crash, and waits until they are gone.
func (w *world) fleetOfCrashes(n int, autoRemove bool) {
	w.t.Helper()
	boxes := w.fleet(n, 0, 200+line.PanicLines, harness.RunOptions{
		AutoRemove: autoRemove, Args: []string{"-n", "200", "-rate", "200", "-panic"},
	})
	var all errgroup.Group
	for _, c := range boxes {
		all.Go(func() error {
			ctx := context.WithoutCancel(w.t.Context())
			if _, err := c.WaitContext(ctx); autoRemove {
				return nil //nolint:nilerr // it is gone before it can be waited for, or after
			} else if err != nil {
				return err
			}
			_, err := w.engine.Client().ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// Scenario 8: 50 containers are removed and made anew under their names. All are found
// within 5 s, and the dead are let go.
func TestContainersThatAreRecreatedAreFound(t *testing.T) {
	together(t, "8: 50 containers recreated", harness.Engine(t), func(w *world, agents []*reading) {
		old := w.fleet(50, 1, 5, harness.RunOptions{Args: []string{"-n", "5", "-hold"}})
		for _, r := range agents {
			r.inFiles(10 * time.Second)
		}
		began := time.Now()
		w.recreate(old, 2)
		t.Logf("recreated in %v", time.Since(began).Round(time.Millisecond))
		w.foundWithin(agents, 5*time.Second)
	})
}

// Scenario 8, while events are missed: the engine is killed, containers live on, and those
// made as soon as it is back may begin before the agent listens again.
func TestContainersThatAreRecreatedWhileEventsAreMissed(t *testing.T) {
	engine := harness.PrivateEngine(t, harness.EngineOptions{LiveRestore: true})
	together(t, "8: containers recreated, dockerd killed", engine, func(w *world, agents []*reading) {
		old := w.fleet(12, 1, 5, harness.RunOptions{Args: []string{"-n", "5", "-hold"}})
		for _, r := range agents {
			r.inFiles(10 * time.Second)
		}
		w.recreate(old[:6], 2)
		engine.Kill(t)
		engine.Start(t)
		w.recreate(old[6:], 2)
		w.foundWithin(agents, 5*time.Second)
	})
}

// recreate removes containers and makes new ones of their names, four at a time.
func (w *world) recreate(old []*harness.Container, generation int) {
	w.t.Helper()
	var all errgroup.Group
	all.SetLimit(4)
	for _, c := range old {
		id := fmt.Sprintf("%s-%d", c.Name, generation)
		w.ledger.Expect(id, 1, 5)
		all.Go(func() error {
			ctx := context.WithoutCancel(w.t.Context())
			if _, err := w.engine.Client().ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
				return err
			}
			_, err := w.engine.RunContainer(ctx, harness.RunOptions{
				Name: c.Name, Args: []string{"-id", id, "-n", "5", "-hold"}, Labels: map[string]string{"e2e": w.run},
			})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// foundWithin waits for the lines of all containers, and for each agent to capture as many
// containers as there are.
func (w *world) foundWithin(agents []*reading, most time.Duration) {
	w.t.Helper()
	began := time.Now()
	for _, r := range agents {
		r.inFiles(30 * time.Second)
	}
	if late := time.Since(began); late > most {
		w.t.Errorf("it took %v to find all containers, want at most %v", late, most)
	}
	list, err := w.engine.Client().ContainerList(w.t.Context(), client.ContainerListOptions{Filters: make(client.Filters).Add("label", "e2e="+w.run)})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range agents {
		harness.Eventually(w.t, 10*time.Second, "the dead to be let go of", func() (bool, string) {
			n := r.agent.Metrics(w.t).Sum("log_capturer_containers_monitored")
			return int(n) == len(list.Items), fmt.Sprintf("%s: %.0f of %d containers", r.read, n, len(list.Items))
		})
	}
}

// Lines over 16 KB, which the engine keeps in pieces, straddle turns of their stream, also
// where both outputs or a terminal mix.
func TestLongLinesStraddleTurns(t *testing.T) {
	const lines = 1500
	together(t, "turns in the middle of 40 KB lines", harness.Engine(t), func(w *world, agents []*reading) {
		for _, tty := range []bool{false, true} {
			w.container(lines, harness.RunOptions{TTY: tty, Args: []string{
				"-rate", "120", "-long-every", "4", "-long-bytes", "40000", "-stderr-every", "3",
			}})
		}
		stream := agents[1]
		if err := stream.metric("log_capturer_container_stream_rotations_total", 16); err != nil {
			t.Error(err)
		}
	})
}
