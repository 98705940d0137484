package app

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeJournal is a journalctl that notes, when it follows, its process and how it was called,
// has two entries, or what is behind the first of them, and waits.
const fakeJournal = `#!/bin/sh
case "$*" in
*--follow*) echo $$ >>DIR/pids; echo "$@" >>DIR/calls ;;
esac
entry() { printf '__CURSOR=c%s\n__REALTIME_TIMESTAMP=170000000000000%s\nMESSAGE=%s\n_SYSTEMD_UNIT=%s.service\nPRIORITY=3\n\n' $1 $1 "$2" $3; }
case "$*" in
*--cursor=c2*) ;;
*) entry 1 one nginx ;;
esac
entry 2 two cron
exec sleep 600
`

const withJournal = `file_monitor: {enabled: false}
journal_monitor: {enabled: true, journalctl: DIR/journalctl, since: start, units: [nginx, cron]}
sinks: {out: {type: local_file, path: "{data_dir}/out/{source}"}}
`

func journalDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(strings.ReplaceAll(fakeJournal, "DIR", dir)), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return dir
}

func words(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestTheJournalIsCaptured(t *testing.T) {
	dir := journalDir(t)
	a := startWith(t, dir, withJournal)
	eventually(t, "two entries", func() bool { return len(a.in("out/*")) == 2 })
	for i, want := range []string{`"level":"error","unit":"nginx.service"},"line":"one"}`, `"level":"error","unit":"cron.service"},"line":"two"}`} {
		if got := a.in("out/*")[i]; !strings.HasSuffix(got, want) || !strings.Contains(got, `"job":"systemd-journal"`) {
			t.Errorf("%s", got)
		}
	}
	metrics := a.get("/metrics")
	for _, want := range []string{
		`log_capturer_lines_read_total{source="journal"} 2`,
		`log_capturer_task_goroutines{owner="agent/sources/journal/pool"} 1`,
		`log_capturer_task_goroutines{owner="agent/sources/journal/readers/poll"} 1`,
		`log_capturer_task_goroutines{owner="agent/sources/journal/readers/stream"} 1`,
		`log_capturer_held{kind="child",owner="agent/sources/journal/readers"} 1`,
		`log_capturer_journal_restarts_total 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(metrics, `owner="agent/sources/journal/readers/file"`) {
		t.Error("there are workers for files")
	}

	// Off and on: another child goes on behind what was read.
	a.turns(journalMonitor, false)
	eventually(t, "the child's end", func() bool {
		return strings.Contains(a.get("/metrics"), `{kind="child",owner="agent/sources/journal/readers"} 0`)
	})
	a.turns(journalMonitor, true)
	eventually(t, "a second child", func() bool { return len(words(t, filepath.Join(dir, "pids"))) == 2 })
	a.stop()

	// A restart goes on behind it too, and nothing that ran is left.
	a = startWith(t, dir, withJournal)
	eventually(t, "a third child", func() bool { return len(words(t, filepath.Join(dir, "calls"))) == 3 })
	a.stop()
	if got := a.in("out/*"); len(got) != 2 {
		t.Errorf("there are %d entries: %q", len(got), got)
	}
	var cursors []bool
	for _, call := range words(t, filepath.Join(dir, "calls")) {
		cursors = append(cursors, strings.Contains(call, "--unit=nginx.service --unit=cron.service --cursor=c2 "))
	}
	if diff := cmp.Diff([]bool{false, true, true}, cursors); diff != "" {
		t.Error(diff)
	}
	left := slices.DeleteFunc(words(t, filepath.Join(dir, "pids")), func(pid string) bool {
		n, err := strconv.Atoi(pid)
		return err == nil && syscall.Kill(n, 0) != nil
	})
	if len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestWithoutJournalctlHealthSaysWhatToDo(t *testing.T) {
	a := startWith(t, t.TempDir(), withJournal)
	eventually(t, "a degraded journal_monitor", func() bool {
		h := a.get("/health")
		return strings.Contains(h, `"name":"journal_monitor","status":"degraded"`) && strings.Contains(h, "install systemd's journalctl, or set journal_monitor.journalctl")
	})
	a.stop()
}

func TestTheJournalsSettingsTakeARestart(t *testing.T) {
	a := startWith(t, journalDir(t), withJournal)
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	a.configure(strings.Replace(withJournal, "[nginx, cron]", "[nginx]", 1))
	if got := a.reload(); !strings.Contains(got, "journal_monitor.units cannot change while the agent runs") {
		t.Error(got)
	}
	a.stop()
}
