package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/diagnose"
	"github.com/logcapturer/log_capturer/internal/ledger"
)

// fakeAgent answers as an agent does of which one component leaks while it runs.
type fakeAgent struct {
	leaks string // goroutines, with every census

	mu      sync.Mutex
	off     map[string]bool
	leaked  int
	wasOff  []string
	without func() // called when a component was switched off
	refuse  bool
}

func (f *fakeAgent) states() (all []ledger.ComponentState) {
	for _, name := range []string{"canary", "container_monitor", "sink.loki"} {
		all = append(all, ledger.ComponentState{Name: name, Running: !f.off[name]})
	}
	return all
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	name, change := strings.CutPrefix(r.URL.Path, diagnose.PathComponents+"/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == diagnose.PathResources:
		if f.leaks != "" && !f.off[f.leaks] {
			f.leaked += 2
		}
		s := ledger.Snapshot{Time: time.Now(), Components: f.states()}
		s.Goroutines = ledger.Goroutines{Total: 20 + f.leaked, Expected: 20, Owners: []ledger.GoroutineOwner{
			{Owner: "agent/x/" + f.leaks, Component: f.leaks, Count: 20 + f.leaked, Expected: 20, Stack: "net/http.(*persistConn).readLoop"}}}
		answer(s)
	case r.Method == http.MethodGet && r.URL.Path == diagnose.PathComponents:
		answer(map[string]any{"components": f.states()})
	case r.Method == http.MethodPost && change:
		if r.Header.Get("Authorization") != "Bearer the-token" || f.refuse {
			w.WriteHeader(http.StatusUnauthorized)
			answer(map[string]string{"error": "a bearer token is needed"})
			return
		}
		var body struct {
			Running *bool `json:"running"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Running == nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.off[name] = !*body.Running
		if f.off[name] {
			f.wasOff = append(f.wasOff, name)
			if f.without != nil {
				f.without()
			}
		}
		answer(ledger.ComponentState{Name: name, Running: *body.Running})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// serve starts the fake and returns the configuration that leads to it.
func (f *fakeAgent) serve(t *testing.T) (config string) {
	t.Helper()
	f.off = map[string]bool{}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	config = filepath.Join(dir, "c.yaml")
	for path, text := range map[string]string{
		config:                        fmt.Sprintf("data_dir: %s\nserver: {listen: '%s'}\n", dir, strings.TrimPrefix(server.URL, "http://")),
		filepath.Join(dir, tokenFile): "the-token\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config
}

func TestDiagnoseALeak(t *testing.T) {
	agent := &fakeAgent{leaks: "container_monitor"}
	config := agent.serve(t)
	code, stdout, stderr := command(t, "diagnose", "-c", config, "--for", "1s")
	if code != exitFailed || stderr != "" || strings.Count(stdout, "\nT+") != 6 || !strings.Contains(stdout, "\nleak: container_monitor grows by ") {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	code, stdout, stderr = command(t, "diagnose", "-c", config, "--for", "1s", "--every", "1s", "--json")
	var report diagnose.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitFailed || stderr != "" {
		t.Fatalf("exit code %d, stderr %q, %v in:\n%s", code, stderr, err, stdout)
	}
	if report.Verdict.Component != "container_monitor" || len(report.Rows) != 2 || report.Censuses < 4 {
		t.Errorf("%+v", report)
	}
}

func TestDiagnoseNoLeak(t *testing.T) {
	if code, stdout, stderr := command(t, "diagnose", "-c", (&fakeAgent{}).serve(t), "--for", "1s"); code != exitDone || stderr != "" || !strings.Contains(stdout, "\nno leak: ") {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
}

func TestDiagnoseIsolates(t *testing.T) {
	agent := &fakeAgent{leaks: "container_monitor"}
	config := agent.serve(t)
	code, stdout, stderr := command(t, "diagnose", "--isolate", "-c", config, "--for", "1s")
	if code != exitUsage || stdout != "" || !strings.Contains(stderr, "canary, container_monitor, sink.loki.\n") || !strings.Contains(stderr, "give --yes") || agent.wasOff != nil {
		t.Errorf("without consent: exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	code, stdout, _ = command(t, "diagnose", "--isolate", "-c", config, "--for", "1s", "--yes")
	if code != exitFailed || !strings.Contains(stdout, "they do not: it is container_monitor\n") || strings.Join(agent.wasOff, " ") != "canary container_monitor sink.loki" {
		t.Errorf("exit code %d, %q was off, stdout:\n%s", code, agent.wasOff, stdout)
	}
	agent.on(t)
}

// on holds that nothing was left switched off.
func (f *fakeAgent) on(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, off := range f.off {
		if off {
			t.Errorf("%s is off", name)
		}
	}
}

// The signals that end a command: from a terminal, from systemd, and of a pipe that is closed.
func TestDiagnoseSwitchesOnAgainWhenItIsInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE} {
		agent := &fakeAgent{leaks: "container_monitor", without: func() {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				t.Error(err)
			}
		}}
		code, stdout, _ := command(t, "diagnose", "--isolate", "-c", agent.serve(t), "--for", "1s", "--yes")
		if code != exitFailed || !strings.Contains(stdout, "canary is on again\n") || !strings.Contains(stdout, "ended before its time: interrupted\n") || len(agent.wasOff) != 1 {
			t.Errorf("%s: exit code %d, %q was off, stdout:\n%s", sig, code, agent.wasOff, stdout)
		}
		agent.on(t)
	}
}

func TestDiagnoseWithoutTheToken(t *testing.T) {
	agent := &fakeAgent{leaks: "container_monitor", refuse: true}
	config := agent.serve(t)
	if code, _, stderr := command(t, "diagnose", "--isolate", "-c", config, "--yes"); code != exitFailed || !strings.Contains(stderr, "does not let its components be switched: a bearer token is needed") || agent.wasOff != nil {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(config), tokenFile)); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, "diagnose", "--isolate", "-c", config, "--yes"); code != exitFailed || !strings.Contains(stderr, "the running agent writes it") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestWhatToDoByHand(t *testing.T) {
	got := byHand([]string{"sink.loki"}, "/var/lib/log_capturer/api_token", "http://127.0.0.1:8001", &diagnose.StillOffError{Name: "sink.loki", Err: errReported}).Error()
	want := `sink.loki could not be switched on again: reported already; restart the agent (a component that is off is on again then), or switch it on by hand:
  curl -X POST -H "Authorization: Bearer $(cat /var/lib/log_capturer/api_token)" -H 'Content-Type: application/json' -d '{"running":true}' http://127.0.0.1:8001/api/v1/components/sink.loki`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestDiagnoseADump(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dump")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := pprof.Lookup("goroutine").WriteTo(f, 2); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "diagnose", "--dump", path)
	if code != exitDone || stderr != "" || !strings.Contains(stdout, "TestDiagnoseADump") || !strings.Contains(stdout, "\nnothing stands out among ") {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	if code, _, stderr = command(t, "diagnose", "--dump", "main.go"); code != exitFailed || !strings.HasPrefix(stderr, "error: read the dump: no goroutine is in it; ") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestWrongUsageOfDiagnose(t *testing.T) {
	for args, want := range map[string]string{
		"--for 5":                      `--for "5": expected a duration from 1s to 7d`,
		"--for 1m --every 2m":          `--every "2m": expected a duration from 100ms to that of --for, 1m`,
		"--for 7d --every 1s":          `--every 1s makes more than 10000 rows in 7d`,
		"--isolate --transport":        "none of the others can be",
		"--dump= ":                     `--dump "": expected a file`,
		"--isolate --every 1s --for x": `--for "x"`,
	} {
		if code, stdout, stderr := command(t, append([]string{"diagnose"}, strings.Fields(args)...)...); code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}
