// Package pool runs readers for the targets that discovery announces.
//
// Log files and json-files are shared out to a few workers, so their number does not
// change the number of goroutines; each holds its descriptors from the moment it is
// announced. Follow streams have one goroutine each. A reader that fails, or a batch
// of which was not delivered, is opened again from the last acknowledged cursor.
//
// The pool owns the readers, and the cursors' way from a reader to the store.
package pool

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/task"
)

// How the file workers share their time.
const (
	// quantum is how many batches a log is read before the next one's turn.
	quantum = 8
	// settle is how long a log that was just read is left alone before it is read
	// again or armed: many lines then cost one read instead of one each.
	settle = 20 * time.Millisecond
	// endPause is how often a log that was read to its end is looked at until all of it
	// is delivered.
	endPause = 200 * time.Millisecond
	// sweepInterval is how often every log is looked at whatever the hints say.
	sweepInterval = 2 * time.Second
	// maxPause bounds the pause after a failure to open or read.
	maxPause = 30 * time.Second
)

// Dispatcher takes over what was read.
type Dispatcher interface {
	// Deliver takes the batch, which it answers for with Done in any case. For a source
	// that can wait it blocks until there is room; for others it fails at once with
	// ErrFull. It fails with ctx's error when that ends first.
	Deliver(ctx context.Context, b *record.Batch) error
	// WaitRoom blocks until Deliver would take a batch again.
	WaitRoom(ctx context.Context, sourceID string) error
}

// Deps is what a pool works with.
type Deps struct {
	// Name of the pool: a goroutine owner and a prefix of log lines.
	Name       string
	Scope      *task.Scope
	Openers    map[source.Mode]source.Opener
	Store      *position.Store
	Dispatcher Dispatcher
	// Watcher gives hints; nil leaves only the sweep.
	Watcher *tail.Watcher
	// Workers is how many logs are read at the same time.
	Workers int
	// Forget tells discovery that a gone target is done with.
	Forget func(id string)
	// Read is told of every batch that was read and handed over.
	Read func(src *record.Source, lines, bytes int)
	Log  *slog.Logger
}

// Pool runs the readers of one discoverer's targets.
type Pool struct {
	Deps
	readers *task.Scope
	ready   chan struct{} // a token for each worker that should look at the queue
	due     chan struct{} // the first job began to settle

	mu      sync.Mutex
	jobs    map[string]*job
	queue   []*job    // file jobs with something to do
	later   []*job    // file jobs that settle
	nextDue time.Time // when the first of them is due, as far as the timer knows
	closed  bool
}

// New returns a pool; nothing runs before Run.
func New(d Deps) *Pool {
	return &Pool{Deps: d, readers: d.Scope.Child("readers"),
		ready: make(chan struct{}, max(d.Workers, 1)), due: make(chan struct{}, 1), jobs: map[string]*job{}}
}

// Run reads until the pool's scope ends, then closes all readers. It blocks until
// all goroutines beneath it have ended.
func (p *Pool) Run(ctx context.Context) {
	for range max(p.Workers, 1) {
		p.readers.Go("file", p.work)
	}
	p.timer(ctx)
	p.mu.Lock()
	p.closed = true
	jobs := p.jobs
	p.mu.Unlock()
	_ = p.readers.Close(context.WithoutCancel(ctx))
	for _, j := range jobs {
		j.unwatch()
		j.close()
	}
}

// Apply makes the pool's readers those of the targets: always the full set. It
// opens the logs of new targets before it returns, so that a container that lives
// for milliseconds is held.
func (p *Pool) Apply(targets []source.Target) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	wanted := make(map[string]bool, len(targets))
	var fresh []*job
	for _, t := range targets {
		id := t.Source.ID
		wanted[id] = true
		j := p.jobs[id]
		if j != nil && j.mistaken(t) {
			j.leave()
			p.jobs[id+" (replaced)"] = j // until it has ended
			j = nil
		}
		if j == nil {
			j = newJob(p, t)
			p.jobs[id] = j
			fresh = append(fresh, j)
			continue
		}
		j.update(t)
	}
	for id, j := range p.jobs {
		if !wanted[id] {
			j.leave()
		}
	}
	p.mu.Unlock()
	for _, j := range fresh {
		j.start()
	}
}

