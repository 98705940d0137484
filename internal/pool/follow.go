package pool

import (
	"context"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/task"
)

// slot tells whether a job is to be followed: it may be, and has a slot. If it should have
// another one's, that one's stream is ended.
func (p *Pool) slot(j *job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !j.mayFollow() {
		p.giveBack(j)
		return false
	}
	for {
		ok, victim := p.slots.ask(j, time.Now())
		if victim == nil {
			return ok
		}
		if victim.state == following {
			victim.unstream()
			return false
		}
		p.giveBack(victim) // it has not begun
	}
}

// mayFollow tells whether a stream is what the job is to be read by. The caller holds
// the pool's lock.
func (j *job) mayFollow() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.target.Container
	api := j.target.Mode == source.Stream || j.target.Mode == source.File && j.fallen.reason != ""
	return api && !j.target.Gone && !j.done.Load() && (c == nil || c.Running) && j.ctx.Err() == nil
}

// giveBack takes a job's slot and gives it to the busiest of those without one. The
// caller holds the pool's lock.
func (p *Pool) giveBack(j *job) {
	if !p.slots.has(j) {
		return
	}
	now := time.Now()
	best := p.slots.giveBack(j)
	if p.slots.surplus() >= 0 {
		return // there are fewer slots than there were
	}
	if best != nil && (best.byFile || !best.mayFollow()) {
		best = nil
	}
	if best == nil {
		best = p.busiest(j, now)
	}
	if best == nil {
		return
	}
	if ok, _ := p.slots.ask(best, now); ok {
		best.urgent = true
		p.wakeLocked(best)
	}
}

// busiest returns the busiest of those that are polled for want of a slot, but for one.
func (p *Pool) busiest(but *job, now time.Time) (best *job) {
	var most float64
	for _, j := range p.jobs {
		if j == but || j.byFile || p.slots.has(j) || !j.mayFollow() {
			continue
		}
		if rate, _ := j.volume.at(now); best == nil || rate > most || rate == most && j.id < best.id {
			best, most = j, rate
		}
	}
	return best
}

// unstream ends the job's goroutine, which may not have begun yet. The caller holds the
// pool's lock.
func (j *job) unstream() {
	j.evicted = true
	if j.stop != nil {
		j.stop()
	}
}

// follow is the goroutine of a job that has a slot: it reads until the container stands
// still or the slot is given to another one.
func (j *job) follow(ctx context.Context) {
	if j.begun { // a panic brought us here
		j.failed.Store(true)
	}
	j.begun = true
	run, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(j.ctx, stop)() //nolint:contextcheck // either of the two ends it
	j.p.mu.Lock()
	j.stop = stop
	if j.evicted {
		stop()
	}
	j.p.mu.Unlock()
	j.setMode(source.Stream)
	next := again{more: true}
	for run.Err() == nil {
		if next = j.read(run); next.more {
			continue
		}
		if next.ended || next.pause == 0 || j.isGone() {
			break
		}
		task.Sleep(run, next.pause)
	}
	if l, ok := j.reader.(leaver); ok {
		l.Leave()
	}
	if run.Err() != nil {
		next = again{more: true}
	}
	j.begun = false
	j.p.unfollow(j, next)
}

// unfollow ends what follow was.
func (p *Pool) unfollow(j *job, next again) {
	j.setMode(source.Poll)
	p.mu.Lock()
	p.giveBack(j)
	j.stop, j.evicted, j.state = nil, false, running
	j.mu.Lock()
	next.more = !next.ended && (next.more || j.changed)
	j.mu.Unlock()
	p.mu.Unlock()
	p.put(j, next)
}
