package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/test/harness"
)

// fake makes a journalctl of a shell script.
func fake(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journalctl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return path
}

const oneEntry = `printf '__CURSOR=c1\n__REALTIME_TIMESTAMP=1700000000000001\nMESSAGE=one\n\n'` + "\n"

func TestWhatIsWrongWithJournalctlIsTold(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"complaint":    {"echo No journal files were opened due to insufficient permissions. >&2; exit 1", "journalctl ended; it is started again, behind the last entry that was read: exit status 1: No journal files were opened due to insufficient permissions."},
		"many":         {"yes complaint | head -c 300000 >&2; exit 3", "exit status 3: complaint complaint"},
		"silent":       {"exit 0", "behind the last entry that was read: it said nothing"},
		"half":         {"printf '__CURSOR=x\\nMESSAGE=half'; kill -9 $$", "signal: killed"},
		"other format": {"echo -- Journal begins at Mon. --; exec sleep 60", "is not the journal's export format"},
		"no time":      {"printf '__CURSOR=x\\nMESSAGE=y\\n\\n'; exec sleep 60", "an entry has no cursor or no time"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Choice{})
			r.Command = fake(t, c.script)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_ = r.step(ctx) // where it begins
			if err := r.step(ctx); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 2000 {
				t.Errorf("%v", err)
			}
			if len(r.got) > 0 || r.Stats.Children.Load() != 0 {
				t.Errorf("%v, %d children", r.got, r.Stats.Children.Load())
			}
		})
	}
}

func TestWithoutJournalctlTheErrorSaysWhatToDo(t *testing.T) {
	r := newRig(t, Choice{})
	r.Command = "journalctl-that-is-not-there"
	_ = r.step(t.Context())
	if err := r.step(t.Context()); err == nil || !strings.Contains(err.Error(), "install systemd's journalctl, or set journal_monitor.journalctl") {
		t.Error(err)
	}
}

// What was read before the child ended is given out, and its successor is asked for what is
// behind it.
func TestASuccessorGoesOnBehindTheLastEntry(t *testing.T) {
	r := newRig(t, Choice{})
	asked := filepath.Join(t.TempDir(), "asked")
	r.Command = fake(t, `echo "$@" >>`+asked+"\n"+oneEntry+"printf '__CURSOR=c2\\n__REALTIME_TIME'\n")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r.open().behind = 100 * 365 * 24 * time.Hour // its entries are old, and it is not
	r.read(1)
	for _, want := range []error{errEnded, source.ErrIdle, errEnded} { // idle: the second one is at its place
		if err := r.step(ctx); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	text, err := os.ReadFile(asked)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err != nil || len(lines) != 2 || strings.Contains(lines[0], "--cursor") || !strings.Contains(lines[1], "--cursor=c1 ") {
		t.Errorf("%v: %q", err, lines)
	}
	if len(r.got) != 1 || r.lost != 0 || r.Stats.Ended.Load() != 2 {
		t.Errorf("%v, %d losses, %d ended", r.got, r.lost, r.Stats.Ended.Load())
	}
}

// A child that hangs in the middle of an entry, and does not care for signals that can be
// ignored: the entry before is not held back, and it ends with the reader.
func TestAStuckChildEndsWithTheReader(t *testing.T) {
	r := newRig(t, Choice{})
	r.Command = fake(t, "trap '' TERM INT HUP PIPE\n"+strings.TrimSuffix(oneEntry, "'\n")+"__CURSOR=c2\\n'\nwhile :; do sleep 0.01; done")
	began := time.Now()
	r.read(1)
	pid := r.reader.child.cmd.Process.Pid
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.step(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it takes %s", took)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child is there: %v", err)
	}
	// The next call goes on, and so does Close without one.
	r.Command = fake(t, oneEntry+"printf '__CURSOR=c2\\n__REALTIME_TIMESTAMP=1700000000000002\\nMESSAGE=two\\n\\n'; kill -STOP $$")
	if all := r.read(2); all[1].text != "two" || r.lost != 0 {
		t.Errorf("%v, %d losses", all, r.lost)
	}
}

// orphan asks this program to be an agent with that journalctl.
const orphan = "LOG_CAPTURER_TEST_ORPHAN"

func beAnAgentThatIsKilled() {
	o := &Opener{Pool: record.NewPool(1 << 20), Command: os.Getenv(orphan), Choice: Choice{Priority: Least}, MaxLine: 1024, Stats: &Stats{}}
	base := &record.Source{ID: "journal"}
	base.Streams[record.OutputNone] = record.NewStream(nil, nil)
	opened, err := o.Open(context.Background(), source.Target{Source: base}, position.Cursor{})
	for err == nil || errors.Is(err, source.ErrIdle) {
		if r := opened.(*Reader); r.child != nil {
			fmt.Println(r.child.cmd.Process.Pid)
		}
		_, err = opened.Next(context.Background())
	}
	fmt.Println(err)
}

func TestTheChildDiesWithAnAgentThatIsKilled(t *testing.T) {
	command := fake(t, oneEntry+"while :; do sleep 0.05; done") // the real one would see that nobody reads
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.CommandContext(t.Context(), program)
	agent.Env = append(os.Environ(), orphan+"="+command)
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 100)
	n, _ := out.Read(text)
	child, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatal(err)
	}
	_ = agent.Process.Kill()
	_ = agent.Wait()
	harness.Eventually(t, patience, "the child's end", func() (bool, string) {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(state), ") Z "), string(state)
	})
}
