// Package e2e runs the agent, as a process, on a real Docker engine, real files and a
// real Loki, and counts every line by its source and number.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

func TestMain(m *testing.M) { harness.Main(m) }

// world is one test's engine, Loki, agent and oracle.
type world struct {
	t      *testing.T
	engine *harness.DockerEngine
	loki   *harness.LokiServer
	agent  *harness.AgentProcess
	ledger *harness.Ledger
	host   string // where the agent finds the engine
	run    string // value of the label that keeps this test's entries apart
	start  time.Time
	before census // of the agent, by ready
}

// newWorld prepares everything but the agent.
func newWorld(t *testing.T, engine *harness.DockerEngine, loki *harness.LokiServer) *world {
	return &world{
		t: t, engine: engine, loki: loki, ledger: harness.NewLedger(), host: engine.Host(),
		run: fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano()), start: time.Now().Add(-time.Minute),
	}
}

// config returns a configuration that captures only what this test makes. Streams are
// replaced, and polls made, far more often than by default.
func (w *world) config(read, extra, glob string) string {
	include := "[]"
	if glob != "" {
		include = fmt.Sprintf("[%q]", glob)
	}
	key, value := w.engine.Label()
	return fmt.Sprintf(`
container_monitor:
  docker_host: %q
  read: %s
  include: {labels: {%s: %q, e2e: %q}}
  labels: [e2e]
  streams: {rotation_interval: 2s}
  poll_interval: 500ms
  exit_events: false
%s
file_monitor:
  enabled: %v
  include: %s
sinks:
  loki:
    url: %s
    labels: {run: %q}
`, w.host, read, key, value, w.run, extra, glob != "", include, w.loki.URL, w.run)
}

func (w *world) startAgent(config string) {
	w.t.Helper()
	w.agent = harness.StartAgent(w.t, config)
}

// container runs loggen and expects its lines 1 to n.
func (w *world) container(n int64, o harness.RunOptions) *harness.Container {
	w.t.Helper()
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels["e2e"] = w.run
	o.Args = append([]string{"-n", fmt.Sprint(n)}, o.Args...)
	c := w.engine.Run(w.t, o)
	w.ledger.Expect(c.Name, 1, n)
	return c
}

