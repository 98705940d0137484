package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PrometheusServer is a real Prometheus that scrapes agents.
type PrometheusServer struct {
	URL  string
	http *http.Client
	proc *process
}

// StartPrometheus starts one with the given configuration and keeps what it scrapes for as
// long as the test runs.
func StartPrometheus(t testing.TB, config string) *PrometheusServer {
	t.Helper()
	bin := prometheusBinary(t, "prometheus")
	dir := t.TempDir()
	file, log := filepath.Join(dir, "prometheus.yml"), filepath.Join(dir, "prometheus.log")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p := &PrometheusServer{URL: "http://" + addr, http: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}}
	p.proc, err = startProcess("prometheus", log, syscall.SIGKILL, bin, "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of Prometheus's log:\n%s", tail(log, 20))
		}
		if err := p.proc.kill(); err != nil { // there is nothing to keep
			t.Error(err)
		}
	})
	Eventually(t, 20*time.Second, "Prometheus", func() (bool, string) {
		if p.proc.ended() {
			t.Fatalf("Prometheus ended; its log:\n%s", tail(log, 20))
		}
		res, err := p.http.Get(p.URL + "/-/ready")
		if err != nil {
			return false, err.Error()
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK, res.Status
	})
	return p
}

// Series is one series of a result: its labels, and its newest value as Prometheus writes it.
type Series struct {
	Labels map[string]string
	Value  string
}

// Query asks for the value of an expression now, which must be a vector.
func (p *PrometheusServer) Query(ctx context.Context, expr string) ([]Series, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/v1/query?"+url.Values{"query": {expr}}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("query %s: %s: %w", expr, res.Status, err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("query %s: %s", expr, answer.Error)
	}
	if answer.Data.ResultType != "vector" {
		return nil, fmt.Errorf("query %s: the result is a %s, want a vector", expr, answer.Data.ResultType)
	}
	var vector []struct {
		Metric map[string]string
		Value  [2]any
	}
	if err := json.Unmarshal(answer.Data.Result, &vector); err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	var out []Series
	for _, v := range vector {
		out = append(out, Series{Labels: v.Metric, Value: fmt.Sprint(v.Value[1])})
	}
	return out, nil
}

// PromTool runs promtool in dir and returns what it says.
func PromTool(t testing.TB, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), prometheusBinary(t, "promtool"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// prometheusBinary returns the path of prometheus or promtool: on PATH, else in the cache,
// where scripts/prometheus puts it.
func prometheusBinary(t testing.TB, name string) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "prometheus"))
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatal(errors.Join(fmt.Errorf("no %s: scripts/prometheus: %w", name, err), errors.New(said.String())))
	}
	return filepath.Join(strings.TrimSpace(out.String()), name)
}

// Rule is what became of a rule when it was evaluated last.
type Rule struct{ Name, Health, LastError string }

// Rules returns all that it has loaded.
func (p *PrometheusServer) Rules(t testing.TB) (all []Rule) {
	t.Helper()
	res, err := p.http.Get(p.URL + "/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Data struct{ Groups []struct{ Rules []Rule } }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("ask for the rules: %v", err)
	}
	for _, g := range answer.Data.Groups {
		all = append(all, g.Rules...)
	}
	return all
}
