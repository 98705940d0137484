package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// clockTick is the unit of CPU time in /proc/PID/stat, in seconds: USER_HZ is 100 on
// every Linux architecture that Go supports.
const clockTick = 0.01

// FDs returns what each open descriptor of a process is, as the links of /proc/PID/fd
// say: a path, "socket:[…]", "anon_inode:…". It takes the rights to look at the process.
func FDs(pid int) ([]string, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("count descriptors: %w", err)
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("count descriptors: %w", err)
		}
		out = append(out, target)
	}
	return out, nil
}

// CPUSeconds returns the time that a process has spent on a CPU so far, in user and
// kernel mode, without its children. It counts in steps of 10 ms.
func CPUSeconds(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	// The name, in parentheses, may hold anything. Behind it utime is the 12th field, stime the 13th.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("read CPU time of process %d: /proc has no times", pid)
	}
	user, err := strconv.ParseInt(f[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
	}
	system, err := strconv.ParseInt(f[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
	}
	return float64(user+system) * clockTick, nil
}

// RSS returns the resident memory of a process in bytes, now and at its peak.
func RSS(pid int) (now, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read memory: %w", err)
	}
	for l := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(l, ":")
		into := map[string]*int64{"VmRSS": &now, "VmHWM": &peak}[key]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read memory of process %d: %q: %w", pid, l, err)
		}
		*into = kib << 10
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("read memory of process %d: it has none: it has ended", pid)
	}
	return now, peak, nil
}

// Goroutines returns how many goroutines the agent says it has.
func (a *AgentProcess) Goroutines() (int, error) {
	m, err := a.Scrape()
	if err != nil {
		return 0, err
	}
	return int(m.Sum("log_capturer_goroutines")), nil
}

// StartShippedAgent is StartAgent with the agent as it is shipped, also where the
// tests run with the race detector: for figures of its time and memory. It may be started
// by another command: see StartAgentUnder.
func StartShippedAgent(t testing.TB, config string, wrap ...string) *AgentProcess {
	t.Helper()
	return startAgent(t, ShippedAgent(t), config, wrap...)
}