// burst is docker run --rm of short-lived containers, eight at a time.
func (w *world) burst(containers int, lines int64) {
	w.t.Helper()
	var all errgroup.Group
	all.SetLimit(8)
	for i := range containers {
		name := fmt.Sprintf("%s-rm%d", harnessName(w), i)
		w.ledger.Expect(name, 1, lines)
		all.Go(func() error {
			_, err := w.engine.RunContainer(context.WithoutCancel(w.t.Context()), harness.RunOptions{
				Name: name, Args: []string{"-n", fmt.Sprint(lines)}, Labels: map[string]string{"e2e": w.run}, AutoRemove: true,
			})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// selector is the LogQL selector of this test's entries.
func (w *world) selector() string { return fmt.Sprintf("{run=%q}", w.run) }

// arrived waits until Loki has as many lines as are expected.
func (w *world) arrived(deadline time.Duration) {
	w.t.Helper()
	want := w.ledger.Total()
	harness.Eventually(w.t, deadline, fmt.Sprintf("%d lines in Loki", want), func() (bool, string) {
		ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
		defer cancel()
		n, err := w.loki.Count(ctx, w.selector(), w.start, time.Now().Add(time.Minute))
		return err == nil && n >= want, fmt.Sprintf("%d lines, error %v", n, err)
	})
}

// query returns all of this test's entries.
func (w *world) query() []harness.Stream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	streams, err := w.loki.Query(ctx, w.selector(), w.start, time.Now().Add(time.Minute))
	if err != nil {
		w.t.Fatal(err)
	}
	return streams
}

// exactlyOnce waits for all lines, then reads them back and counts each.
func (w *world) exactlyOnce(deadline time.Duration) *harness.Report {
	w.t.Helper()
	w.arrived(deadline)
	w.balanced() // nothing more is on its way
	report := w.ledger.Check(w.query())
	w.t.Logf("%d lines expected\n%s", w.ledger.Total(), report)
	if !report.OK() {
		w.t.Error("not every line is in Loki exactly once")
	}
	return report
}

// exactlyOnceInFiles counts each line in the files of a raw local_file sink.
func (w *world) exactlyOnceInFiles(dir string) {
	w.t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	count := w.ledger.Count()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		for text := range bytes.Lines(data) {
			count.Add(path, bytes.TrimSuffix(text, []byte("\n")))
		}
	}
	if report := count.Report(); !report.OK() {
		w.t.Errorf("not every line is in the files exactly once:\n%s", report)
	}
}

// kept expects the lines that the engine has of a container.
func (w *world) kept(c *harness.Container) (lines int) {
	w.t.Helper()
	data, err := os.ReadFile(c.LogPath(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	for record := range bytes.SplitSeq(bytes.TrimSpace(data), []byte("\n")) {
		var r struct{ Log string }
		if err := json.Unmarshal(record, &r); err != nil {
			continue // a half one
		}
		if id, seq, err := line.Parse([]byte(strings.TrimSuffix(r.Log, "\n"))); err == nil && id == c.Name {
			w.ledger.Expect(id, seq, seq)
			lines++
		}
	}
	return lines
}

// balanced waits until the agent's books are quiet and checks the law of conservation,
// for each sink.
func (w *world) balanced() {
	w.t.Helper()
	harness.Eventually(w.t, 10*time.Second, "balanced books", func() (bool, string) {
		m, err := w.agent.Scrape()
		if err != nil {
			return false, err.Error()
		}
		for _, sink := range []string{"loki", "local_file", "files"} {
			of := fmt.Sprintf("sink=%q", sink)
			read := m.Sum("log_capturer_lines_read_total")
			there := -m.Sum("log_capturer_lines_restored_total", of)
			for _, name := range []string{"acked_total", "in_flight", "spooled", "deadlettered_total", "dropped_total", "absent_total"} {
				there += m.Sum("log_capturer_lines_"+name, of)
			}
			if waiting := m.Sum("log_capturer_lines_in_flight", of); there != 0 && (there != read || waiting > 0) {
				return false, fmt.Sprintf("sink %s: read %.0f, accounted for %.0f, %.0f of them waiting", sink, read, there, waiting)
			}
		}
		return true, ""
	})
}

// during returns how long a test is to last: what the environment says, or usual.
func during(t *testing.T, variable string, usual time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	lasts, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return lasts
}

// logFile is a log file that is rotated by renaming.
type logFile struct {
	path string
	keep int
	f    *os.File
	seq  int64
}

func newLogFile(path string, keep int) *logFile { return &logFile{path: path, keep: keep} }

// write appends n lines, and rotates before each rotateEvery-th.
func (l *logFile) write(n, rotateEvery int64) error {
	var buf []byte
	for range n {
		if l.f == nil || rotateEvery > 0 && l.seq > 0 && l.seq%rotateEvery == 0 {
			if err := l.rotate(); err != nil {
				return err
			}
		}
		l.seq++
		buf = append(line.Append(buf[:0], line.Plain, l.id(), l.seq, 0, time.Now()), '\n')
		if _, err := l.f.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

func (l *logFile) id() string { return strings.TrimSuffix(filepath.Base(l.path), ".log") }

func (l *logFile) rotate() error {
	if l.f != nil {
		if err := l.f.Close(); err != nil {
			return err
		}
		for n := l.keep - 1; n > 0; n-- {
			_ = os.Rename(fmt.Sprintf("%s.%d", l.path, n), fmt.Sprintf("%s.%d", l.path, n+1)) // may not be there
		}
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	l.f = f
	return err
}

func (l *logFile) close() {
	if l.f != nil {
		_ = l.f.Close()
	}
}
