package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// The victim's arguments, in its environment.
const (
	victimDir = "LOG_CAPTURER_CRASH_DIR"

	victimSources = 3
	victimLines   = 120
)

// Its ends: refused means that it did not start, and said why.
const (
	exitOK = iota
	exitFailed
	exitRefused
)

// victim is the process that is killed, or whose system calls fail. All that reaches the
// disk is done by one thread, so that the Nth call of a kind is the Nth of the process.
func victim() int {
	dir := os.Getenv(victimDir)
	box, err := mapBlackbox(os.NewFile(3, "blackbox"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	runtime.LockOSThread()
	thread := unix.Gettid()
	calls := make(chan func())
	disk := func(f func()) {
		if unix.Gettid() == thread {
			f()
			return
		}
		ran := make(chan struct{})
		calls <- func() { defer close(ran); f() }
		<-ran
	}
	done := make(chan int, 1)
	go func() { done <- script(filepath.Join(dir, "data"), box, disk) }()
	for {
		select {
		case call := <-calls:
			call()
		case code := <-done:
			return code
		}
	}
}

func script(dir string, j journal, disk func(func())) int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := openRig(dir, j, options{
		sources: victimSources, lines: victimLines, disk: disk,
		wrap: onThread(disk),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitRefused
	}
	if err := r.load(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	_ = r.end(ctx) // an error is of a call that was made to fail; the verdict counts
	return exitOK
}
