package pool

import (
	"container/heap"
	"context"
	"time"
)

// crew is a few workers that give jobs their turns: one crew for files, one for polls,
// so that an engine that does not answer holds up no file.
type crew struct {
	p     *Pool
	ready chan struct{} // a token for each worker that should look at the queue
	queue []*job        // jobs with something to do; under the pool's lock
	due   []*job        // those that are to be flushed, whatever they do
}

func newCrew(p *Pool, workers int) *crew {
	return &crew{p: p, ready: make(chan struct{}, workers)}
}

func (c *crew) start(name string) {
	for range cap(c.ready) {
		c.p.readers.Go(name, c.work)
	}
}

// add puts a job at the end of the queue. The caller holds the pool's lock.
func (c *crew) add(j *job) {
	j.state = queued
	c.queue = append(c.queue, j)
	c.signal()
}

func (c *crew) signal() {
	select {
	case c.ready <- struct{}{}:
	default: // enough tokens for all workers to look
	}
}

// work gives one job after the other its turn.
func (c *crew) work(ctx context.Context) {
	for {
		j, flush := c.next(ctx)
		switch {
		case j == nil:
			return
		case flush:
			c.p.flush(ctx, j)
		default:
			c.p.give(ctx, j)
		}
	}
}

func (c *crew) next(ctx context.Context) (j *job, flush bool) {
	for {
		c.p.mu.Lock()
		if last := len(c.due) - 1; last >= 0 && ctx.Err() == nil {
			j, c.due[last] = c.due[last], nil
			c.due = c.due[:last]
			if last > 0 || len(c.queue) > 0 {
				c.signal()
			}
			c.p.mu.Unlock()
			return j, true
		}
		if len(c.queue) > 0 && ctx.Err() == nil {
			j := c.queue[0]
			c.queue[0] = nil
			c.queue = c.queue[1:]
			j.state = running
			if len(c.queue) > 0 {
				c.signal()
			}
			c.p.mu.Unlock()
			return j, false
		}
		c.p.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, false
		case <-c.ready:
		}
	}
}

// again is what a job wants after its turn: another one, one after a pause, or neither:
// one at the next hint.
type again struct {
	more, ended bool
	pause       time.Duration
	// stream: it got a slot, and goes on in a goroutine of its own.
	stream bool
	// blocked: it waits for room at a sink, for as long as the pause at most.
	blocked bool
	// parked: its file is closed until it changes.
	parked bool
}

// wake gives a job a turn soon.
func (p *Pool) wake(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLocked(j)
}

func (p *Pool) wakeLocked(j *job) {
	switch j.state {
	case idle, settling:
		p.resting.remove(j)
		p.crewOf(j).add(j)
	case running:
		j.state = runAgain
	case following:
		if j.failed.Load() { // what was not delivered does not wait until the container speaks
			j.unstream()
		}
	}
}

// crewOf returns who gives a job its turns. The caller holds the pool's lock.
func (p *Pool) crewOf(j *job) *crew {
	if j.byFile {
		return p.files
	}
	return p.polls
}

// give gives a job its turn. One that panics is opened again, later.
func (p *Pool) give(ctx context.Context, j *job) {
	next, ok := again{pause: time.Second}, false
	defer func() {
		if !ok {
			j.failed.Store(true)
		}
		p.put(j, next)
	}()
	next, ok = j.turn(ctx), true
}

// put files a job after its turn.
func (p *Pool) put(j *job, next again) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed: // Run has looked at it already
		j.release()
	case next.ended:
		j.state = ended
		p.giveBack(j)
	case next.stream && p.slots.has(j):
		j.state = following
		p.readers.Go("stream", j.follow)
	case next.stream || next.more || j.state == runAgain && (next.pause <= settle || j.urgent):
		p.crewOf(j).add(j)
	case next.pause > 0:
		j.state, j.due = settling, time.Now().Add(next.pause)
		heap.Push(&p.later, alarm{job: j, due: j.due})
		if p.later[0].job == j {
			p.rearm()
		}
		if next.blocked {
			p.block(j)
		}
	case next.parked || !j.byFile:
		j.state = idle
	default:
		j.state = idle
		if other := p.resting.add(j); other != nil {
			p.park(other)
		}
	}
	j.urgent = false
}

// rearm has the timer look again at what it waits for.
func (p *Pool) rearm() {
	select {
	case p.due <- struct{}{}:
	default:
	}
}

// alarms are the jobs that settle or are to be flushed, as a heap by when they are due.
type alarms []alarm

type alarm struct {
	job   *job
	due   time.Time
	flush bool
}

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, k int) bool { return a[i].due.Before(a[k].due) }
func (a alarms) Swap(i, k int)      { a[i], a[k] = a[k], a[i] }

// Push implements heap.Interface.
func (a *alarms) Push(x any) { *a = append(*a, x.(alarm)) }

// Pop implements heap.Interface.
func (a *alarms) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = alarm{}
	*a = (*a)[:last]
	return x
}

// settled queues the jobs that are due and returns how long it is until the next is,
// 0 = there is none.
func (p *Pool) settled(now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.later) > 0 {
		next := p.later[0]
		switch {
		case !next.flush && (next.job.state != settling || !next.job.due.Equal(next.due)): // woken meanwhile
		case next.due.After(now):
			return next.due.Sub(now)
		case next.flush:
			next.job.alarmed = false
			p.polls.due = append(p.polls.due, next.job)
			p.polls.signal()
		default:
			p.crewOf(next.job).add(next.job)
		}
		heap.Pop(&p.later)
	}
	return 0
}
