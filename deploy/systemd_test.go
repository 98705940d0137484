package deploy

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
		"CapabilityBoundingSet=CAP_DAC_READ_SEARCH", "ExecReload=/usr/local/bin/log_capturer reload ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("it has no line %s", want)
		}
	}
}
