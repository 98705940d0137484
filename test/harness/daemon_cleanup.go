package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// killShims ends the containers that a killed, or live-restoring, dockerd left
// running: each shim that names dir, and its children.
func (d *daemon) killShims() error {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	var shims, rest []int
	parent := map[int]int{}
	for _, file := range procs {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		cmdline, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		if strings.Contains(string(cmdline), "containerd-shim") && strings.Contains(string(cmdline), d.dir+"/") {
			shims = append(shims, pid)
		} else {
			rest = append(rest, pid)
			parent[pid] = parentOf(pid)
		}
	}
	for _, pid := range rest {
		if slices.Contains(shims, parent[pid]) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
	for _, pid := range shims {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}

// parentOf reads the parent's id from /proc; 0 when pid has ended.
func parentOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// unmount takes off what a killed dockerd left mounted beneath dir.
func (d *daemon) unmount() error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil //nolint:nilerr // not Linux: there is nothing to unmount
	}
	var points []string
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 1 && strings.HasPrefix(f[1], d.dir+"/") {
			points = append(points, f[1])
		}
	}
	slices.Reverse(points)
	var errs []error
	for _, p := range points {
		if err := detach(p); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}
