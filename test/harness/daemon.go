package harness

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
	"time"
)

const (
	daemonReady = 60 * time.Second
	daemonStop  = 40 * time.Second
)

// daemon is a dockerd of our own, with its data, sockets and containerd in dir.
type daemon struct {
	dir  string
	args []string
	env  []string // added to the environment
	name string   // for messages
	proc *process
}

// newDaemon makes the directory; start starts it.
func newDaemon(o EngineOptions) (*daemon, error) {
	if _, err := exec.LookPath("dockerd"); err != nil {
		return nil, errors.New("no Docker engine answers and dockerd is not installed: apt-get install docker.io")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("no Docker engine answers and starting a private one takes root: start Docker, or run as root")
	}
	// A short path: a Unix socket's name has at most 107 bytes.
	dir, err := os.MkdirTemp("", "lc-docker-")
	if err != nil {
		return nil, err
	}
	// A file of our own keeps the host's daemon.json out of it.
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	d := &daemon{dir: dir, name: "dockerd"}
	if o.DataSize > 0 {
		if err := errors.Join(os.Mkdir(d.dataRoot(), 0o711), mountMemory(d.dataRoot(), o.DataSize)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	// The namespaces keep it apart from the host's engine where both share a containerd.
	name := filepath.Base(dir)
	d.args = []string{
		"dockerd",
		"--config-file", filepath.Join(dir, "daemon.json"),
		"--data-root", d.dataRoot(),
		"--exec-root", filepath.Join(dir, "x"),
		"--pidfile", filepath.Join(dir, "pid"),
		"--host", "unix://" + d.socket(),
		"--containerd-namespace", name,
		"--containerd-plugins-namespace", name + "-plugins",
		"--bridge", "none", "--iptables=false", "--ip6tables=false",
		"--shutdown-timeout", "10",
	}
	if o.LiveRestore {
		d.args = append(d.args, "--live-restore")
	}
	d.args = append(d.args, o.Args...)
	return d, nil
}

func (d *daemon) socket() string   { return filepath.Join(d.dir, "s") }
func (d *daemon) dataRoot() string { return filepath.Join(d.dir, "data") }
func (d *daemon) log() string      { return filepath.Join(d.dir, "log") }

// start starts dockerd and waits until ping succeeds. dockerd gives up when its containerd
// is slow to start, and is then started again, as systemd does.
func (d *daemon) start(ctx context.Context, ping func(context.Context) error) error {
	err := d.startOnce(ctx, ping)
	if err != nil && d.proc != nil && strings.Contains(err.Error(), "timeout waiting for containerd") {
		err = d.startOnce(ctx, ping)
	}
	return err
}

func (d *daemon) startOnce(ctx context.Context, ping func(context.Context) error) error {
	// dockerd 20.10 takes a zombie for a containerd that lives, and waits for it in vain.
	if d.containerd() == 0 {
		if err := os.Remove(d.containerdPID()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	p, err := startProcessEnv(d.name, d.log(), syscall.SIGTERM, d.env, d.args...)
	if err != nil {
		return err
	}
	d.proc = p
	var last error
	err = poll(daemonReady, func() (bool, string) {
		if last = ping(ctx); last == nil {
			return true, ""
		}
		if p.ended() || ctx.Err() != nil {
			return true, ""
		}
		return false, last.Error()
	})
	if err == nil {
		err = last
	}
	if err != nil {
		return fmt.Errorf("start %s: %w; the end of its log:\n%s", d.name, errors.Join(err, p.kill()), tail(d.log(), 15))
	}
	return nil
}

func (d *daemon) stop() error {
	if d.proc.ended() {
		return nil
	}
	return d.proc.stop(daemonStop)
}

// close stops dockerd and removes all that it left.
func (d *daemon) close() error {
	errs := []error{d.proc.signal(syscall.SIGCONT), d.stop(), d.killShims(), d.stopContainerd(), d.stopJournal(), d.unmount()}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

// stopContainerd ends the containerd that dockerd started: it may outlive a killed dockerd.
func (d *daemon) stopContainerd() error {
	pid := d.containerd()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return nil //nolint:nilerr // it ended meanwhile
	}
	return poll(10*time.Second, func() (bool, string) {
		return d.containerd() == 0, "containerd is still running"
	})
}

// containerd returns the process id of the containerd that dockerd started, 0 when
// there is none: the number in its file may be a dead one's, or another's by now.
func (d *daemon) containerd() int {
	b, err := os.ReadFile(d.containerdPID())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty for a zombie
	if err != nil || !strings.Contains(string(cmdline), d.dir) {
		return 0
	}
	return pid
}

func (d *daemon) containerdPID() string {
	return filepath.Join(d.dir, "x", "containerd", "containerd.pid")
}
