package observe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// patient is an agent that is made ill, and healed as its runbook says.
type patient struct {
	*harness.AgentProcess
	t    *testing.T
	loki *harness.FakeLoki
	log  string // the file that it captures
}

const maxLine = 200 // of its Loki

func newPatient(t *testing.T) *patient {
	p := &patient{t: t, loki: harness.NewFakeLoki(t, maxLine), log: filepath.Join(t.TempDir(), "app.log")}
	p.say("hello")
	p.AgentProcess = harness.StartAgent(t, p.config(""))
	return p
}

func (p *patient) config(more string) string {
	return fmt.Sprintf("container_monitor: {enabled: false}\nfile_monitor: {include: [%q]}\ndispatcher: {retry: {initial: 100ms, max: 500ms}}\nsinks: {loki: {url: %q}}\n%s", p.log, p.loki.URL, more)
}

func (p *patient) say(text string) {
	p.t.Helper()
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, text); err != nil {
		p.t.Fatal(err)
	}
}

// is waits until a component has a status.
func (p *patient) is(component, status, reason string) {
	p.t.Helper()
	harness.Eventually(p.t, 20*time.Second, component+" is "+status, func() (bool, string) {
		h := p.Health(p.t)
		for _, c := range h.Components {
			if c.Name == component {
				return c.Status == status && strings.Contains(c.Reason, reason), c.Status + ": " + c.Reason
			}
		}
		return false, "there is no such component"
	})
}

// does runs a command of the agent's, which must end with an exit code.
func (p *patient) does(code int, args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), harness.Agent(p.t), append(args, "-c", p.ConfigPath())...)
	out, _ := cmd.CombinedOutput() // the exit code tells
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("log_capturer %s ended with %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

// docs/runbooks/configuration.md
func TestAReloadThatFailedIsMended(t *testing.T) {
	p := newPatient(t)
	if err := p.SetConfig(p.config("nonsense: true\n")); err != nil {
		t.Fatal(err)
	}
	if p.Reload(t) {
		t.Fatal("a wrong configuration was taken")
	}
	p.is("configuration", "degraded", "reload failed")
	if said := p.does(2, "check"); !strings.Contains(said, "nonsense") {
		t.Errorf("check does not name the mistake: %s", said)
	}
	if err := p.SetConfig(p.config("")); err != nil {
		t.Fatal(err)
	}
	p.does(0, "reload")
	p.is("configuration", "healthy", "")
	if got := p.Metrics(t).Sum("config_last_reload_successful"); got != 1 {
		t.Errorf("config_last_reload_successful is %v", got)
	}
}

// docs/runbooks/sink-down.md
func TestASinkThatIsDownComesBackByItself(t *testing.T) {
	p := newPatient(t)
	p.is("sink.loki", "healthy", "")
	p.loki.Set(maxLine, true)
	p.say("into the dark")
	p.is("sink.loki", "degraded", "503")
	if got := p.Metrics(t).Sum("sink_up"); got != 0 {
		t.Errorf("sink_up is %v", got)
	}
	p.loki.Set(maxLine, false)
	p.is("sink.loki", "healthy", "")
	harness.Eventually(t, 10*time.Second, "no lag", func() (bool, string) {
		m := p.Metrics(t)
		lag := m.Sum("sink_lag_seconds")
		return lag == 0 && m.Sum("sink_up") == 1, fmt.Sprint(lag)
	})
}

// docs/runbooks/dead-letters.md
func TestDeadLettersAreSentAgainOnceTheCauseIsMended(t *testing.T) {
	p := newPatient(t)
	p.say(strings.Repeat("x", maxLine+1))
	harness.Eventually(t, 20*time.Second, "a dead letter", func() (bool, string) {
		return p.Metrics(t).Sum("deadletter_entries_total", `reason="line_too_long"`) == 1, ""
	})
	if said := p.does(0, "deadletter", "ls"); !strings.Contains(said, "line_too_long") {
		t.Errorf("ls does not tell the reason: %s", said)
	}
	if said := p.does(0, "deadletter", "show", "--reason", "line_too_long", "--limit", "5"); !strings.Contains(said, "max entry size") {
		t.Errorf("show does not tell Loki's words: %s", said)
	}
	p.loki.Set(10*maxLine, false)
	p.does(0, "deadletter", "replay", "--dry-run")
	p.does(0, "deadletter", "replay")
	var left any
	if err := json.Unmarshal([]byte(p.does(0, "deadletter", "ls", "--json")), &left); err != nil {
		t.Fatal(err)
	}
	if got := p.Metrics(t).Sum("deadletter_lines"); got != 0 {
		t.Errorf("%v dead letters are left: %v", got, left)
	}
}

// docs/runbooks/positions.md
func TestPositionsAreSavedAgainOnceTheyCanBe(t *testing.T) {
	p := newPatient(t)
	path := filepath.Join(p.Data, "positions")
	harness.Eventually(t, 20*time.Second, "positions", func() (bool, string) {
		_, err := os.Stat(path)
		return err == nil, fmt.Sprint(err)
	})
	// A directory that is not empty cannot be replaced by a file, whoever asks for it.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "in-the-way"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.say("something new to remember")
	p.is("positions", "degraded", "")
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	p.is("positions", "healthy", "")
}

// docs/runbooks/health.md
func TestAComponentThatWasSwitchedOffIsSwitchedOn(t *testing.T) {
	p := newPatient(t)
	p.is("file_monitor", "healthy", "")
	token, err := os.ReadFile(filepath.Join(p.Data, "api_token"))
	if err != nil {
		t.Fatal(err)
	}
	turn := func(running bool) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/api/v1/components/file_monitor", strings.NewReader(fmt.Sprintf(`{"running": %v}`, running)))
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("POST %s: %s", req.URL, res.Status)
		}
	}
	turn(false)
	p.is("file_monitor", "degraded", "switched off by hand")
	turn(true)
	p.is("file_monitor", "healthy", "")
}
