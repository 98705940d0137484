package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// child is a journalctl that runs. It has no goroutine: its output is read by who asks for
// it, and what it complains of stays in a pipe until it has ended.
type child struct {
	cmd        *exec.Cmd
	out        *os.File
	complaints int // descriptor
	held       *ledger.Holding
}

// find returns where journalctl is.
func find(command string) (string, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return "", fmt.Errorf("read the journal: %w; install systemd's journalctl, or set journal_monitor.journalctl to where it is", err)
	}
	return path, nil
}

// environment is journalctl's: nothing of the agent's but PATH.
func environment() []string {
	return []string{"LC_ALL=C", "SYSTEMD_COLORS=0", "PATH=" + os.Getenv("PATH")}
}

// startChild starts journalctl. It dies with the agent, however that ends.
func startChild(ctx context.Context, command string, args []string, account *ledger.Account) (*child, error) {
	path, err := find(command)
	if err != nil {
		return nil, err
	}
	out, outEnd, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer outEnd.Close()
	// Neither end waits: what a child complains of when the pipe is full is not kept.
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("read the journal: %w", err), out.Close())
	}
	complaints := os.NewFile(uintptr(ends[1]), "stderr of journalctl")
	defer complaints.Close()
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // configured, and ended by close
	cmd.Stdout, cmd.Stderr = outEnd, complaints
	cmd.Env = environment()
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the journal: start %s: %w", path, err), out.Close(), unix.Close(ends[0]))
	}
	c := &child{cmd: cmd, out: out, complaints: ends[0]}
	c.held = ledger.Open(ledger.OwnerOf(ctx), account, c)
	return c, nil
}

// interrupt has a read of its output fail, now and later.
func (c *child) interrupt() { _ = c.out.SetReadDeadline(time.Unix(1, 0)) }

// close ends it, whatever it is doing, and returns how it ended and what it complained of.
func (c *child) close() error {
	_ = c.cmd.Process.Kill() // it may have ended
	how := c.cmd.Wait()
	text := make([]byte, maxComplaint)
	n, _ := unix.Read(c.complaints, text)
	errs := []error{unix.Close(c.complaints), c.out.Close()}
	c.held.Close()
	said := strings.Join(strings.Fields(string(text[:max(n, 0)])), " ")
	if said == "" {
		said = "it said nothing"
	}
	if how == nil {
		return errors.Join(append(errs, errors.New(said))...)
	}
	return errors.Join(append(errs, fmt.Errorf("%w: %s", how, said))...)
}

// maxComplaint bounds what of a child's complaints is told.
const maxComplaint = 1024
