package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/test/harness"
)

// valve is a way to Loki that can be shut: what is sent then gets no answer.
type valve struct {
	url   string
	mu    sync.Mutex
	shut  chan struct{} // closed when it opens again; nil while it is open
	stuck atomic.Int64  // requests that found it shut
}

func newValve(t *testing.T, loki *harness.LokiServer) *valve {
	to, err := url.Parse(loki.URL)
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		v.mu.Lock()
		shut := v.shut
		v.mu.Unlock()
		if shut != nil {
			v.stuck.Add(1)
			select {
			case <-shut:
			case <-req.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, req)
	}))
	v.url = server.URL
	t.Cleanup(func() {
		v.open()
		server.Close()
	})
	return v
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut == nil {
		v.shut = make(chan struct{})
	}
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

// throughValve is a world whose agent reaches Loki through a valve.
func throughValve(t *testing.T, read, settings, more string) (*world, *valve) {
	w := newWorld(t, harness.Engine(t), harness.Loki(t))
	v := newValve(t, w.loki)
	direct := w.loki
	w.loki = harness.OpenLoki(v.url)
	config := "dispatcher: {memory: 1MiB, batch: {max_bytes: 256KiB}}\n" + w.config(read, settings, "") + more
	w.loki = direct
	w.startAgent(config)
	w.ready()
	return w, v
}

// Scenario 12: the only sink stalls for five seconds while the log is rotated away many
// times. Files lose nothing at a rate at which the engine's own streams do.
func TestAStalledSinkCostsAFastRotatingFileNothing(t *testing.T) {
	const lines = 32_000
	loki := newTaker(t)
	w := newWorld(t, harness.Engine(t), harness.OpenLoki(loki.url))
	v := newValve(t, w.loki)
	w.loki = harness.OpenLoki(v.url)
	w.startAgent("dispatcher: {memory: 1MiB, batch: {max_bytes: 256KiB}}\n" + w.config("file", "", ""))
	w.ready()
	c := w.container(lines, harness.RunOptions{
		Args: []string{"-rate", "4000", "-size", "150", "-gate", "30000"}, LogOpts: map[string]string{"max-size": "100k", "max-file": "3"},
	})
	came := func(n int64) {
		t.Helper()
		harness.Eventually(t, time.Minute, fmt.Sprintf("%d lines", n), func() (bool, string) { return loki.lines() >= n, fmt.Sprint(loki.lines()) })
	}
	came(lines / 10)
	most := w.stall(v, 5*time.Second)
	c.Open(t)
	if most["log_capturer_container_held_files"] < 4 { // more than the engine keeps by itself
		t.Errorf("%.0f generations were held; the stall was none", most["log_capturer_container_held_files"])
	}
	came(lines)
	w.balanced()
	report := loki.check(w.ledger)
	if !report.OK() {
		t.Errorf("not every line came once, and in order\n%s", report)
	}
	addResult(t, "12: 9 rotations/s, the sink stalls 5 s", report, w.before, w.heldAgain())
}

// stall shuts the valve for a while and returns the greatest values of the agent's metrics.
func (w *world) stall(v *valve, d time.Duration) map[string]float64 {
	w.t.Helper()
	v.close()
	most := map[string]float64{}
	end := time.Now().Add(d)
	harness.Eventually(w.t, 2*d, "the end of the stall", func() (bool, string) {
		for name, n := range w.agent.Metrics(w.t) {
			most[name] = max(most[name], n)
		}
		return time.Now().After(end), ""
	})
	v.open()
	if v.stuck.Load() == 0 {
		w.t.Error("nothing was sent during the stall")
	}
	return most
}

// Scenario 12 at a modest rate: the API loses nothing either.
func TestAStalledSinkCostsAModestLogNothing(t *testing.T) {
	forEachReaderAtOnce(t, func(t *testing.T, read string) {
		dir := t.TempDir()
		w, v := throughValve(t, read, "", fmt.Sprintf("  local_file: {path: \"%s/{source}.{stream}.log\", format: raw}\n", dir))
		c := w.container(5000, harness.RunOptions{
			Args: []string{"-rate", "500", "-size", "600", "-stderr-every", "4", "-gate", "4500"}, LogOpts: map[string]string{"max-size": "1m", "max-file": "3"},
		})
		w.reached(0.1)
		w.stall(v, 5*time.Second)
		c.Open(t)
		w.ends("12: 500 lines/s, max-size=1m, the sink stalls 5 s", time.Minute)
		w.agent.Stop(t)
		w.exactlyOnceInFiles(dir)
	})
}

