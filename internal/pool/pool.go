// Package pool runs readers for the targets that discovery announces.
//
// Log files and json-files are shared out to a few workers, so their number does not
// change the number of goroutines; each holds its descriptors from the moment it is
// announced. Containers that are read through the Engine API are polled by a few
// workers as well, but for those that hold one of the slots for follow streams: these
// have a goroutine each. A reader that fails, or a batch of which was not delivered, is
// opened again from the last acknowledged cursor; one whose file cannot be read any
// more goes on through the API, and returns. What is no container and is followed, systemd's
// journal, has a slot as well, and can be held up.
//
// The pool owns the readers, and the cursors' way from a reader to the store.
package pool

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/task"
)

// How the workers share their time.
const (
	// quantum is how many batches a log is read before the next one's turn.
	quantum = 8
	// pollTime bounds the turn of a container that is polled and writes faster than it is read.
	pollTime = 10 * time.Second
	// A log that was just read is watched again at once when what was read before is steady
	// or longer ago: a line costs one read then. So it is down to prompt, as long as there are
	// no more than promptRate such reads a second, promptBurst in a row: a line then waits for
	// nobody. Else it is read every beat, without hints in between: they cost more than the
	// lines do that they tell of.
	prompt      = 5 * time.Millisecond
	promptRate  = 125
	promptBurst = 25
	steady      = 500 * time.Millisecond
	beat        = 200 * time.Millisecond
	// settle is how long a log is left alone otherwise before it is read again or armed.
	settle = 20 * time.Millisecond
	// endPause is how often a log that was read to its end is looked at until all of it
	// is delivered.
	endPause = 200 * time.Millisecond
	// roomPause is how often a poller looks whether there is room again for what it reads.
	roomPause = time.Second
	// sweepInterval is how often every log is looked at that may not tell of a write by a hint.
	sweepInterval = 2 * time.Second
	// hintedSweeps is with how many sweeps each of the others has its turn: should hints be
	// missing, it is soon known of which. looksPerSweep bounds how many have it with one.
	hintedSweeps  = 5
	looksPerSweep = 1000
	// unheard is how often a sweep finds, with no hint in between, what a hint should have
	// told before the log is one of those that may not tell.
	unheard = 2
	// maxPause bounds the pause after a failure to open or read.
	maxPause = 30 * time.Second
	// Pollers is how many containers are polled at the same time, unless Deps says it.
	Pollers = 8
)

// Dispatcher takes over what was read.
type Dispatcher interface {
	// Deliver takes the batch, which it answers for with Done in any case. For a source
	// that can wait it blocks until there is room; for others it fails at once with
	// ErrFull. It fails with ctx's error when that ends first.
	Deliver(ctx context.Context, b *record.Batch) error
	// Ready tells whether Deliver would take a batch of a source that can wait at once.
	Ready(sourceID string) bool
	// Freed returns a channel that is closed when room was made somewhere. To be had before
	// Ready is asked.
	Freed() <-chan struct{}
	// WaitRoom blocks until Deliver would take a batch again.
	WaitRoom(ctx context.Context, sourceID string) error
}

// Deps is what a pool works with.
type Deps struct {
	// Name of the pool: a prefix of log lines.
	Name string
	// Scope is that of the first Run; without it Ready gives one.
	Scope *task.Scope
	// Openers has the reader of files (source.File) and that of the Engine API
	// (source.Stream), which follows and polls.
	Openers    map[source.Mode]source.Opener
	Store      *position.Store
	Dispatcher Dispatcher
	// Arena gives the batches of the pool's own entries: exits and losses.
	Arena *record.Pool
	// Watcher gives hints; nil leaves only the sweep.
	Watcher *tail.Watcher
	// Workers is how many files are read at the same time.
	Workers int
	// MaxOpen is how many files are held open of which all was read; 0 = all.
	MaxOpen int
	// Streams is how many containers are followed at most; the others are polled.
	Streams int
	// Pollers is how many at the same time; 0 = the constant.
	Pollers int
	// PollInterval is how long one of those waits between two polls.
	PollInterval time.Duration
	// Forget tells discovery that a gone target is done with.
	Forget func(id string)
	// Read is told of every batch that was read and handed over.
	Read func(src *record.Source, lines, bytes int)
	// Lost is told of lines that were lost before they could be read.
	Lost func(reason string, lines int64)
	Log  *slog.Logger
}

// Pool runs the readers of one discoverer's targets.
type Pool struct {
	Deps
	readers *task.Scope
	due     chan struct{} // the timer has something else to wait for
	born    time.Time
	// Tickers are those that run.
	Tickers ledger.Account
	open    atomic.Int64 // readers of files
	told    atomic.Bool  // that there are files without hints
	prompts *tail.Bucket
	// shortage is when one was said last, in nanoseconds since the epoch.
	shortage atomic.Int64

	mu           sync.Mutex
	jobs         map[string]*job
	wanted       int // targets of the last Apply
	files, polls *crew
	later        alarms // jobs that settle
	blocked      blocked
	slots        slots
	resting      resting
	made, sweeps int
	closed       bool
	known        []*job // those of before, when it runs again
}

