package doctor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/test/harness"
)

// levels returns the level of each finding, sorted.
func levels(c Container) (out []Level) {
	for _, f := range c.Findings {
		out = append(out, f.Level)
	}
	slices.Sort(out)
	return out
}

func TestTheLossWindowOfRealContainers(t *testing.T) {
	engine := harness.Engine(t)
	rotated := map[string]string{"max-size": "1m", "max-file": "3"}
	const rate, size = 200, 500
	// A record is the line, its newline as \n, and what is around it (about 75 bytes).
	const perSecond = rate * (size + 75)
	engine.Run(t, harness.RunOptions{Name: "doctor-slow", LogOpts: rotated, Args: []string{"-rate", fmt.Sprint(rate), "-size", fmt.Sprint(size)}})
	// It rotates about twice a second.
	engine.Run(t, harness.RunOptions{Name: "doctor-fast", LogOpts: rotated, Args: []string{"-rate", fmt.Sprint(20 * rate), "-size", fmt.Sprint(size)}})
	engine.Run(t, harness.RunOptions{Name: "doctor-forever", Args: []string{"-rate", "50"}})
	engine.Run(t, harness.RunOptions{Name: "doctor-local", Driver: "local", Args: []string{"-rate", "50"}})
	engine.Run(t, harness.RunOptions{Name: "doctor-none", Driver: "none", Args: []string{"-rate", "1"}})
	engine.Run(t, harness.RunOptions{Name: "doctor-left", Args: []string{"-rate", "1"}})

	h := place{DockerHost: engine.Host(), DataDir: t.TempDir()}.host()
	h.Glob, h.Sample = "doctor-*", time.Second
	h.Containers.Exclude.Names = []string{"doctor-left"}
	begin := time.Now()
	r := Examine(t.Context(), h)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if c := r.check(t, sectionEngine, "reachable"); c.Level != OK || !strings.Contains(c.Found, "API 1.") {
		t.Errorf("%+v", c)
	}
	for name, written := range map[string]float64{"doctor-slow": perSecond, "doctor-fast": 20 * perSecond} {
		c := r.container(t, name)
		right := 3e6 / written
		if c.LossWindow == nil || *c.LossWindow < right/2 || *c.LossWindow > right*2 {
			t.Errorf("%s: window %v, want about %.2f s; %+v", name, text(c.LossWindow), right, c)
		}
		if c.Mode != source.File || c.Reason == "" {
			t.Errorf("%s: %s because %q", name, c.Mode, c.Reason)
		}
	}
	if c := r.container(t, "doctor-fast"); c.Level != Warn || !strings.Contains(c.Findings[0].Found, "less than a minute") {
		t.Errorf("a short window is no finding: %+v", c)
	}
	if c := r.container(t, "doctor-forever"); c.LossWindow != nil || c.Rate == nil || *c.Rate == 0 || windowText(c) != "no limit (disk)" || c.Level != Warn {
		t.Errorf("%+v", c)
	}
	if c := r.container(t, "doctor-local"); c.Mode != source.Stream || c.Rate != nil || rateText(c) != "unknown" || c.Level != OK {
		t.Errorf("%+v", c)
	}
	for name, why := range map[string]string{"doctor-none": "log driver is none", "doctor-left": "exclude"} {
		if c := r.container(t, name); c.Captured || !strings.Contains(c.Reason, why) {
			t.Errorf("%+v", c)
		}
	}
}

func text(f *float64) string {
	if f == nil {
		return "unknown"
	}
	return fmt.Sprint(*f)
}

func TestAnEngineThatCannotBeReached(t *testing.T) {
	dir := t.TempDir()
	abandoned := filepath.Join(dir, "abandoned")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: abandoned})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for host, want := range map[string]string{
		"unix://" + dir + "/none":   "there is no such socket",
		"unix://" + abandoned:       "nobody listens",
		"tcp://127.0.0.1:1":         "connection refused",
		"unix://" + dir + "/none/x": "no such socket",
	} {
		r := Examine(t.Context(), place{DockerHost: host, DataDir: dir}.host())
		if c := r.check(t, sectionEngine, "reachable"); c.Level != Fail || !strings.Contains(c.Found, want) || c.Fix == "" || r.Verdict != Fail {
			t.Errorf("%s: %+v", host, c)
		}
	}
}

func TestAnEngineThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it is never accepted from, as by a process that is stopped
	begin := time.Now()
	r := Examine(t.Context(), place{DockerHost: "unix://" + l.Addr().String(), DataDir: t.TempDir()}.host())
	if took := time.Since(begin); took > reachTime+2*time.Second {
		t.Errorf("it took %s", took)
	}
	if c := r.check(t, sectionEngine, "reachable"); c.Level != Fail || !strings.Contains(c.Found, "no answer within 5s") || !strings.Contains(c.Fix, "accepts connections but does not answer") {
		t.Errorf("%+v", c)
	}
}

func TestAJSONFileThatMayNotBeRead(t *testing.T) {
	engine := dockertest.New(t)
	open(t, t.TempDir(), strings.TrimPrefix(engine.Host(), "unix://"))
	path := filepath.Join(engine.Root, "containers", "abc", "abc-json.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o000); err != nil {
		t.Fatal(err)
	}
	engine.Create(dockertest.Container{ID: "abc", Name: "web", Running: true, LogPath: path})
	r := asNobody(t, place{DockerHost: engine.Host(), DataDir: "/"})
	c := r.container(t, "web")
	if c.Mode != source.Stream || !strings.Contains(c.Reason, "may not be read by this user") {
		t.Errorf("%s because %q", c.Mode, c.Reason)
	}
	if got := levels(c); !slices.Equal(got, []Level{Warn, Warn}) || !strings.Contains(c.Findings[0].Fix, "CAP_DAC_READ_SEARCH") {
		t.Errorf("%+v", c.Findings)
	}
	if d := r.check(t, sectionAgent, "data_dir"); d.Level != Fail || !strings.Contains(d.Found, "permission denied") || !strings.Contains(d.Fix, "data_dir") {
		t.Errorf("%+v", d)
	}
}

// open lets everybody reach a socket, and the directories above it.
func open(t *testing.T, dir, socket string) {
	t.Helper()
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, start := range []string{dir, filepath.Dir(socket)} {
		for d := start; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}
