package app

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/task"
)

// instance is an agent that runs inside the test.
type instance struct {
	t      *testing.T
	dir    string
	addr   string
	path   string // of its configuration
	hup    chan os.Signal
	cancel context.CancelFunc
	ended  chan error
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs the agent on the log files of dir, with dir as its data directory too.
func start(t *testing.T, dir string) *instance {
	t.Helper()
	return startWith(t, dir, `file_monitor: {include: ["DIR/**/*.log"]}
sinks: {local_file: {path: "{data_dir}/out/{source}.log", format: raw}}
`)
}

// startWith runs it with more configuration, in which DIR stands for dir.
func startWith(t *testing.T, dir, more string) *instance {
	t.Helper()
	a := &instance{t: t, dir: dir, addr: freeAddr(t), path: filepath.Join(dir, "config.yaml"), hup: make(chan os.Signal, 1), ended: make(chan error, 1)}
	a.configure(more)
	load := func() (Config, error) { return LoadConfig(config.Loader{}, a.path) }
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(context.Background())
	go func() {
		a.ended <- Run(ctx, cfg, BuildInfo{Version: "test"}, Reloads{Load: load, Asked: a.hup, Path: a.path})
		close(a.ended)
	}()
	t.Cleanup(func() {
		a.cancel()
		for range a.ended { // or it would write to a directory that is being removed
		}
	})
	return a
}

func (a *instance) configure(more string) {
	a.t.Helper()
	text := fmt.Sprintf(`
data_dir: DIR/data
log: {level: error}
server: {listen: %s}
container_monitor: {docker_host: "unix://DIR/no.sock"}
`, a.addr)
	if !strings.Contains(more, "canary:") {
		text += "canary: {enabled: false}\n"
	}
	if err := os.WriteFile(a.path, []byte(strings.ReplaceAll(text+more, "DIR", a.dir)), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *instance) stop() {
	a.t.Helper()
	a.cancel()
	select {
	case err := <-a.ended:
		if err != nil {
			a.t.Fatal(err)
		}
	case <-time.After(15 * time.Second):
		a.t.Fatal("the agent does not stop")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	for !ok() {
		if !task.Sleep(ctx, 5*time.Millisecond) {
			t.Fatalf("not within 15s: %s", what)
		}
	}
}

// captured returns all captured lines.
func (a *instance) captured() (lines []string) {
	files, err := filepath.Glob(filepath.Join(a.dir, "data/out/*"))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			a.t.Fatal(err)
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			lines = append(lines, s.Text())
		}
		_ = f.Close()
	}
	return lines
}

func (a *instance) get(path string) string { return a.call(http.MethodGet, path) }

func (a *instance) call(method, path string) string {
	req, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+a.addr+path, http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.do(req)
}

// do returns the body of the answer; "" when there is none.
func (a *instance) do(req *http.Request) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var out strings.Builder
	_, _ = bufio.NewReader(res.Body).WriteTo(&out)
	return out.String()
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// The whole agent, started and stopped three times: each line once, its own files
// left alone, and (TestMain) no goroutine left.
func TestTheAgentGoesOnAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "a.log")
	var want []string
	for run := range 3 {
		a := start(t, dir)
		for i := range 100 {
			line := fmt.Sprintf("run %d line %d", run, i)
			appendTo(t, log, line+"\n")
			want = append(want, line)
		}
		eventually(t, "all lines", func() bool { return len(a.captured()) >= len(want) })
		if run == 0 {
			a.look()
		}
		a.stop()
		if got := a.captured(); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Fatalf("run %d: captured %d lines, want %d", run, len(got), len(want))
		}
	}
}

// look checks what the agent tells about itself.
func (a *instance) look() {
	a.t.Helper()
	if got := a.get("/ready"); !strings.Contains(got, "true") {
		a.t.Errorf("/ready says %s", got)
	}
	h := a.get("/health")
	if !strings.Contains(h, `"status":"degraded"`) || !strings.Contains(h, "container_monitor") || !strings.Contains(h, "Docker Engine cannot be reached") {
		a.t.Errorf("/health does not say that the engine is away: %s", h)
	}
	eventually(a.t, "balanced books", func() bool {
		m := a.get("/metrics")
		return strings.Contains(m, `log_capturer_lines_acked_total{sink="local_file"} 100`) &&
			strings.Contains(m, `log_capturer_lines_in_flight{sink="local_file"} 0`)
	})
}

func TestTwoAgentsOnOneDataDirectory(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	eventually(t, "the first agent", func() bool { return first.get("/ready") != "" })
	second := start(t, dir)
	err := <-second.ended
	if err == nil || !strings.Contains(err.Error(), "another log_capturer uses this data_dir") {
		t.Errorf("the second agent says %v", err)
	}
	first.stop()
}

func TestAPortInUseIsAClearError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Server.Listen = t.TempDir(), l.Addr().String()
	cfg.Complete(func(string) (string, bool) { return "", false })
	if err := Run(t.Context(), cfg, BuildInfo{}, Reloads{}); err == nil || !strings.Contains(err.Error(), "server.listen") {
		t.Errorf("got %v", err)
	}
}
