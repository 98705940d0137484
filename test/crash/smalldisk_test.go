package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	smallDisk      = 8 << 20
	ballast        = 7 << 20
	smallDiskLines = 20_000
)

// smallDiskResult is what the process on the small disk tells.
type smallDiskResult struct {
	Lines, Lost, Repeated int64
	Filled                bool // health told that the disk was full
	Resumed               time.Duration
	Error                 string
}

// ledgerJournal is a ledger that may be told from many goroutines.
type ledgerJournal struct {
	mu sync.Mutex
	*ledger
}

func (l *ledgerJournal) note(k kind, source int, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(k, source, n)
}

func (l *ledgerJournal) sum(of func(*ledger) map[int]int64) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range of(l.ledger) {
		n += v
	}
	return n
}

// onASmallDisk fills a disk of its own, in a mount namespace that ends with the process.
func onASmallDisk() int {
	result, err := fillAndFree(os.Getenv(victimDir))
	if err != nil {
		result.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return exitFailed
	}
	return exitOK
}

func fillAndFree(dir string) (res smallDiskResult, err error) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return res, fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("small", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
		return res, fmt.Errorf("mount a tmpfs: %w", err)
	}
	heavy := filepath.Join(dir, "ballast")
	if err := os.WriteFile(heavy, make([]byte, ballast), 0o600); err != nil {
		return res, err
	}
	journal := &ledgerJournal{ledger: newLedger()}
	r, err := openRig(filepath.Join(dir, "data"), journal, options{sources: 3, lines: smallDiskLines, spoolMax: 64 << 20, segment: 64 << 10})
	if err != nil {
		return res, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	r.sink.down.Store(true)
	// What the lane has taken of a source and tries to send holds that source up after a
	// failure, until the sink is back. Here that is another one.
	if err := r.sources[1].run(ctx, batchLines); err != nil {
		return res, err
	}
	if err := eventually("a lease of the first stream", func() bool { return r.ails("sink."+sinkName, errDown.Error()) }); err != nil {
		return res, err
	}
	stream := r.sources[2]
	ran := make(chan error, 1)
	go func() { ran <- errors.Join(stream.run(ctx, smallDiskLines), stream.settle(ctx)) }()
	acked := func() int64 { return journal.sum(func(l *ledger) map[int]int64 { return l.acked }) }
	if err := eventually("a full disk", func() bool { return r.ails("sink."+sinkName, "no space left") }); err != nil {
		return res, err
	}
	res.Filled = true
	full := journal.sum(func(l *ledger) map[int]int64 { return l.read })
	if err := os.Remove(heavy); err != nil {
		return res, err
	}
	freed := time.Now()
	if err := eventually("acknowledgements when there is room again", func() bool { return acked() > full }); err != nil {
		return res, err
	}
	res.Resumed = time.Since(freed)
	r.sink.down.Store(false)
	file := r.sources[0]
	if err := errors.Join(file.run(ctx, smallDiskLines/10), file.settle(ctx), r.sources[1].settle(ctx), <-ran); err != nil {
		return res, err
	}
	if err := r.end(ctx); err != nil {
		return res, err
	}
	none := newLedger()
	res.Lines, res.Lost, res.Repeated, err = r.count(filepath.Join(dir, "data"), none, func(source int) int64 { return journal.acked[source] })
	if want := int64(smallDiskLines + smallDiskLines/10 + batchLines); err == nil && res.Lines != want {
		err = fmt.Errorf("%d lines are acknowledged at the end, want %d", res.Lines, want)
	}
	return res, err
}

// The disk of the spool fills while the sink is down, and has room again later.
func TestAFullDiskIsSurvived(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), role+"=full disk", victimDir+"="+t.TempDir())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var res smallDiskResult
	if err := json.Unmarshal(out, &res); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if res.Error != "" || res.Lost > 0 || !res.Filled || res.Resumed > 10*time.Second {
		t.Errorf("%+v", res)
	}
	row(t, "the disk of the spool fills (tmpfs, 8 MB) and is freed", 1, res.Lines, res.Lost, res.Repeated,
		"went on "+res.Resumed.Round(time.Millisecond).String()+" after there was room")
}
