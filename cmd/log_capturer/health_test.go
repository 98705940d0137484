package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/test/harness"
)

// says is an agent that answers every path with this.
func says(t *testing.T, code int, body string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestHealthMakesTheExitCode(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		flags  string
		code   int
		first  string // line of stdout, or of stderr
	}{
		{"healthy", 200, `{"status":"healthy","components":[{"name":"positions","status":"healthy"}]}`, "", 0, "healthy: all 1 components"},
		{"degraded", 200, `{"status":"degraded","components":[{"name":"canary","status":"healthy"},{"name":"sink.loki","status":"degraded","reason":"down"}]}`, "", 0, "degraded: sink.loki"},
		{"degraded is too little", 200, `{"status":"degraded","components":[{"name":"sink.loki","status":"degraded"}]}`, "--strict", 1, "degraded: sink.loki"},
		{"unhealthy", 503, `{"status":"unhealthy","components":[{"name":"a","status":"degraded"},{"name":"b","status":"unhealthy"}]}`, "", 1, "unhealthy: b, a"},
		{"a status of a later version", 200, `{"status":"haunted","components":[{"name":"a","status":"haunted"}]}`, "", 1, "haunted: a"},
		{"unhealthy, as JSON", 503, `{"status":"unhealthy","components":[]}`, "--json", 1, "{"},
		{"ready", 200, `{"ready":true}`, "--ready", 0, "ready"},
		{"not ready", 503, `{"ready":false}`, "--ready", 1, "not ready: the agent starts or stops"},
		{"another program", 404, `nothing here`, "", 1, "error: the agent at URL answers 404 Not Found; is it another version, or no log_capturer?"},
		{"a web page", 200, `<html>`, "", 1, "error: read the agent's answer from URL: invalid character '<' looking for beginning of value; is it another version, or no log_capturer?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := says(t, c.status, c.body)
			code, stdout, stderr := command(t, append([]string{"health", "--url", url}, strings.Fields(c.flags)...)...)
			first, _, _ := strings.Cut(stdout+stderr, "\n")
			first, _, _ = strings.Cut(first, "; is the agent running")
			if code != c.code || first != strings.ReplaceAll(c.first, "URL", url) {
				t.Errorf("exit code %d, want %d; first line %q, want %q", code, c.code, first, c.first)
			}
		})
	}
}

func TestAnAgentThatDoesNotAnswer(t *testing.T) {
	addr, err := harness.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "health", "--url", "http://"+addr)
	if code != exitFailed || stdout != "" || !strings.HasPrefix(stderr, "error: no agent answers at http://"+addr+": ") || !strings.Contains(stderr, "connection refused; is the agent running") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, "health", "--json", "--url", "http://"+addr)
	var answer noAnswer
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != exitFailed || stderr != "" || answer.Status != unreachable || answer.Error == "" {
		t.Errorf("exit code %d, stderr %q, %v in %s", code, stderr, err, stdout)
	}
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
	defer hangs.Close()
	code, _, stderr = command(t, "health", "--url", hangs.URL, "--timeout", "50ms")
	if code != exitFailed || !strings.Contains(stderr, "no answer within 50ms") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if code, _, stderr = command(t, "health", "--url", "somewhere"); code != exitUsage || !strings.Contains(stderr, `--url "somewhere" is no address`) {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// Who watches an agent must not take it for dead because its file was edited meanwhile.
func TestHealthPutsUpWithMistakesElsewhere(t *testing.T) {
	listen := strings.TrimPrefix(says(t, 200, `{"status":"healthy","components":[]}`), "http://")
	path := filepath.Join(t.TempDir(), "c.yaml")
	server := "server: {listen: '" + listen + "'}\n"
	for _, c := range []struct {
		text   string
		code   int
		stderr string // how it begins
	}{
		{server, exitDone, ""},
		{server + "sinks: {loki: {url: 'x'}}\n", exitDone, "warning: the configuration has mistakes"},
		{server + "unknown: [x]\n", exitDone, "warning: the configuration has mistakes"},
		{"server: {listen: nowhere}\n", exitUsage, "error: " + path + ":1:10: server.listen: "},
		{"server: [\n", exitUsage, "error: " + path + ":"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, "health", "-c", path)
		if code != c.code || !strings.HasPrefix(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%s: exit code %d, want %d; stderr %q", c.text, code, c.code, stderr)
		}
	}
}

func TestTheTableOfHealth(t *testing.T) {
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	report := health.Report{Status: health.Degraded, Components: []health.Component{
		{Name: "canary", Status: health.Healthy, Since: now.Add(-50 * time.Hour)},
		{Name: "sink.loki", Status: health.Degraded, Reason: "connection refused\x1b[2J; next try soon", Since: now.Add(-7 * time.Minute)},
	}}
	want := `degraded: sink.loki

COMPONENT  STATUS    SINCE   REASON
sink.loki  degraded  7m ago  connection refused\x1b[2J; next
                             try soon
canary     healthy   2d ago
`
	if diff := cmp.Diff(want, healthTable(report, now, false, 60)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if coloured := healthTable(report, now, true, 0); !strings.HasPrefix(coloured, "\x1b[33mdegraded\x1b[0m: ") {
		t.Errorf("no colours in %q", coloured)
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s ago", 119 * time.Second: "119s ago", 119 * time.Minute: "119m ago", 47 * time.Hour: "47h ago", 72 * time.Hour: "3d ago"} {
		if got := ago(d); got != want {
			t.Errorf("ago(%s) = %q, want %q", d, got, want)
		}
	}
}
