package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/httpapi"
	"github.com/logcapturer/log_capturer/internal/ledger"
)

const (
	agentReady = 20 * time.Second
	agentStop  = 30 * time.Second
)

// Agent builds the agent once for each test binary, with the race detector when
// the test has it, and returns its path.
func Agent(t testing.TB) string {
	t.Helper()
	parts.mu.Lock()
	defer parts.mu.Unlock()
	if parts.agent != "" {
		return parts.agent
	}
	dir, err := os.MkdirTemp("", "lc-agent-")
	if err != nil {
		t.Fatal(err)
	}
	parts.dir = dir
	bin := filepath.Join(dir, "log_capturer")
	if err := BuildAgent(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	parts.agent = bin
	return bin
}

// BuildAgent builds the agent as bin.
func BuildAgent(ctx context.Context, bin string) error {
	if RaceEnabled {
		return goBuild(ctx, []string{"CGO_ENABLED=1"}, "-race", "-o", bin, "./cmd/log_capturer")
	}
	return goBuild(ctx, []string{"CGO_ENABLED=0"}, "-trimpath", "-o", bin, "./cmd/log_capturer")
}

// ShippedAgent builds the agent as it is shipped, for containers without a libc.
func ShippedAgent(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "log_capturer")
	if err := goBuild(t.Context(), []string{"CGO_ENABLED=0"}, "-trimpath", "-o", bin, "./cmd/log_capturer"); err != nil {
		t.Fatal(err)
	}
	return bin
}

// AgentProcess is the agent, running as a process of its own. Start after Stop or
// Kill goes on with the same configuration, address and data directory.
type AgentProcess struct {
	// URL of its HTTP server, and Dir with its configuration, log and, in Data, its data_dir.
	URL, Dir, Data string
	bin            string
	wrap           []string // a command that execs what follows it
	head           string   // of its configuration
	http           *http.Client
	proc           *process
}

// StartAgent starts the agent and waits until its HTTP server answers. Unless
// config has them, the top-level keys server (a free loopback port) and data_dir
// (a directory of the test) are added. It is stopped when the test ends.
func StartAgent(t testing.TB, config string) *AgentProcess {
	t.Helper()
	return startAgent(t, Agent(t), config)
}

func startAgent(t testing.TB, bin, config string, wrap ...string) *AgentProcess {
	t.Helper()
	a, err := NewAgent(bin, t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	a.wrap = wrap
	t.Cleanup(func() {
		if a.proc != nil && !a.proc.ended() {
			a.Stop(t)
		}
		if t.Failed() {
			t.Logf("the end of the agent's log:\n%s", tail(a.LogPath(), 40))
		}
	})
	a.Start(t)
	return a
}

// NewAgent prepares bin with config in dir without starting it; see StartAgent.
func NewAgent(bin, dir, config string) (*AgentProcess, error) {
	// No idle connections: their goroutines would be taken for leaks of the tests.
	a := &AgentProcess{Dir: dir, Data: filepath.Join(dir, "data"), bin: bin, http: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}}
	if !hasKey(config, "data_dir") {
		a.head = fmt.Sprintf("data_dir: %q\n", a.Data)
	}
	addr := listenKey(config)
	if addr == "" {
		if hasKey(config, "server") {
			return nil, errors.New("the configuration has server: but no server.listen on a line of its own")
		}
		var err error
		if addr, err = FreeAddr(); err != nil {
			return nil, err
		}
		a.head += fmt.Sprintf("server:\n  listen: %s\n", addr)
	}
	if !hasKey(config, "canary") { // its lines would be in nobody's ledger
		a.head += "canary: {enabled: false}\n"
	}
	a.URL = "http://" + addr
	return a, a.SetConfig(config)
}

// SetConfig replaces the configuration, with the data_dir and the server.listen of before
// unless it was given with them. It is read at the next Start, or Reload.
func (a *AgentProcess) SetConfig(config string) error {
	return os.WriteFile(a.ConfigPath(), []byte(a.head+config), 0o600)
}

// Reload has the agent read its configuration again, by SIGHUP, and waits until it has. It
// tells whether that was successful.
func (a *AgentProcess) Reload(t testing.TB) bool {
	t.Helper()
	told := func() int {
		return strings.Count(a.Log(), "configuration reloaded") + strings.Count(a.Log(), "configuration was not reloaded")
	}
	before := told()
	if err := a.proc.signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	Eventually(t, agentReady, "a reload", func() (bool, string) { return told() > before, "" })
	return a.Metrics(t).Sum("config_last_reload_successful") == 1
}

// ConfigPath returns the path of the configuration file.
func (a *AgentProcess) ConfigPath() string { return filepath.Join(a.Dir, "log_capturer.yaml") }

// Bin returns the path of the agent's binary.
func (a *AgentProcess) Bin() string { return a.bin }

// LogPath returns the path of the agent's own log, of all its starts.
func (a *AgentProcess) LogPath() string { return filepath.Join(a.Dir, "agent.log") }

func hasKey(config, key string) bool {
	return regexp.MustCompile(`(?m)^` + key + `\s*:`).MatchString(config)
}

var listenRE = regexp.MustCompile(`(?m)^(?:server:\s*\{.*\b|\s+)listen:\s*"?([0-9.]+:[0-9]+)`)

func listenKey(config string) string {
	if m := listenRE.FindStringSubmatch(config); m != nil {
		return m[1]
	}
	return ""
}

// Start starts it and waits until its HTTP server answers.
func (a *AgentProcess) Start(t testing.TB) {
	t.Helper()
	if err := a.StartProcess(); err != nil {
		t.Fatal(err)
	}
}

