// Package systemd tells the service manager that started this process how it is, in the
// words of sd_notify(3): that it has started, reloads and stops, what it does, and, for
// WatchdogSec=, that it is alive.
//
// A process that no manager listens to has a nil *Manager, whose methods do nothing. A
// manager that does not read what it is told holds up nobody. The package owns no
// goroutine: Run is to be called by one.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/task"
)

const (
	// statusEvery is how often the line of systemctl status is brought up to date where no
	// watchdog asks for more.
	statusEvery = 15 * time.Second
	// again is how soon a process that was not alive is looked at once more.
	again = time.Second
	// sendLimit bounds the wait for a manager that does not read.
	sendLimit = time.Second
)

// Manager is the service manager that listens. Its methods are safe for concurrent use.
type Manager struct {
	socket   string
	watchdog time.Duration // what may pass between two signs of life; 0 = anything
	log      *slog.Logger
	failed   atomic.Bool // told already
}

// Find returns the manager that NOTIFY_SOCKET names, or nil where there is none.
func Find(log *slog.Logger) *Manager {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	watchdog, err := watchdog(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"))
	if err != nil {
		log.Warn("systemd's watchdog gets no signs of life: what it asks for cannot be read", "error", err)
	}
	return &Manager{socket: socket, watchdog: watchdog, log: log}
}

// watchdog returns what may pass between two signs of life of this process.
func watchdog(usec, pid string) (time.Duration, error) {
	if usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(1<<63-1)/int64(time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC is %q; expected microseconds", usec)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Ready tells that the process has started whole, or has reloaded.
func (m *Manager) Ready(status string) { m.send("READY=1", line(status)) }

// Reloading tells that the configuration is being read again; Ready has to follow.
func (m *Manager) Reloading() {
	if m == nil {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		m.log.Warn("systemd is not told of a reload: the clock cannot be read", "error", err)
		return
	}
	// With Type=notify-reload the time tells this reload from an earlier one.
	m.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1e3), line("reloading the configuration"))
}

// Stopping tells that the process ends, and asks to be given limit for it, whatever
// TimeoutStopSec= says.
func (m *Manager) Stopping(limit time.Duration) {
	m.send("STOPPING=1", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", limit.Microseconds()), line("stopping: delivering what is held"))
}

// Run gives a sign of life in half of the time that the watchdog allows, and says what the
// process does, until ctx ends. look tells that; its error means that only a restart helps,
// and is as good as look never returning: there is no sign of life.
func (m *Manager) Run(ctx context.Context, look func() (status string, err error)) {
	every := statusEvery
	if m.watchdog > 0 {
		every = min(every, m.watchdog/2)
	}
	alive, next := true, every
	for task.Sleep(ctx, next) {
		next = every
		status, err := look()
		if err != nil {
			next = min(every, again)
			if alive {
				m.log.Error("the agent does not work any more; systemd's watchdog ends it, if it has one", "error", err)
			}
			m.send(line("not alive: " + err.Error()))
		} else if m.watchdog > 0 {
			m.send("WATCHDOG=1", line(status))
		} else {
			m.send(line(status))
		}
		alive = err == nil
	}
}

// line makes text the one line that systemctl status shows.
func line(text string) string { return "STATUS=" + strings.Join(strings.Fields(text), " ") }

func (m *Manager) send(assignments ...string) {
	if m == nil {
		return
	}
	err := write(m.socket, strings.Join(assignments, "\n"))
	if err != nil && m.failed.CompareAndSwap(false, true) {
		m.log.Warn("systemd cannot be told how the agent is, and may take it for dead", "error", err)
	}
}

// write sends one datagram. A name that begins with @ is an abstract socket's.
func write(socket, text string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	err = conn.SetWriteDeadline(time.Now().Add(sendLimit))
	if err == nil {
		_, err = conn.Write([]byte(text))
	}
	return errors.Join(err, conn.Close())
}