// What the engine's stream skips is lost to who follows it; the agent, one of whose sinks
// stalls, loses not more than a reader that does nothing else.
func TestAStreamLosesNoMoreThanTheEngineDoes(t *testing.T) {
	const lines = 60_000
	dir := t.TempDir() // Loki splits a stream as fast as this, and then does not see repeats
	w, v := throughValve(t, "stream", "", fmt.Sprintf("  local_file: {path: \"%s/{source}.{stream}.log\", format: raw}\n", dir))
	c := w.container(lines, harness.RunOptions{
		Args: []string{"-rate", "10000", "-size", "150"}, LogOpts: map[string]string{"max-size": "100k", "max-file": "3"},
	})
	calm := w.follow(c)
	w.stall(v, 5*time.Second)
	undisturbed := <-calm
	harness.Eventually(t, 20*time.Second, "the end of the stream", func() (bool, string) {
		n := w.agent.Metrics(t).Sum("log_capturer_container_streams_active", `mode="stream"`)
		return n == 0, fmt.Sprint(n)
	})
	w.balanced()
	r := reading{w, "stream", dir}
	var report *harness.Report
	harness.Eventually(t, 20*time.Second, "what an undisturbed reader has", func() (bool, string) {
		report = r.countFiles()
		return report.Lost.N <= undisturbed.Lost.N+lines/20, report.String()
	})
	told := map[string]float64{}
	for name, n := range w.agent.Metrics(t) {
		if strings.HasPrefix(name, "log_capturer_lines_upstream_lost_total") && n > 0 {
			told[name] = n
		}
	}
	late := int64(w.agent.Metrics(t).Sum("container_stream_late_lines_total"))
	t.Logf("the undisturbed reader: %s\ntold of: %v; %d lines came late", undisturbed, told, late)
	if report.Repeated.N+report.Damaged.N > 0 || report.OutOfOrder.N > late {
		t.Error("lines are repeated, damaged or out of order")
	}
	w.removeContainers()
	addResult(t, fmt.Sprintf("12: 17 rotations/s in a stream, of which docker logs -f loses %d", undisturbed.Lost.N), report, w.before, r.letsGo())
}

// follow is docker logs -f: a reader that does nothing but count.
func (w *world) follow(c *harness.Container) <-chan *harness.Report {
	done := make(chan *harness.Report, 1)
	count := w.ledger.Count()
	body, err := w.engine.Client().ContainerLogs(context.WithoutCancel(w.t.Context()), c.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer body.Close()
		var all bytes.Buffer
		_, err := stdcopy.StdCopy(&all, io.Discard, body)
		for l := range bytes.Lines(all.Bytes()) {
			count.Add(fmt.Sprint("docker logs ", err), bytes.TrimSuffix(l, []byte("\n")))
		}
		done <- count.Report()
	}()
	return done
}

// Scenario 20: a sink that takes nothing, and a log that is rotated away: what is held is
// capped, the oldest is let go, and counted to the line.
func TestWhatIsHeldIsCappedAndWhatIsLetGoIsCounted(t *testing.T) {
	const lines, most, generation = 42_000, 1 << 20, 200_000 + 1000
	w, v := throughValve(t, "file", "  held: {max_bytes: 1MiB}", "")
	v.close()
	c := w.container(lines, harness.RunOptions{ // 250 bytes each in the json-file
		Args: []string{"-rate", "10000", "-size", "180"}, LogOpts: map[string]string{"max-size": "200k", "max-file": "2"},
	})
	samples, held := 0, 0.0
	harness.Eventually(t, 30*time.Second, "the end of the container", func() (bool, string) {
		m := w.agent.Metrics(t)
		samples++
		held = max(held, m.Sum("log_capturer_container_held_bytes"))
		if share := m.Sum("process_open_fds") / m.Sum("process_max_fds"); share >= 0.05 {
			t.Errorf("%.0f %% of all descriptors are in use", 100*share)
		}
		return !c.Running(t), "it runs"
	})
	if held > most+generation || held < most/2 {
		t.Errorf("up to %.0f bytes were held, want about %d and no more than a generation besides", held, most)
	}
	if h := w.component("held_files"); h.Status != "degraded" || h.Reason == "" {
		t.Errorf("held_files: %+v", h)
	}
	v.open()
	var lost float64
	harness.Eventually(t, 30*time.Second, "all that is left", func() (bool, string) {
		m := w.agent.Metrics(t)
		lost = m.Sum("log_capturer_lines_upstream_lost_total", `reason="held_too_much"`)
		acked := m.Sum("log_capturer_lines_acked_total")
		return acked+lost == lines, fmt.Sprintf("%.0f delivered, %.0f lost", acked, lost)
	})
	w.balanced()
	report := w.ledger.Check(w.query())
	t.Logf("%d samples, up to %.0f bytes held; %.0f lines let go; %s", samples, held, lost, report)
	if report.Lost.N != int64(lost) || report.Lines != report.Expected-report.Lost.N || lost == 0 || report.Repeated.N+report.Damaged.N+report.OutOfOrder.N > 0 {
		t.Errorf("%.0f lines were counted as let go; %s", lost, report)
	}
	all := w.agent.Metrics(t).Sum("log_capturer_lines_upstream_lost_total")
	if row := w.rows()[0]; all != lost || row.Lost["held_too_much"] != int64(lost) {
		t.Errorf("%.0f lines lost in all; the container's row: %+v", all, row)
	}
	w.removeContainers()
	r := reading{world: w}
	after := r.letsGo()
	addResult(t, "20: a blocked sink, held.max_bytes=1MiB", report, w.before, after)
}

