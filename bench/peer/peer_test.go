package peer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v4"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jobs are the kinds of work that there are.
var jobs = map[string]Job{
	"logs":      {Dir: "/agent", Server: "127.0.0.1:3100", Logs: []string{"/in/*.log"}},
	"json-file": {Dir: "/agent", Server: "127.0.0.1:3100", Logs: []string{"/in/*-json.log"}, Records: true, Engine: "unix:///sock"},
	"API":       {Dir: "/agent", Server: "127.0.0.1:3100", Logs: []string{"/in/*-json.log"}, Records: true, Engine: "unix:///sock", Stream: true},
}

func TestEachAgentIsToldWhatToReadAndWhereToSend(t *testing.T) {
	for _, a := range All() {
		for name, j := range jobs {
			if j.Stream && !a.API {
				continue
			}
			c := a.launch("/at", j)
			where := j.Logs[0]
			if a.Name == Ours && j.Engine != "" || j.Stream {
				where = j.Engine
			}
			// syslog-ng is told the directory and the pattern apart.
			for _, want := range []string{filepath.Dir(where), filepath.Base(where), "127.0.0.1", "3100"} {
				if !strings.Contains(c.config, want) {
					t.Errorf("%s, %s: no %q in\n%s", a.Name, name, want, c.config)
				}
			}
			if !strings.Contains(strings.Join(c.argv, " "), j.config()) {
				t.Errorf("%s, %s is not told its configuration: %v", a.Name, name, c.argv)
			}
			var into map[string]any
			if !strings.Contains(a.Name, "syslog") {
				if err := yaml.Unmarshal([]byte(c.config), &into); err != nil || len(into) < 2 {
					t.Errorf("%s, %s: %v\n%s", a.Name, name, err, c.config)
				}
			}
		}
	}
}

func TestAPeerThatCannotBeHadSaysWhy(t *testing.T) {
	a := &Agent{Name: "none", part: "no-such-peer"}
	a.Find(t.Context(), t.TempDir())
	if !strings.Contains(a.Missing, "unknown peer no-such-peer") {
		t.Fatalf("%q", a.Missing)
	}
	if _, err := a.Start(0, Job{Dir: t.TempDir()}); err == nil {
		t.Fatal("it was started")
	}
}

// The agent here is a shell whose child does the work.
func TestAnAgentIsMeasuredWithItsChildrenAndEndedWithThem(t *testing.T) {
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	a := &Agent{Name: "shell", launch: func(string, Job) command {
		work := `sh -c 'echo $$ >"$PIDS"; while :; do :; done' & echo started; wait`
		return command{argv: []string{"sh", "-c", work}, env: []string{"PIDS=" + pid}}
	}}
	p, err := a.Start(0, Job{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 30*time.Second, "the child's processor time", func() (bool, string) {
		cpu, rss, err := p.Usage()
		return err == nil && cpu > 50*time.Millisecond && rss > 0, "not yet"
	})
	if !p.Running() || p.Last() != "started" {
		t.Fatalf("running: %t, said %q", p.Running(), p.Log())
	}
	p.Stop()
	if p.Running() {
		t.Fatal("it goes on")
	}
	child, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 10*time.Second, "the end of the child", func() (bool, string) {
		b, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(child)), "cmdline"))
		return err != nil || len(b) == 0, "it lives"
	})
	harness.Eventually(t, 10*time.Second, "no usage", func() (bool, string) {
		_, _, err := p.Usage()
		return err != nil, "the kernel clears up after it"
	})
}
