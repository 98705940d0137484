package harness

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// journalRemote makes journal files of exported entries.
const journalRemote = "/lib/systemd/systemd-journal-remote"

// journalService runs a journal in a mount namespace of its own, in which the places of the
// machine's journal are directories of ours. $1 is the directory.
const journalService = `set -eu
mkdir -p /run/systemd /run/log
mount --bind "$1/run" /run/systemd
mount --bind "$1/log" /run/log
exec JOURNAL
`

// journalConfig has it forward nothing, limit nobody, and leave the kernel's log alone.
const journalConfig = `[Journal]
Storage=volatile
RateLimitIntervalSec=0
RuntimeMaxUse=512M
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToKMsg=no
ForwardToConsole=no
ForwardToWall=no
`

// Journal is a systemd-journald of a test's own, without systemd.
type Journal struct {
	dir   string
	proc  *process
	write *net.UnixConn
}

// NewJournal starts one. It is gone when the test ends.
func NewJournal(t testing.TB) *Journal {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a private journal takes root here: run as root")
	}
	for what, from := range map[string]string{"journalctl": "systemd", journal: "systemd", "unshare": "util-linux"} {
		if _, err := exec.LookPath(what); err != nil {
			t.Fatalf("%s is not installed: apt-get install %s", what, from)
		}
	}
	dir, err := os.MkdirTemp("", "lc-journal-") // short: a socket's name has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	j := &Journal{dir: dir}
	t.Cleanup(func() {
		if err := j.close(); err != nil {
			t.Error(err)
		}
	})
	if err := j.start(); err != nil {
		t.Fatalf("%v; the end of its log:\n%s", err, tail(j.log(), 15))
	}
	return j
}

func (j *Journal) log() string { return filepath.Join(j.dir, "journald.log") }

// Dir has the journal's files.
func (j *Journal) Dir() string { return filepath.Join(j.dir, "log", "journal") }

func (j *Journal) start() error {
	config := filepath.Join(j.dir, "run", "journald.conf.d")
	if err := errors.Join(os.MkdirAll(config, 0o755), os.MkdirAll(j.Dir(), 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(config, "test.conf"), []byte(journalConfig), 0o644); err != nil {
		return err
	}
	p, err := startProcess("systemd-journald", j.log(), syscall.SIGKILL,
		"unshare", "--mount", "--propagation", "private", "sh", "-c", strings.ReplaceAll(journalService, "JOURNAL", journal), "sh", j.dir)
	if err != nil {
		return err
	}
	j.proc = p
	return poll(20*time.Second, func() (bool, string) {
		j.write, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: filepath.Join(j.dir, "run", "journal", "socket"), Net: "unixgram"})
		return err == nil, fmt.Sprint(err)
	})
}

func (j *Journal) close() error {
	var errs []error
	if j.write != nil {
		errs = append(errs, j.write.Close())
	}
	if j.proc != nil {
		errs = append(errs, j.proc.stop(10*time.Second))
	}
	return errors.Join(append(errs, os.RemoveAll(j.dir))...)
}

// Send writes an entry of fields, NAME and value by turns, as programs do.
func (j *Journal) Send(t testing.TB, fields ...string) {
	t.Helper()
	if _, err := j.write.Write(AppendExport(nil, fields...)); err != nil {
		t.Fatal(err)
	}
}

// Rotate has the journal begin a new file, and waits until it has.
func (j *Journal) Rotate(t testing.TB) {
	t.Helper()
	before := len(j.Archived(t))
	if err := j.proc.signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	Eventually(t, 20*time.Second, "an archived journal", func() (bool, string) {
		n := len(j.Archived(t))
		return n > before, fmt.Sprintf("%d archived files, as before", n)
	})
}

// Archived returns the files that were rotated away.
func (j *Journal) Archived(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(j.Dir(), "*", "system@*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Vacuum removes the files that were rotated away.
func (j *Journal) Vacuum(t testing.TB) {
	t.Helper()
	for _, file := range j.Archived(t) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// AppendExport appends fields, NAME and value by turns, as the journal exports an entry.
func AppendExport(to []byte, fields ...string) []byte {
	for i := 0; i+1 < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		to = append(to, name...)
		if strings.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == '\uFFFD' }) < 0 {
			to = append(append(append(to, '='), value...), '\n')
			continue
		}
		to = binary.LittleEndian.AppendUint64(append(to, '\n'), uint64(len(value)))
		to = append(append(to, value...), '\n')
	}
	return to
}

// ImportJournal makes a journal file of exported entries, with an empty line behind each.
func ImportJournal(t testing.TB, path string, exported []byte) {
	t.Helper()
	if _, err := os.Stat(journalRemote); err != nil {
		t.Fatal("systemd-journal-remote is not installed: apt-get install systemd-journal-remote")
	}
	cmd := exec.CommandContext(t.Context(), journalRemote, "--output="+path, "-")
	cmd.Stdin = bytes.NewReader(exported)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a journal of exported entries: %v: %s", err, out)
	}
}
