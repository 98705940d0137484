package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/logcapturer/log_capturer/bench/null"
	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
)

// look is how often the server is asked while an agent works.
const look = 20 * time.Millisecond

// trial is one agent at one job, with a server that has seen nothing.
type trial struct {
	ctx    context.Context
	server *null.Server
	proc   *peer.Process
	run    *report.Run
	// patience is how long nothing new may come before what is missing counts as lost.
	patience time.Duration
}

// try starts a server and then the agent, has do watch them, ends both and counts. What
// fails is in the run's Why: one agent's failure is no other's.
func (c *comparison) try(a *peer.Agent, run report.Run, job peer.Job, before func(*null.Server) error, do func(*trial) error) report.Run {
	fail := func(err error) report.Run {
		run.Why = err.Error()
		return run
	}
	if a.Missing != "" {
		return fail(errors.New(a.Missing))
	}
	var err error
	if job.Dir, err = os.MkdirTemp(c.dir, "agent-"); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(job.Dir)
	server, err := null.Start(c.serverCore)
	if err != nil {
		return fail(err)
	}
	defer server.Close() //nolint:errcheck // what it counted was asked for
	if before != nil {
		if err := before(server); err != nil {
			return fail(err)
		}
	}
	job.Server = server.Addr
	proc, err := a.Start(c.agentCore, job)
	if err != nil {
		return fail(err)
	}
	err = do(&trial{ctx: c.ctx, server: server, proc: proc, run: &run, patience: c.patience})
	proc.Stop()
	said := proc.Log()
	last, reportErr := server.Report()
	if err := errors.Join(err, reportErr); err != nil {
		return fail(err)
	}
	run.Server, run.Lost = last, run.Lines-last.Lines
	if run.Lost > 0 && last.Error != "" {
		said = last.Error
	}
	if !run.Counts() {
		fmt.Fprintf(os.Stderr, "  %s lost %d of %d lines and repeated %d; the end of what it said:\n%s\n", a.Name, run.Lost, run.Lines, last.Repeated, said)
	}
	return run
}

// wait waits until so many lines have come, or nothing new has come for too long, and returns
// what the server knew then.
func (t *trial) wait(lines int64) (null.Report, error) {
	moved, had := time.Now(), int64(0)
	for {
		r, err := t.server.Report()
		if err != nil || r.Lines >= lines {
			return r, err
		}
		if r.Lines > had {
			moved, had = time.Now(), r.Lines
		}
		if !t.proc.Running() {
			return r, fmt.Errorf("it ended by itself: %s", t.proc.Last())
		}
		if time.Since(moved) > t.patience {
			if had == 0 {
				return r, fmt.Errorf("no line came within %s: %s %s", t.patience, r.Error, t.proc.Last())
			}
			return r, nil
		}
		if err := pause(t.ctx, look); err != nil {
			return r, err
		}
	}
}

// deliver waits for all lines and notes what they took, the agent's start included.
func (t *trial) deliver() error {
	r, err := t.wait(t.run.Lines)
	if err != nil {
		return err
	}
	t.run.Seconds = time.Unix(0, r.Last).Sub(t.proc.Began).Seconds()
	t.run.Requests = r.Requests
	return t.used(0)
}

// used notes the agent's memory and its processor time since it had had some.
func (t *trial) used(since time.Duration) error {
	cpu, rss, err := t.proc.Usage()
	if err != nil {
		return err
	}
	t.run.CPU, t.run.RSS = (cpu - since).Seconds(), rss
	return nil
}

// watch runs something for a while and notes what the agent does meanwhile.
func (t *trial) watch(something func() error) error {
	before, err := t.server.Report()
	if err != nil {
		return err
	}
	cpu, _, err := t.proc.Usage()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := something(); err != nil {
		return err
	}
	t.run.Seconds = time.Since(began).Seconds()
	if err := t.used(cpu); err != nil {
		return err
	}
	after, err := t.server.Report()
	t.run.Requests = after.Requests - before.Requests
	return err
}

// pause waits, or returns why it was interrupted.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
