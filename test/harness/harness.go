// Package harness gives tests the real parts: a Docker engine, a Loki, the agent
// as a process, and a ledger that counts lost, repeated and damaged lines.
//
// A part that answers already is used (DOCKER_HOST or the default socket, LOKI_URL);
// otherwise a private one is started, shared by the tests of one binary and stopped
// by Main. A part that cannot be had fails the test with one line that says what to
// install; nothing is skipped. The harness touches only containers, images,
// processes and directories that it made.
//
// Functions that take a testing.TB must be called from the test's own goroutine.
package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests of a package, stops what the harness shares among them, and
// then looks for leaked goroutines. It does not return. Every package that uses
// the harness has
//
//	func TestMain(m *testing.M) { harness.Main(m) }
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(running{m}, options...)
}

type running struct{ m *testing.M }

func (r running) Run() int {
	code := r.m.Run()
	if err := parts.close(); err != nil {
		fmt.Fprintln(os.Stderr, "harness: clean up:", err)
		code = max(code, 1)
	}
	return code
}

// parts is what the tests of one binary share. A part is made on first use; one
// that could not be had is not tried again.
var parts shared

type shared struct {
	mu        sync.Mutex
	engine    *DockerEngine
	engineErr error
	loki      *LokiServer
	lokiErr   error
	agent     string // path of the built binary
	dir       string // holds it
}

func (s *shared) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.engine != nil {
		errs = append(errs, s.engine.Close())
	}
	if s.loki != nil {
		errs = append(errs, s.loki.close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// FreeAddr returns a loopback address, "127.0.0.1:PORT", that was free just now.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Root returns the directory of the main module, found upwards of the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		// cmd/ tells the main module from the nested one of Loki.
		if _, err := os.Stat(filepath.Join(dir, "test", "loggen")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find the module's root: not inside the log_capturer tree")
		}
		dir = up
	}
}

// pollInterval is how often Eventually asks.
const pollInterval = 20 * time.Millisecond

// Eventually asks done until it says true, and fails the test after deadline with
// what was awaited and what done last said of the state. It is the only place
// that may sleep.
func Eventually(t testing.TB, deadline time.Duration, what string, done func() (bool, string)) {
	t.Helper()
	if err := poll(deadline, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func poll(deadline time.Duration, done func() (bool, string)) error {
	end := time.Now().Add(deadline)
	for {
		ok, state := done()
		if ok {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s", deadline, state)
		}
		time.Sleep(pollInterval)
	}
}
