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

// allowedCalls are the system calls that the unit's filters leave: in order, those of groups
// that are allowed, without those that are taken away.
func allowedCalls(t *testing.T) map[string]bool {
	t.Helper()
	out, ok := analyze(t, "syscall-filter", "--no-pager")
	if !ok {
		t.Fatal(out)
	}
	groups, group := map[string][]string{}, ""
	for line := range strings.Lines(out) {
		switch word := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "@"):
			group = word
		case word != "" && !strings.HasPrefix(word, "#"):
			groups[group] = append(groups[group], word)
		}
	}
	allowed := map[string]bool{}
	var set func(name string, to bool)
	set = func(name string, to bool) {
		if allowed[name] = to; strings.HasPrefix(name, "@") {
			for _, part := range groups[name] {
				set(part, to)
			}
		}
	}
	set("@default", true)
	for line := range strings.Lines(read(t, "systemd/log_capturer.service")) {
		if filter, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter="); ok {
			names, away := strings.CutPrefix(filter, "~")
			for name := range strings.FieldsSeq(names) {
				set(name, !away)
			}
		}
	}
	return allowed
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

// The agent and its journalctl are traced while they capture files and a journal, with the
// privilege that the unit leaves them: they need no system call that the unit refuses.
func TestTheUnitLetsTheAgentWork(t *testing.T) {
	j, dir := harness.NewJournal(t), t.TempDir()
	write(t, filepath.Join(dir, "app.log"), "a line\n")
	j.Send(t, "MESSAGE", "an entry")
	config := filepath.Join(dir, "log_capturer.yaml")
	write(t, config, "data_dir: "+dir+"/data\nserver: {listen: '127.0.0.1:0'}\ncontainer_monitor: {enabled: false}\ncanary: {enabled: false}\n"+
		"file_monitor: {include: ["+dir+"/*.log]}\njournal_monitor: {enabled: true, since: start, directory: "+j.Dir()+"}\n"+
		"sinks: {out: {type: local_file, path: '"+dir+"/data/{kind}'}}\n")
	trace := filepath.Join(dir, "trace")
	for _, name := range []string{"strace", "setpriv"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is not installed: apt-get install strace util-linux", name)
		}
	}
	cmd := exec.CommandContext(t.Context(), "strace", "-f", "-I", "4", "-qq", "-o", trace,
		"setpriv", "--bounding-set=-all,+dac_read_search", "--no-new-privs", harness.Agent(t), "run", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // strace keeps signals to itself, so they go to all
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	log := filepath.Join(dir, "log")
	stderr, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Cancel() //nolint:errcheck // it has ended, if all is well
	harness.Eventually(t, time.Minute, "a line and an entry", func() (bool, string) {
		file, _ := os.Stat(filepath.Join(dir, "data/file"))
		journal, _ := os.Stat(filepath.Join(dir, "data/journal"))
		return file != nil && journal != nil, read(t, log)
	})
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, read(t, log))
	}
	allowed := allowedCalls(t)
	_, calls, ok := strings.Cut(read(t, trace), "execve(\""+harness.Agent(t)) // what is before is setpriv's
	if !ok || !strings.Contains(calls, "journalctl") {
		t.Error("the trace has not the agent and its journalctl")
	}
	for line := range strings.Lines(calls) {
		call, _, ok := strings.Cut(line[strings.IndexByte(line, ' ')+1:], "(")
		if call = strings.TrimSpace(call); !ok || strings.HasPrefix(call, "<") || strings.HasPrefix(call, "+") || strings.HasPrefix(call, "-") {
			continue
		}
		if !allowed[call] {
			allowed[call] = true // told once
			t.Errorf("the unit refuses %s", line)
		}
	}
}
