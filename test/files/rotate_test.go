package files

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// reopen is what a configuration of logrotate says to a daemon, and waits for: what is
// compressed must not be written to any more.
const reopen = `
	postrotate
		rm -f %[1]s
		kill -%[3]d %[2]d
		until [ -e %[1]s ]; do sleep 0.01; done
	endscript`

// Directives of modes.
const (
	byDate = "\n\tdateext\n\tdateformat -%Y%m%d-%s"
	second = 1100 * time.Millisecond // such names are one a second
)

// What becomes of the agent meanwhile.
const (
	stays = iota
	stopped
	killed
)

// mode is a way to rotate.
type mode struct {
	name, directives string
	every            time.Duration // 0 = 300 ms
	cut              bool
	agent            int
	memory           bool // the log is on a tmpfs
	link             bool // the agent has another path, which is a symbolic link

	reopen syscall.Signal // for the daemon: its own, since several run at once
}

var modes = []mode{
	{name: "create", directives: "create"},
	{name: "nocreate", directives: "nocreate"},
	{name: "create, on a tmpfs", directives: "create", memory: true},
	{name: "compress", directives: "create\n\tcompress"},
	{name: "compress, delaycompress", directives: "create\n\tcompress\n\tdelaycompress"},
	{name: "dateext", directives: "create" + byDate, every: second},
	{name: "dateext, compress, delaycompress", directives: "create\n\tcompress\n\tdelaycompress" + byDate, every: second},
	{name: "compress, delaycompress, the agent stopped", directives: "create\n\tcompress\n\tdelaycompress", agent: stopped},
	{name: "dateext, compress, the agent stopped", directives: "create\n\tcompress" + byDate, every: second, agent: stopped},
	{name: "create, through a symbolic link", directives: "create", link: true},
	{name: "create, through a symbolic link, the agent stopped", directives: "create", link: true, agent: stopped},
	{name: "compress, the agent killed", directives: "create\n\tcompress", agent: killed},
	{name: "copytruncate", directives: "copytruncate", cut: true},
	{name: "copytruncate, on a tmpfs", directives: "copytruncate", cut: true, memory: true},
	{name: "copytruncate, compress", directives: "copytruncate\n\tcompress", cut: true},
	{name: "copytruncate, compress, delaycompress", directives: "copytruncate\n\tcompress\n\tdelaycompress", cut: true},
	{name: "copytruncate, dateext", directives: "copytruncate" + byDate, every: second, cut: true},
	{name: "copytruncate, through a symbolic link", directives: "copytruncate", cut: true, link: true},
	{name: "copytruncate, the agent stopped", directives: "copytruncate", cut: true, agent: stopped},
	{name: "copytruncate, compress, the agent killed", directives: "copytruncate\n\tcompress", cut: true, agent: killed},
}

// inMemory bounds the rotations on a tmpfs, which keeps all that was written.
const inMemory = 10

// rotations is how many there are in each mode; many are for figures, and nothing else runs.
func rotations(t *testing.T) (n int, many bool) {
	t.Helper()
	s := os.Getenv("LOG_CAPTURER_ROTATIONS")
	if s == "" {
		return 2, false
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("LOG_CAPTURER_ROTATIONS: %v", err)
	}
	return n, true
}

func TestLogrotate(t *testing.T) {
	harness.Agent(t) // a build takes its time
	most, many := rotations(t)
	for i, m := range modes {
		m.reopen = syscall.Signal(40 + i) // of those that have no meaning
		t.Run(m.name, func(t *testing.T) {
			if !many {
				t.Parallel()
			}
			n := most
			if m.memory {
				n = min(n, inMemory)
			}
			r := newRig(t, m)
			for done := 0; done < n; {
				done += r.turn(min(2, n-done))
			}
			r.count()
		})
	}
}

// logrotate is where Debian has it, unless PATH says where; scripts/setup installs it.
func logrotate() string {
	if path, err := exec.LookPath("logrotate"); err == nil {
		return path
	}
	return "/usr/sbin/logrotate"
}

// rig is one log, what writes, rotates and reads it.
type rig struct {
	*testing.T
	mode
	dir, conf string
	daemon    *daemon
	tally     *harness.Tally
	agent     *harness.AgentProcess

	turned, downs int
	told          float64 // cuts, by agents that are gone
	other         float64 // losses
}

