package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

func TestMain(m *testing.M) { Main(m) }

// onDisk reads a json-file with all its generations, oldest first, as streams.
func onDisk(t *testing.T, path string) []Stream {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	slices.Reverse(files)
	out := map[string]*Stream{}
	for _, output := range []string{"stdout", "stderr"} {
		out[output] = &Stream{Labels: map[string]string{"output": output}}
	}
	partial := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for l := range bytes.Lines(b) {
			var rec struct{ Log, Stream string }
			if err := json.Unmarshal(l, &rec); err != nil {
				t.Fatalf("%s: %q: %v", f, l, err)
			}
			whole := partial[rec.Stream] + rec.Log
			partial[rec.Stream] = ""
			if text, ok := strings.CutSuffix(whole, "\n"); ok {
				s := out[rec.Stream]
				s.Entries = append(s.Entries, Entry{Line: text})
				continue
			}
			partial[rec.Stream] = whole
		}
	}
	return []Stream{*out["stdout"], *out["stderr"]}
}

func TestAContainersLinesAreOnDisk(t *testing.T) {
	e := Engine(t)
	c := e.Run(t, RunOptions{
		Args:    []string{"-n", "5000", "-format", "mixed", "-stderr-every", "7", "-long-every", "100", "-long-bytes", "40000"},
		LogOpts: map[string]string{"max-size": "1m", "max-file": "20"},
	})
	if code := c.Wait(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	l := NewLedger()
	l.Expect(c.Name, 1, 5000)
	if r := l.Check(onDisk(t, c.LogPath(t))); !r.OK() {
		t.Fatal(r)
	}
}

func TestRestartContinuesTheNumbers(t *testing.T) {
	e := Engine(t)
	c := e.Run(t, RunOptions{Args: []string{"-rate", "500", "-state", "/state"}})
	count := func() int {
		b, _ := os.ReadFile(c.LogPath(t))
		return bytes.Count(b, []byte("\n"))
	}
	Eventually(t, 20*time.Second, "100 lines", func() (bool, string) { n := count(); return n > 100, fmt.Sprint(n) })
	c.Restart(t)
	before := count()
	Eventually(t, 20*time.Second, "lines after the restart", func() (bool, string) { n := count(); return n > before+50, fmt.Sprint(n) })
	c.Stop(t)
	l := NewLedger()
	l.Expect(c.Name, 1, int64(count()))
	if r := l.Check(onDisk(t, c.LogPath(t))); !r.OK() {
		t.Fatal(r)
	}
}

func TestLastWordsExitCodeRenameAndRemove(t *testing.T) {
	e := Engine(t)
	c := e.Run(t, RunOptions{Args: []string{"-n", "2", "-panic"}, Driver: "local"})
	if code := c.Wait(t); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	c.Rename(t, c.Name+"-renamed")
	if got := c.Inspect(t).Name; got != "/"+c.Name {
		t.Errorf("name %q", got)
	}
	if c.Running(t) {
		t.Error("it runs")
	}
	c.Remove(t)
	if _, err := e.Client().ContainerInspect(t.Context(), c.ID, client.ContainerInspectOptions{}); err == nil {
		t.Error("it is still there")
	}
}

func TestShortLivedContainersRunAtOnce(t *testing.T) {
	e := Engine(t)
	e.Image(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := e.RunContainer(t.Context(), RunOptions{Args: []string{"-n", "1"}, AutoRemove: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAPrivateEngineIsRestartedKilledAndPaused(t *testing.T) {
	e := PrivateEngine(t, EngineOptions{LiveRestore: true})
	c := e.Run(t, RunOptions{Args: []string{"-rate", "100", "-state", "/state"}})
	e.Restart(t)
	e.Kill(t)
	e.Start(t)
	if !c.Running(t) {
		t.Error("live-restore did not keep the container")
	}
	e.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := e.ping(ctx); err == nil {
		t.Error("a paused engine answers")
	}
	e.Resume(t)
	if err := e.ping(t.Context()); err != nil {
		t.Error(err)
	}
	c.Stop(t)
}

func TestAKilledEngineLeavesNothingBehind(t *testing.T) {
	e, err := StartEngine(t.Context(), EngineOptions{LiveRestore: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.RunContainer(t.Context(), RunOptions{Args: []string{"-rate", "10"}})
	if err != nil {
		t.Fatal(err)
	}
	pid := c.Inspect(t).State.Pid
	e.Kill(t)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	Eventually(t, 10*time.Second, "the container's process ends", func() (bool, string) {
		return parentOf(pid) == 0, fmt.Sprint("process ", pid)
	})
	if _, err := os.Stat(e.daemon.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", e.daemon.dir, err)
	}
}

func TestLokiGivesBackWhatWasPushed(t *testing.T) {
	l := Loki(t)
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	// Pages end within runs of entries that share a timestamp, in two streams.
	const n = 12_000
	want := NewLedger()
	for _, id := range []string{"x", "y"} {
		var push []Entry
		for i := range int64(n) {
			push = append(push, Entry{
				Time:     start.UnixNano() + i/700,
				Line:     string(line.Append(nil, line.Plain, id, i, 0, start)),
				Metadata: map[string]string{"part": fmt.Sprint(i % 2)},
			})
		}
		for part := range slices.Chunk(push, 4000) {
			l.Push(t, map[string]string{"test": t.Name(), "id": id}, part...)
		}
		want.Expect(id, 0, n-1)
	}
	end := start.Add(time.Minute)
	query := fmt.Sprintf("{test=%q}", t.Name())
	streams, err := l.Query(t.Context(), query, start, end)
	if err != nil {
		t.Fatal(err)
	}
	if len(streams) != 2 || streams[0].Labels["id"] != "x" || streams[0].Entries[1].Metadata["part"] == "" {
		t.Fatalf("%d streams: %v", len(streams), streams[0].Labels)
	}
	r := want.Check(streams)
	// Entries of one timestamp have no order in Loki.
	if r.OutOfOrder = (Finding{}); !r.OK() {
		t.Fatal(r)
	}
	if got, err := l.Count(t.Context(), query, start, end); err != nil || got != 2*n {
		t.Fatalf("Count: %d, %v", got, err)
	}
}

func TestAPrivateLokiKeepsItsDataOverAStopAndAKill(t *testing.T) {
	l := PrivateLoki(t, LokiOptions{Config: "limits_config: {max_line_size: 1MB}\n"})
	start := time.Now()
	l.Push(t, map[string]string{"job": "keep"}, Entry{Time: start.UnixNano(), Line: "one"})
	l.Restart(t)
	l.Push(t, map[string]string{"job": "keep"}, Entry{Time: start.UnixNano() + 1, Line: strings.Repeat("x", 500_000)})
	l.Kill(t)
	l.Start(t)
	Eventually(t, 20*time.Second, "both entries", func() (bool, string) {
		got, err := l.Query(t.Context(), `{job="keep"}`, start, start.Add(time.Second))
		if err != nil || len(got) != 1 {
			return false, fmt.Sprint(len(got), " streams, ", err)
		}
		return len(got[0].Entries) == 2, fmt.Sprint(len(got[0].Entries), " entries")
	})
}

func TestTheAgentIsStartedStoppedAndKilled(t *testing.T) {
	a := StartAgent(t, "container_monitor: {enabled: false}\nfile_monitor: {enabled: false}\n")
	if h := a.Health(t); h.Code != 200 || h.Status == "" {
		t.Errorf("health: %+v", h)
	}
	if n := a.Metrics(t).Sum("goroutines"); n < 1 {
		t.Errorf("goroutines: %v", n)
	}
	a.Kill(t)
	a.Start(t)
	if !a.Running() {
		t.Error("it does not run")
	}
	a.Stop(t)
	if a.Running() || a.Log() == "" {
		t.Errorf("after the stop: running %v, log %q", a.Running(), a.Log())
	}
}

func TestAWrongConfigurationIsToldFromTheLog(t *testing.T) {
	a, err := NewAgent(Agent(t), t.TempDir(), "nonsense: 1\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.StartProcess(); err == nil || !strings.Contains(err.Error(), "code 2") || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v", err)
	}
}
