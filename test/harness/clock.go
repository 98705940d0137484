package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Clock is the wall clock of one agent. Its monotonic clock goes on as it is, as with a
// host whose clock is set.
type Clock struct {
	agent *AgentProcess
	path  string
}

// clockFile is added to the agent: a signal has it read how far its clock is off.
const clockFile = `package main

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"
	_ "unsafe"
)

//go:linkname wallStep time.wallStep
var wallStep int64

func init() {
	set := make(chan os.Signal, 1)
	signal.Notify(set, syscall.SIGUSR2)
	go func() {
		for range set {
			text, _ := os.ReadFile(%q)
			wallStep, _ = strconv.ParseInt(string(text), 10, 64)
		}
	}()
}
`

// StartAgentWithClock starts the agent, built with a standard library whose time.Now can
// be set off from outside.
func StartAgentWithClock(t testing.TB, config string) (*AgentProcess, *Clock) {
	t.Helper()
	dir := t.TempDir()
	c := &Clock{path: filepath.Join(dir, "step")}
	bin := filepath.Join(dir, "log_capturer")
	overlay, err := c.overlay(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := goBuild(t.Context(), []string{"CGO_ENABLED=0"}, "-overlay", overlay, "-o", bin, "./cmd/log_capturer"); err != nil {
		t.Fatal(err)
	}
	c.agent = startAgent(t, bin, config)
	return c.agent, c
}

func (c *Clock) overlay(dir string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	library := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // the tests run where they are built
	source, err := os.ReadFile(library)
	if err != nil {
		return "", err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(string(source), now) {
		return "", errors.New("time.Now is not what it was; look at how it reads the clock, and mend harness.Clock")
	}
	patched := strings.Replace(string(source), now, now+"\tsec += wallStep\n", 1) +
		"\n//go:linkname wallStep\nvar wallStep int64 // seconds\n"
	files := map[string]string{
		library: patched,
		filepath.Join(root, "cmd", "log_capturer", "clock_of_tests.go"): fmt.Sprintf(clockFile, c.path),
	}
	replace := map[string]string{}
	for path, text := range files {
		at := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[path] = at
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, data, 0o600)
}

// Set sets the agent's clock d off the machine's, and waits until it is.
func (c *Clock) Set(t testing.TB, d time.Duration) {
	t.Helper()
	if err := os.WriteFile(c.path, fmt.Appendf(nil, "%d", int64(d/time.Second)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(c.agent.PID(), syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	Eventually(t, 10*time.Second, fmt.Sprintf("a clock that is %v off", d), func() (bool, string) {
		s, err := c.agent.Resources()
		off := time.Until(s.Time)
		return err == nil && (off-d).Abs() < time.Minute, fmt.Sprintf("it is %v, %v", off, err)
	})
}