// component returns what health says of a component.
func (w *world) component(name string) (found struct{ Status, Reason string }) {
	w.t.Helper()
	for _, c := range w.agent.Health(w.t).Components {
		if c.Name == name {
			found.Status, found.Reason = c.Status, c.Reason
		}
	}
	return found
}

// rows are those of /api/v1/containers.
func (w *world) rows() []source.Status {
	w.t.Helper()
	cli := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := cli.Get(w.agent.URL + "/api/v1/containers")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Containers []source.Status }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Containers) == 0 {
		w.t.Fatalf("%d containers, error %v", len(answer.Containers), err)
	}
	return answer.Containers
}

// Scenario 10: a json-file is damaged in two places: NULs, as after a power cut, and half a
// record. Read as a file it loses nothing but the holes, which are counted and told of.
func TestDamageInTheMiddleOfALog(t *testing.T) {
	forEachReader(t, func(t *testing.T, read string) {
		w := newWorld(t, harness.Engine(t), &harness.LokiServer{})
		r := &reading{w, read, t.TempDir()}
		r.startAgent(r.toFiles("  loss_markers: true"))
		r.ready()
		c := w.engine.Run(t, harness.RunOptions{
			Labels: map[string]string{"e2e": w.run}, Args: []string{"-n", "600", "-burst", "200", "-every", "3s", "-hold"},
		})
		w.ledger.Expect(c.Name, 1, 200)
		r.inFiles(10 * time.Second)
		appendToLog(t, c.LogPath(t), make([]byte, 5000)) // and no newline: the next record follows at once
		w.ledger.Expect(c.Name, 201, 400)
		if read == "file" {
			r.inFiles(10 * time.Second)
		} else {
			w.written(c, 400)
		}
		half := records("half", 1, 1)
		appendToLog(t, c.LogPath(t), half[:len(half)/2])
		w.ledger.Expect(c.Name, 401, 600)
		w.written(c, 600)
		if share := w.busy(3 * time.Second); share > 0.2 {
			t.Errorf("the agent takes %.0f %% of a CPU", 100*share)
		}
		m := w.agent.Metrics(t)
		row := w.rows()[0]
		if read != "file" { // the engine ends a log at the first hole, for whoever opens it later
			report := r.countFiles()
			late := int64(w.agent.Metrics(t).Sum("log_capturer_container_stream_late_lines_total"))
			if report.Lines < 200 || report.Repeated.N+report.Damaged.N > 0 || report.OutOfOrder.N > late {
				t.Errorf("what came before the holes is not there once; %d lines came late", late)
			}
			t.Logf("%.0f requests, %.0f searches of the whole log", m.Sum("log_capturer_container_stream_opens_total"), m.Sum("log_capturer_container_log_searches_total"))
			w.removeContainers()
			addResult(t, "10: damage in the middle of a log, through the engine", report, w.before, r.letsGo())
			return
		}
		r.inFiles(10 * time.Second)
		report := r.countFiles()
		if !report.OK() {
			t.Error("not every line is there once")
		}
		if n := m.Sum("log_capturer_lines_upstream_lost_total", `reason="damaged"`); n != 2 || row.Lost["damaged"] != 2 {
			t.Errorf("%.0f holes are counted, %d in the container's row, want 2", n, row.Lost["damaged"])
		}
		told := 0
		for _, text := range r.files() {
			told += bytes.Count(text, []byte("event=lost reason=damaged lines=1\n"))
		}
		if told != 2 {
			t.Errorf("%d holes are told of in the container's event stream, want 2", told)
		}
		w.removeContainers()
		addResult(t, "10: damage in the middle of a log", report, w.before, r.letsGo())
	})
}

// written waits until a container's log has so many lines.
func (w *world) written(c *harness.Container, n int64) {
	w.t.Helper()
	path := c.LogPath(w.t)
	harness.Eventually(w.t, 20*time.Second, fmt.Sprintf("%d lines in the log", n), func() (bool, string) {
		text, err := os.ReadFile(path)
		have := bytes.Count(text, []byte(" id="+c.Name+" seq="))
		return int64(have) >= n, fmt.Sprint(have, err)
	})
}

// busy returns the share of a CPU that the agent takes.
func (w *world) busy(d time.Duration) float64 {
	w.t.Helper()
	pid := w.agent.PID()
	began, err := harness.CPUSeconds(pid)
	if err != nil {
		w.t.Fatal(err)
	}
	<-time.After(d)
	ended, err := harness.CPUSeconds(pid)
	if err != nil {
		w.t.Fatal(err)
	}
	return (ended - began) / d.Seconds()
}