// StartProcess is Start for callers without a test.
func (a *AgentProcess) StartProcess() error {
	p, err := startProcess("log_capturer", a.LogPath(), syscall.SIGKILL, append(slices.Clone(a.wrap), a.bin, "run", "-c", a.ConfigPath())...)
	if err != nil {
		return err
	}
	a.proc = p
	err = poll(agentReady, func() (bool, string) {
		_, err := a.get("/metrics")
		return err == nil || p.ended(), fmt.Sprint(err)
	})
	if err == nil && p.ended() {
		err = fmt.Errorf("it ended with code %d", p.code())
	}
	if err != nil {
		return fmt.Errorf("start the agent: %w; the end of its log:\n%s", errors.Join(err, p.kill()), tail(a.LogPath(), 15))
	}
	return nil
}

// Stop sends SIGTERM and waits. The exit code must be 0, and the log free of
// panics and data races.
func (a *AgentProcess) Stop(t testing.TB) {
	t.Helper()
	if err := a.StopProcess(); err != nil {
		t.Error(err)
	}
}

// StopProcess is Stop for callers without a test.
func (a *AgentProcess) StopProcess() error {
	var errs []error
	if err := a.proc.stop(agentStop); err != nil {
		errs = append(errs, err)
	} else if code := a.proc.code(); code != 0 {
		errs = append(errs, fmt.Errorf("the agent ended with code %d", code))
	}
	log := a.Log()
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "recovered from a panic", "fatal error:"} {
		if i := strings.Index(log, bad); i >= 0 {
			errs = append(errs, fmt.Errorf("the agent's log has %q:\n%s", bad, log[i:min(len(log), i+4000)]))
		}
	}
	return errors.Join(errs...)
}

// Kill sends SIGKILL and waits.
func (a *AgentProcess) Kill(t testing.TB) {
	t.Helper()
	if err := a.proc.kill(); err != nil {
		t.Fatal(err)
	}
}

// Running tells whether the process lives.
func (a *AgentProcess) Running() bool { return a.proc != nil && !a.proc.ended() }

// PID returns its process id.
func (a *AgentProcess) PID() int { return a.proc.cmd.Process.Pid }

// Log returns the agent's own log, of all its starts.
func (a *AgentProcess) Log() string {
	b, err := os.ReadFile(a.LogPath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Health is the answer of GET /health.
type Health struct {
	Code       int    `json:"-"`
	Status     string `json:"status"`
	Components []struct {
		Name   string `json:"name"`
		Status string `json:"status"`
		Reason string `json:"reason"`
		Since  string `json:"since"`
	} `json:"components"`
}

// Health asks for it.
func (a *AgentProcess) Health(t testing.TB) Health {
	t.Helper()
	h, err := a.AskHealth()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// AskHealth is Health for callers without a test.
func (a *AgentProcess) AskHealth() (Health, error) {
	res, err := a.http.Get(a.URL + "/health")
	if err != nil {
		return Health{}, err
	}
	defer res.Body.Close()
	h := Health{Code: res.StatusCode}
	if err := json.NewDecoder(res.Body).Decode(&h); err != nil {
		return h, fmt.Errorf("GET /health: %w", err)
	}
	return h, nil
}

// Of returns the status of a component, and its reason; "" = there is no such component.
func (h Health) Of(component string) (status, reason string) {
	for _, c := range h.Components {
		if c.Name == component {
			return c.Status, c.Reason
		}
	}
	return "", ""
}

// Metrics is a scrape: series, as the exposition writes them, to values.
type Metrics map[string]float64

// Metrics scrapes it.
func (a *AgentProcess) Metrics(t testing.TB) Metrics {
	t.Helper()
	m, err := a.Scrape()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Scrape is Metrics for callers without a test.
func (a *AgentProcess) Scrape() (Metrics, error) {
	body, err := a.get("/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(body)
}

// Resources returns a census of what the agent holds.
func (a *AgentProcess) Resources() (s ledger.Snapshot, err error) {
	body, err := a.get(httpapi.PathResources)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(body), &s)
}

// Open returns the descriptors that are held for logs and for the engine's streams.
func (m Metrics) Open() int {
	sum := 0.0
	for _, kind := range []string{"json_file", "log_file", "engine_stream"} {
		sum += m.Sum("descriptors", `kind="`+kind+`"`)
	}
	return int(sum)
}

// Sum adds up the series of a metric, with or without its prefix log_capturer_,
// that have all of these labels, each as `key="value"`.
func (m Metrics) Sum(name string, labels ...string) float64 {
	sum := 0.0
series:
	for s, v := range m {
		base, rest, _ := strings.Cut(s, "{")
		if base != name && base != "log_capturer_"+name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue series
			}
		}
		sum += v
	}
	return sum
}

// ScrapeMetrics reads what an agent that the harness did not start exposes at url.
func ScrapeMetrics(client *http.Client, url string) (Metrics, error) {
	body, err := get(client, url)
	if err != nil {
		return nil, err
	}
	return parseMetrics(body)
}

func parseMetrics(text string) (Metrics, error) {
	m := Metrics{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		l := lines.Text()
		if l == "" || l[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(l, ' ')
		if at < 0 {
			return nil, fmt.Errorf("metrics: %q has no value", l)
		}
		v, err := strconv.ParseFloat(l[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q: %w", l, err)
		}
		m[l[:at]] = v
	}
	return m, lines.Err()
}

func (a *AgentProcess) get(path string) (string, error) { return get(a.http, a.URL+path) }

func get(client *http.Client, url string) (string, error) {
	res, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return string(body), nil
}
