// Package crash breaks the disk beneath the real positions, queue, spool and dead
// letters, and counts every line afterwards.
//
// A rig (rig_test.go) runs them with scripted sources, whose lines carry source and
// number, and a scripted sink. What it knows for certain at any moment, above all what
// was acknowledged, it tells a journal that outlives it: memory that is shared with the
// process that kills it (blackbox_test.go), or the log of a disk that cuts its power
// (box_test.go). The verdict (verdict_test.go) starts from what is left, and counts.
//
// Ordinary runs take a seeded part of all cases; LOG_CAPTURER_CRASH=full, as make crash
// sets it, takes all of them.
package crash

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/internal/task"
)

// role tells this test binary to be the process that is killed.
const role = "LOG_CAPTURER_CRASH_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "victim":
		os.Exit(victim())
	case "full disk":
		os.Exit(onASmallDisk())
	}
	goleak.VerifyTestMain(m)
}

func full() bool { return os.Getenv("LOG_CAPTURER_CRASH") == "full" }

// some returns n in an ordinary run and all in a full one.
func some(n, all int) int {
	if full() {
		return all
	}
	return n
}

// seed is LOG_CAPTURER_SEED, or one that is told when a test fails.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(1)
	if full() {
		n = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("LOG_CAPTURER_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LOG_CAPTURER_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again with LOG_CAPTURER_SEED=%d", n)
		}
	})
	return n
}

// row adds a row to the Markdown table that LOG_CAPTURER_RESULTS names.
func row(t *testing.T, fault string, runs int, lines, lost, repeated int64, more string) {
	t.Helper()
	text := fmt.Sprintf("| %s | `%s` | %d | %d | %d | %d | %s |\n", fault, t.Name(), runs, lines, lost, repeated, more)
	t.Log(text)
	path := os.Getenv("LOG_CAPTURER_RESULTS")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// memDir is a directory in memory where there is one: what is to survive is decided by
// the tests, and real fsyncs only take time.
func memDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "crash-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// pause is between two looks at a condition.
const pause = 200 * time.Microsecond

// eventually waits for a condition.
func eventually(what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !ok() {
		if !task.Sleep(ctx, pause) {
			return fmt.Errorf("waited %v for %s", patience, what)
		}
	}
	return nil
}
