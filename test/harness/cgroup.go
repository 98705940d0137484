package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Cgroup is a control group with a limit of memory. It takes root.
type Cgroup struct{ dir, limit string }

// NewCgroup makes one, of version 2 or 1 as the host has it; it is removed when the test
// ends, after what runs in it.
func NewCgroup(t testing.TB, limit int64) *Cgroup {
	t.Helper()
	const root = "/sys/fs/cgroup"
	name := fmt.Sprintf("lc-%d", os.Getpid())
	c := &Cgroup{filepath.Join(root, "memory", name), "memory.limit_in_bytes"}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		c = &Cgroup{filepath.Join(root, name), "memory.max"}
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0o600) // it may be so already
	}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		t.Fatalf("make a control group: %v", err)
	}
	t.Cleanup(func() {
		Eventually(t, agentStop, "an empty control group", func() (bool, string) {
			err := os.Remove(c.dir)
			return err == nil || errors.Is(err, os.ErrNotExist), fmt.Sprint(err)
		})
	})
	if err := os.WriteFile(filepath.Join(c.dir, c.limit), []byte(strconv.FormatInt(limit, 10)), 0o600); err != nil {
		t.Fatalf("limit a control group: %v", err)
	}
	return c
}

// Enter is a command that execs what follows it in the group. See StartAgentUnder.
func (c *Cgroup) Enter() []string {
	return []string{"sh", "-c", fmt.Sprintf(`echo $$ > %s/cgroup.procs && exec "$@"`, c.dir), "sh"}
}

// Kills returns how often the kernel has ended a process of the group for want of memory.
func (c *Cgroup) Kills(t testing.TB) int64 {
	t.Helper()
	for _, file := range []string{"memory.events", "memory.oom_control"} {
		text, err := os.ReadFile(filepath.Join(c.dir, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
				n, err := strconv.ParseInt(value, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatal("the control group does not say how many it has killed")
	return 0
}
