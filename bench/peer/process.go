package peer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// stopGrace is how long an agent may take to end.
const stopGrace = 20 * time.Second

// Process is an agent that runs, with its children, in a process group of its own.
type Process struct {
	// Began is when it was started.
	Began time.Time
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
}

func start(name string, core int, dir string, c command) (*Process, error) {
	p := &Process{name: name, log: filepath.Join(dir, "agent.log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	p.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, c.argv...)...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), c.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.Began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the state tells how it ended
	}()
	return p, nil
}

// Running tells whether the agent lives.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Usage returns the processor time that the agent and its children have had so far, and the
// peaks of their memory, added up.
func (p *Process) Usage() (cpu time.Duration, rss int64, err error) {
	group, err := members(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range group {
		seconds, err := harness.CPUSeconds(pid)
		_, peak, err2 := harness.RSS(pid)
		if errors.Join(err, err2) != nil {
			continue // a child that ended meanwhile
		}
		cpu += time.Duration(seconds * float64(time.Second))
		rss += peak
	}
	if rss == 0 {
		return 0, 0, fmt.Errorf("%s has ended: %s", p.name, p.Last())
	}
	return cpu, rss, nil
}

// members returns the processes of a group.
func members(group int) (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// Behind the name, in parentheses: state, parent, group.
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) > 2 && f[2] == strconv.Itoa(group) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Stop has it end, and kills what does not: some peers wait for what will never come.
func (p *Process) Stop() {
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-timer.C:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// Log returns the end of what the agent said, and Last its last line.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-800):]))
}

// Last returns the last line of what the agent said.
func (p *Process) Last() string {
	all := p.Log()
	return all[strings.LastIndexByte(all, '\n')+1:]
}