// Count returns how many targets are read in each mode.
func (p *Pool) Count() map[source.Mode]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[source.Mode]int{}
	for _, j := range p.jobs {
		out[j.mode]++
	}
	return out
}

// wake puts a file job on the queue of those with something to do.
func (p *Pool) wake(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLocked(j)
}

func (p *Pool) wakeLocked(j *job) {
	switch j.state {
	case idle, settling:
		j.state = queued
		p.queue = append(p.queue, j)
		p.signal()
	case running:
		j.state = runAgain
	}
}

func (p *Pool) signal() {
	select {
	case p.ready <- struct{}{}:
	default: // enough tokens for all workers to look
	}
}

// work is a file worker: it gives one log after the other its turn.
func (p *Pool) work(ctx context.Context) {
	for {
		j := p.next(ctx)
		if j == nil {
			return
		}
		p.give(ctx, j)
	}
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

func (p *Pool) next(ctx context.Context) *job {
	for {
		p.mu.Lock()
		if len(p.queue) > 0 && ctx.Err() == nil {
			j := p.queue[0]
			p.queue[0] = nil
			p.queue = p.queue[1:]
			j.state = running
			if len(p.queue) > 0 {
				p.signal()
			}
			p.mu.Unlock()
			return j
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-p.ready:
		}
	}
}

// put files a job after its turn: more asks for another one, pause for one then,
// and neither for one at the next hint.
func (p *Pool) put(j *job, next again) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed: // Run has looked at it already
		j.unwatch()
		j.close()
	case next.ended:
		j.state = ended
	case next.more || j.state == runAgain && next.pause <= settle:
		j.state = queued
		p.queue = append(p.queue, j)
		p.signal()
	case next.pause > 0:
		j.state, j.due = settling, time.Now().Add(next.pause)
		p.later = append(p.later, j)
		if p.nextDue.IsZero() || j.due.Before(p.nextDue) {
			p.nextDue = j.due
			select {
			case p.due <- struct{}{}:
			default:
			}
		}
	default:
		j.state = idle
	}
}

// timer wakes what has settled, and sweeps.
func (p *Pool) timer(ctx context.Context) {
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	settled := time.NewTimer(time.Hour)
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.due:
		case <-settled.C:
		case <-sweep.C:
			p.sweep()
		}
		if wait := p.settled(time.Now()); wait > 0 {
			settled.Reset(wait)
		}
	}
}

// settled queues the jobs that are due and returns how long it is until the next is.
func (p *Pool) settled(now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.later[:0]
	for _, j := range p.later {
		switch {
		case j.state != settling: // woken meanwhile
		case j.due.After(now):
			kept = append(kept, j)
			if d := j.due.Sub(now); wait == 0 || d < wait {
				wait = d
			}
		default:
			j.state = queued
			p.queue = append(p.queue, j)
			p.signal()
		}
	}
	clear(p.later[len(kept):])
	p.later, p.nextDue = kept, time.Time{}
	if wait > 0 {
		p.nextDue = now.Add(wait)
	}
	return wait
}

// sweep gives every idle log a turn, since hints may be missing, and lets go of
// those that have ended.
func (p *Pool) sweep() {
	p.mu.Lock()
	var done, look, fresh []*job
	for key, j := range p.jobs {
		switch {
		case j.finished() && j.back:
			p.Store.Remove(j.id)
			j.cancel()
			j = newJob(p, j.target)
			p.jobs[key] = j
			fresh = append(fresh, j)
		case j.finished():
			j.cancel()
			if !j.left {
				p.Store.Remove(j.id)
				done = append(done, j)
			}
			delete(p.jobs, key)
		case j.mode == source.File && j.state == idle:
			look = append(look, j)
		}
	}
	p.mu.Unlock()
	for _, j := range done {
		p.Forget(j.id)
	}
	for _, j := range fresh {
		j.start()
	}
	for _, j := range look {
		p.wake(j)
	}
}
