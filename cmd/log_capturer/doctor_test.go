package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/doctor"
	"github.com/logcapturer/log_capturer/test/harness"
)

// configure writes a configuration into a directory with one log file in it. more are
// further lines.
func configure(t *testing.T, dir, more string) (path string) {
	t.Helper()
	text := fmt.Sprintf("data_dir: %s/data\nserver: {listen: '127.0.0.1:0'}\nfile_monitor: {include: [%s/*.log]}\n%s\n", dir, dir, more)
	path = filepath.Join(dir, "log_capturer.yaml")
	for name, content := range map[string]string{path: text, filepath.Join(dir, "a.log"): "one line\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// tree lists what is in a directory.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDoctorOnAHostThatIsReady(t *testing.T) {
	dir := t.TempDir()
	path := configure(t, dir, "container_monitor: {enabled: false}")
	before := tree(t, dir)
	code, stdout, stderr := command(t, "doctor", "-c", path)
	if code != exitDone || stderr != "" || !strings.Contains(stdout, "  ok    include  1 file, all readable\n") || !strings.Contains(stdout, "\nReady") {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("it left something behind (-before +after):\n%s", diff)
	}
}

func TestDoctorWhereSomethingFails(t *testing.T) {
	dir := t.TempDir()
	path := configure(t, dir, "container_monitor: {docker_host: unix://"+dir+"/none}\nsinks: {loki: {url: 'http://127.0.0.1:1'}}")
	code, stdout, stderr := command(t, "doctor", "-c", path)
	for _, want := range []string{"\n  fail  reachable  " + dir + "/none: there is no such socket\n", "\n  fail  loki  ", "connection refused", "\nNot ready: 2 failures"} {
		if code != exitFailed || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, stderr %q, want %q in:\n%s", code, stderr, want, stdout)
		}
	}
	code, stdout, stderr = command(t, "doctor", "-c", path, "--json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exitFailed || stderr != "" {
		t.Fatalf("exit code %d, stderr %q, %v in:\n%s", code, stderr, err, stdout)
	}
	if report.Verdict != doctor.Fail || report.Config != path || len(report.Checks) < 6 || report.Containers == nil {
		t.Errorf("%+v", report)
	}
	for _, c := range report.Checks {
		if (c.Level == doctor.OK) != (c.Fix == "") {
			t.Errorf("each finding has a fix, and nothing else: %+v", c)
		}
	}
}

func TestDoctorWithAWrongConfiguration(t *testing.T) {
	code, stdout, stderr := command(t, "doctor", "-c", "testdata/log.yaml")
	if code != exitUsage || stdout != "" || strings.Count(stderr, "error: testdata/log.yaml:") != 2 {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// A real Loki must understand the question and store nothing.
func TestDoctorAsksARealLoki(t *testing.T) {
	loki := harness.Loki(t)
	for path, want := range map[string]string{
		"":         "  ok    loki  " + loki.URL + "/loki/api/v1/push takes entries\n",
		"/nowhere": "  fail  loki  " + loki.URL + "/nowhere/loki/api/v1/push answers 404 Not Found",
	} {
		file := configure(t, t.TempDir(), "container_monitor: {enabled: false}\nsinks: {loki: {url: '"+loki.URL+path+"'}}")
		if code, stdout, stderr := command(t, "doctor", "-c", file); (code == exitDone) != (path == "") || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, stderr %q, want %q in:\n%s", code, stderr, want, stdout)
		}
	}
}

// Beside a running agent, on a real engine: nothing of the agent is touched.
func TestDoctorBesideARunningAgent(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Run(t, harness.RunOptions{LogOpts: map[string]string{"max-size": "1m", "max-file": "3"}, Args: []string{"-rate", "100"}})
	agent := harness.StartAgent(t, fmt.Sprintf(`
container_monitor: {docker_host: %q, include: {names: [%s]}}
file_monitor: {enabled: false}
`, engine.Host(), box.Name))
	harness.Eventually(t, 20*time.Second, "lines", func() (bool, string) {
		return agent.Metrics(t).Sum("lines_acked_total") > 0, "none yet"
	})
	code, stdout, stderr := command(t, "doctor", "-c", agent.ConfigPath(), "--for", "500ms")
	if code != exitDone || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	for _, want := range []string{box.Name + "  json-file  file  1 MB × 3", "an agent is running on this data_dir", "is in use, by the running agent it seems", box.Name + ": read as file, its json-file is readable"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	if h := agent.Health(t); h.Status != "healthy" {
		t.Errorf("the agent is %+v afterwards", h)
	}
}
