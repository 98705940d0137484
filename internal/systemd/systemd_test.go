package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// systemd listens as the service manager does; t.Setenv leads to it.
func systemd(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "lc-") // t.TempDir may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	return conn
}

// told returns the next message; "" when there is none for so long.
func told(t *testing.T, conn *net.UnixConn, within time.Duration) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestWithoutAManagerNothingIsSaid(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m := Find(quiet())
	if m != nil {
		t.Fatal("found a manager")
	}
	m.Ready("running") // of nil
	m.Reloading()
	m.Stopping(time.Second)
}

func TestTheLifeOfAService(t *testing.T) {
	conn := systemd(t)
	m := Find(quiet())
	m.Ready("healthy;\n2 lines")
	m.Reloading()
	m.Stopping(12 * time.Second)
	for _, want := range []string{
		`READY=1\nSTATUS=healthy; 2 lines`,
		`RELOADING=1\nMONOTONIC_USEC=[0-9]{6,}\nSTATUS=reloading the configuration`,
		`STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000\nSTATUS=stopping: .*`,
	} {
		if got := told(t, conn, 5*time.Second); !regexp.MustCompile(`^` + want + `$`).MatchString(got) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
}

// run runs the watchdog's loop until the test ends.
func run(t *testing.T, m *Manager, look func() (string, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(ctx, look) }()
	t.Cleanup(func() { cancel(); <-ended })
}

// While the process is alive there is a sign in each half of the time; when it is not, there
// is none until it is again.
func TestTheWatchdogHearsOfALivingProcessOnly(t *testing.T) {
	conn := systemd(t)
	t.Setenv("WATCHDOG_USEC", "400000")
	var dead atomic.Bool
	run(t, Find(quiet()), func() (string, error) {
		if dead.Load() {
			return "", errors.New("a lane stands still")
		}
		return "fine", nil
	})
	start := time.Now()
	for range 3 {
		if got := told(t, conn, 5*time.Second); got != "WATCHDOG=1\nSTATUS=fine" {
			t.Fatalf("got %q", got)
		}
	}
	if took := time.Since(start); took < 550*time.Millisecond {
		t.Errorf("three signs within %s, want them 200ms apart", took)
	}
	dead.Store(true)
	until(t, conn, "STATUS=not alive: a lane stands still")
	for range 3 {
		if got := told(t, conn, 5*time.Second); got != "STATUS=not alive: a lane stands still" {
			t.Fatalf("a dead process says %q", got)
		}
	}
	dead.Store(false)
	until(t, conn, "WATCHDOG=1\nSTATUS=fine")
}

func until(t *testing.T, conn *net.UnixConn, want string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if told(t, conn, time.Second) == want {
			return
		}
	}
	t.Fatalf("it never says %q", want)
}

func TestALookThatHangsIsNoSignOfLife(t *testing.T) {
	conn := systemd(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	hang := make(chan struct{})
	asked := make(chan struct{}, 100)
	run(t, Find(quiet()), func() (string, error) { asked <- struct{}{}; <-hang; return "back", nil })
	defer close(hang)
	<-asked
	if got := told(t, conn, 200*time.Millisecond); got != "" {
		t.Errorf("it says %q", got)
	}
}

// A socket's queue holds few messages. A process that waited for a manager that hangs would
// hang with it.
func TestAManagerThatDoesNotReadHoldsUpNobody(t *testing.T) {
	systemd(t)
	m := Find(quiet())
	start := time.Now()
	for !m.failed.Load() {
		m.Ready("running")
		if time.Since(start) > 10*time.Second {
			t.Fatal("the queue has no end here; the test tests nothing")
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it was held up for %s", took)
	}
}

func TestTheWatchdogOfAnotherProcessIsLeftAlone(t *testing.T) {
	systemd(t)
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getppid()))
	if m := Find(quiet()); m == nil || m.watchdog != 0 {
		t.Errorf("got %+v", m)
	}
}

func TestWhoCannotBeToldIsComplainedOfOnce(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	t.Setenv("WATCHDOG_USEC", "nonsense")
	var log strings.Builder
	m := Find(slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		m.Ready("x")
	}
	if n := strings.Count(log.String(), "systemd cannot be told"); n != 1 || !strings.Contains(log.String(), "WATCHDOG_USEC") {
		t.Errorf("%d complaints:\n%s", n, log.String())
	}
}