// New returns a pool; nothing runs before Run.
func New(d Deps) *Pool {
	p := &Pool{Deps: d, due: make(chan struct{}, 1), jobs: map[string]*job{}, born: time.Now(), prompts: tail.NewBucket(promptRate, promptBurst)}
	p.slots, p.resting.max, p.resting.regular = newSlots(d.Streams, d.PollInterval), d.MaxOpen, regular
	if d.Scope != nil {
		p.Ready(d.Scope)
	}
	return p
}

// Run reads until the pool's scope ends, then closes all readers, but for those that hold
// a file without a name: nobody could open it again. It blocks until all goroutines
// beneath it have ended.
func (p *Pool) Run(ctx context.Context) {
	if p.Openers[source.File] != nil {
		p.files.start("file")
	}
	if p.Openers[source.Stream] != nil {
		p.polls.start("poll")
	}
	p.mu.Lock()
	known := p.known
	p.known = nil
	p.mu.Unlock()
	for _, j := range known {
		j.start()
	}
	p.timer(ctx)
	p.mu.Lock()
	p.closed = true
	jobs := p.jobs
	p.mu.Unlock()
	_ = p.readers.Close(context.WithoutCancel(ctx))
	for _, j := range jobs {
		j.release()
	}
}

// Ready readies the pool for a Run beneath scope: the first, or another one when the last
// has ended. Readers of before go on where they were, also behind lines that are still
// being delivered.
func (p *Pool) Ready(scope *task.Scope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readers, p.closed = scope.Child("readers"), false
	p.files, p.polls = newCrew(p, max(p.Workers, 1)), newCrew(p, cmp.Or(p.Deps.Pollers, Pollers))
	p.later, p.blocked = nil, nil
	p.resting.order.Init()
	clear(p.slots.holders)
	for _, j := range p.jobs {
		if j.done.Load() {
			j.state = ended
			continue
		}
		j.again()
		p.known = append(p.known, j)
	}
}

// Close closes what Run left open; after Run.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		j.close()
	}
}

// Apply makes the pool's readers those of the targets: always the full set. It
// opens the logs of new targets before it returns, so that a container that lives
// for milliseconds is held.
func (p *Pool) Apply(targets []source.Target) {
	for _, j := range p.apply(targets) {
		j.start()
	}
}

func (p *Pool) apply(targets []source.Target) (fresh []*job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.wanted = len(targets)
	wanted := make(map[string]bool, len(targets))
	for _, t := range targets {
		id := t.Source.ID
		wanted[id] = true
		if j := p.jobs[id]; j != nil {
			j.update(t)
			continue
		}
		j := newJob(p, t)
		p.made++
		p.jobs[id], j.number = j, p.made
		fresh = append(fresh, j)
	}
	for id, j := range p.jobs {
		if !wanted[id] {
			j.leave()
		}
	}
	return fresh
}

// SetStreams changes Deps.Streams. Those who hold a stream too many are polled from now on.
func (p *Pool) SetStreams(limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots.max = limit
	ending := 0
	for j := range p.slots.holders {
		switch {
		case ending >= p.slots.surplus():
			return
		case j.state == following:
			ending++
			j.unstream()
		default:
			p.giveBack(j) // it has not begun
		}
	}
}

// timer wakes what has settled or waits for room, and sweeps.
func (p *Pool) timer(ctx context.Context) {
	sweep := ledger.NewTicker(ctx, &p.Tickers, sweepInterval)
	defer sweep.Stop()
	settled := time.NewTimer(time.Hour)
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.due:
		case <-p.freed():
			p.unblock()
		case <-settled.C:
		case <-sweep.C:
			p.sweep()
		}
		if wait := p.settled(time.Now()); wait > 0 {
			settled.Reset(wait)
		}
	}
}

// unhinted says once that files cannot be watched.
func (p *Pool) unhinted(err error) {
	if !errors.Is(err, os.ErrClosed) && !p.told.Swap(true) {
		p.Log.Warn("some files cannot be watched; what is written to them is seen within seconds", "every", sweepInterval, "error", err)
	}
}

// sweep gives idle files a turn, since hints may be missing, sends back to their files who
// can read them again, and lets go of those that have ended.
func (p *Pool) sweep() {
	p.mu.Lock()
	var done, look, fresh, fallen []*job
	p.sweeps++
	p.parkSurplus()
	rounds := max(hintedSweeps, 1+len(p.jobs)/looksPerSweep)
	for key, j := range p.jobs {
		switch {
		case j.finished() && (j.back || j.unread && !j.left):
			if !j.unread {
				p.Store.Remove(j.id)
			}
			j.cancel()
			number := j.number
			j = newJob(p, j.target)
			p.jobs[key], j.number = j, number
			fresh = append(fresh, j)
		case j.finished():
			j.cancel()
			if !j.left {
				p.Store.Remove(j.id)
				done = append(done, j)
			}
			delete(p.jobs, key)
		case j.state == idle && (j.byFile && (!j.tells() || (j.number+p.sweeps)%rounds == 0) || j.exited()):
			look = append(look, j)
		case j.fell():
			fallen = append(fallen, j)
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
	for _, j := range fallen {
		j.tryFile()
	}
}