func newRig(t *testing.T, m mode) *rig {
	t.Helper()
	r := &rig{T: t, mode: m, dir: filepath.Join(t.TempDir(), "log"), tally: harness.NewTally(t)}
	if m.memory {
		dir, err := os.MkdirTemp("/dev/shm", "lc-rotate-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		r.dir = filepath.Join(dir, "log")
	}
	if err := os.Mkdir(r.dir, 0o755); err != nil { // logrotate refuses what others may write to
		t.Fatal(err)
	}
	log, reopened := filepath.Join(r.dir, "app.log"), filepath.Join(t.TempDir(), "reopened")
	directives := m.directives
	if !m.cut {
		directives += fmt.Sprintf(reopen, reopened, os.Getpid(), int(m.reopen))
	}
	r.conf = filepath.Join(t.TempDir(), "logrotate.conf")
	if err := os.WriteFile(r.conf, fmt.Appendf(nil, "%s {\n\trotate 1000\n\t%s\n}\n", log, directives), 0o600); err != nil {
		t.Fatal(err)
	}
	pace := float64(gentle)
	if _, many := rotations(t); many {
		pace = rate
	}
	r.daemon = startDaemon(t, log, reopened, m.reopen, pace)
	if m.link {
		link := filepath.Join(t.TempDir(), "current.log")
		if err := os.Symlink(log, link); err != nil {
			t.Fatal(err)
		}
		log = link
	}
	r.agent = harness.StartAgent(t, fmt.Sprintf(`
container_monitor: {enabled: false}
file_monitor: {include: [%q]}
sinks:
  loki: {url: %s}
`, log, r.tally.URL))
	r.caughtUp(1)
	return r
}

// caughtUp waits until so many lines have come.
func (r *rig) caughtUp(lines int64) {
	r.Helper()
	harness.Eventually(r, 30*time.Second, fmt.Sprint(lines, " lines"), func() (bool, string) {
		have := r.tally.Of(id)
		return have >= lines, fmt.Sprint(have)
	})
}

// turn rotates so often, and returns that.
func (r *rig) turn(n int) int {
	r.Helper()
	switch r.mode.agent {
	case stopped:
		r.note()
		r.agent.Stop(r)
	case killed:
		r.known()
		r.note()
		r.agent.Kill(r)
	}
	for range n {
		wrote, since := r.daemon.lines.Load(), time.Now()
		every := max(r.every, 300*time.Millisecond)
		harness.Eventually(r, time.Minute, "more lines", func() (bool, string) {
			return time.Since(since) > every && r.daemon.lines.Load() > wrote, ""
		})
		out, err := exec.Command(logrotate(), "-f", "-s", r.conf+".state", r.conf).CombinedOutput()
		if err != nil || len(out) > 0 {
			r.Fatalf("logrotate: %v\n%s", err, out)
		}
		r.turned++
	}
	if r.mode.agent != stays {
		r.downs++
		r.agent.Start(r)
		r.caughtUp(r.tally.Of(id) + gentle/10)
	}
	return n
}

// known waits until the agent has saved where it is: what it did in the last second before
// it is killed it does again.
func (r *rig) known() {
	r.Helper()
	now := time.Now()
	harness.Eventually(r, 10*time.Second, "a position", func() (bool, string) {
		path := filepath.Join(r.agent.Data, "positions")
		info, err := os.Stat(path)
		if err != nil || info.ModTime().Before(now) {
			return false, fmt.Sprint(err)
		}
		saved, err := os.ReadFile(path)
		return strings.Contains(string(saved), `"offset"`), fmt.Sprint(err)
	})
}

// note keeps what the agent tells of losses, which ends with it.
func (r *rig) note() {
	m := r.agent.Metrics(r)
	cut := m.Sum("lines_upstream_lost_total", `reason="file_cut"`)
	r.told += cut
	r.other += m.Sum("lines_upstream_lost_total") - cut
}

// count stops the daemon and counts.
func (r *rig) count() {
	r.Helper()
	wrote := r.daemon.end(r.T)
	ledger := harness.NewLedger()
	present, torn := wrote, int64(0)
	if r.cut {
		present, torn = left(r.T, r.dir, ledger)
	} else {
		ledger.Expect(id, 1, wrote)
	}
	var report *harness.Report
	harness.Eventually(r, 2*time.Minute, "all lines", func() (bool, string) {
		report = r.tally.Check(ledger)
		return report.Lost.N == 0, fmt.Sprintf("%+v", report.Lost)
	})
	r.note()
	window := wrote - present
	lost := window - report.Unexpected.N                                       // those that were read before they were cut off
	if lost < 0 || report.Damaged.N+report.Foreign.N > torn*int64(1+r.downs) { // a part of a line may lack its number
		r.Errorf("%d lines lost in the window of %d, %d copies end within a line: %+v", lost, window, torn, report)
	}
	if r.other > 0 || !r.cut && r.told > 0 || r.cut && r.told != float64(r.turned) {
		r.Errorf("%v cuts and %v other losses were told, in %d rotations", r.told, r.other, r.turned)
	}
	// Positions are saved each second, and what was not acknowledged by then comes again.
	if most := int64(r.downs) * 2 * rate; report.Repeated.N > 0 && (r.mode.agent != killed || report.Repeated.N > most) {
		r.Errorf("repeated: %v", report.Repeated)
	}
	r.report(wrote, lost, window, report.Repeated.N)
}

// report adds a row to the table of results, if one is asked for.
func (r *rig) report(wrote, lost, window, repeated int64) {
	inWindow, cuts := "", ""
	if r.cut {
		inWindow, cuts = fmt.Sprint(window), fmt.Sprint(r.told)
	}
	row := fmt.Sprintf("| %s | %d | %d | %d | %d | %s | %s |", r.name, r.turned, wrote, lost, repeated, inWindow, cuts)
	r.Log(row)
	path := os.Getenv("LOG_CAPTURER_RESULTS")
	if path == "" {
		return
	}
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		r.Fatal(err)
	}
	if len(old) == 0 {
		old = []byte("| mode | rotations | lines | lost | repeated | between a copy's end and its cut | cuts that the agent counted |\n|---|---|---|---|---|---|---|\n")
	}
	if err := os.WriteFile(path, []byte(strings.TrimRight(string(old), "\n")+"\n"+row+"\n"), 0o600); err != nil {
		r.Fatal(err)
	}
}
