package deploy

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// unit writes the shipped unit, with the agent where it was built, and returns its path.
func unit(t *testing.T, change func(text string) string) string {
	t.Helper()
	text := strings.ReplaceAll(read(t, "systemd/log_capturer.service"), "/usr/local/bin/log_capturer", harness.Agent(t))
	path := filepath.Join(t.TempDir(), "log_capturer.service")
	write(t, path, change(text))
	return path
}

func same(text string) string { return text }

// analyze runs systemd-analyze and returns what it says and whether that is well.
func analyze(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatal("systemd-analyze is not installed: apt-get install systemd")
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err == nil
}

func TestSystemdAcceptsTheUnit(t *testing.T) {
	if out, ok := analyze(t, "verify", unit(t, same)); !ok || out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// It complains, by the way, of a mistake.
	wrong := unit(t, func(text string) string { return strings.Replace(text, "ProtectSystem=", "ProtectSystems=", 1) })
	if out, _ := analyze(t, "verify", wrong); !strings.Contains(out, "ProtectSystems") {
		t.Errorf("a wrong key passes: %s", out)
	}
}

// The exposure that systemd-analyze computes, in tenths; 96 is that of a unit with nothing.
func TestTheUnitIsHardened(t *testing.T) {
	out, ok := analyze(t, "security", "--no-pager", "--offline=true", "--threshold=25", unit(t, same))
	if !ok {
		t.Error(out)
	}
	bare := unit(t, func(text string) string { return text[:strings.Index(text, "# It runs as root")] })
	if out, ok := analyze(t, "security", "--no-pager", "--offline=true", "--threshold=25", bare); ok {
		t.Errorf("so is one without anything: %s", out)
	}
}

// What the agent relies on, whatever else is changed.
func TestTheUnitAgreesWithTheAgent(t *testing.T) {
	text := read(t, "systemd/log_capturer.service")
	for _, want := range []string{
		"Type=notify", "WatchdogSec=", "RestartPreventExitStatus=2", "StateDirectory=log_capturer",
		"CapabilityBoundingSet=CAP_DAC_READ_SEARCH", "Restart=on-failure", "ExecReload=/usr/local/bin/log_capturer reload ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("it has no line %s", want)
		}
	}
}

// The watchdog ends the agent by SIGABRT. With Go's own exit code for that, 2, systemd would
// leave it dead, as after a wrong configuration.
func TestTheWatchdogsEndIsNoWrongConfiguration(t *testing.T) {
	var env []string
	for line := range strings.Lines(read(t, "systemd/log_capturer.service")) {
		if variable, ok := strings.CutPrefix(line, "Environment="); ok {
			env = append(env, strings.TrimSpace(variable))
		}
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "log_capturer.yaml")
	write(t, config, "data_dir: "+dir+"/data\nserver: {listen: '127.0.0.1:0'}\ncontainer_monitor: {enabled: false}\nfile_monitor: {enabled: false}\n")
	cmd := exec.CommandContext(t.Context(), harness.Agent(t), "run", "--config", config)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = dir // a core, if there is one after all
	var out strings.Builder
	running := make(chan struct{})
	cmd.Stderr = io.MultiWriter(&out, &awaited{text: "log_capturer is running", seen: running})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-running:
	case <-time.After(20 * time.Second):
		t.Error("it does not start")
	}
	if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Error(err)
	}
	err := cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGABRT {
		t.Errorf("it ended with %v", err)
	}
	if !strings.Contains(out.String(), "goroutine ") || !strings.Contains(out.String(), "internal/task.(*Scope).Go") {
		t.Errorf("there are no stacks of its goroutines:\n%s", out.String())
	}
}

// awaited closes seen when text was written to it, in one piece.
type awaited struct {
	text string
	seen chan struct{}
	once sync.Once
}

func (a *awaited) Write(p []byte) (int, error) {
	if strings.Contains(string(p), a.text) {
		a.once.Do(func() { close(a.seen) })
	}
	return len(p), nil
}
