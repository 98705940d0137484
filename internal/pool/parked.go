package pool

import (
	"container/list"
	"time"

	"github.com/logcapturer/log_capturer/internal/tail"
)

// resting are the jobs that hold a file open of which nothing is left to be read, the one
// that rests the longest first. Of more than max that one is parked: its reader is closed,
// and opened again where it was when its file is written to, or is another one. The hint
// for that outlives the descriptor. It is bookkeeping, under the pool's lock.
//
// As many again stay open for as long as something new comes every regular.
type resting struct {
	max     int // 0 = there is no bound
	regular time.Duration
	order   list.List
}

// regular is the time in which a file is written to again that it is not worth to close.
const regular = 10 * time.Second

// add notes that j rests now, and returns who is to be parked for it, nil if nobody. One
// that could just not be parked is passed over this time.
func (r *resting) add(j *job) *job {
	if kept := j.keep; r.max == 0 || kept {
		j.keep = false
		return nil
	}
	j.resting = r.order.PushBack(j)
	return r.surplus()
}

func (r *resting) surplus() *job {
	if r.max == 0 || r.order.Len() <= r.max {
		return nil
	}
	j, _ := r.order.Front().Value.(*job)
	if r.order.Len() <= 2*r.max && j.gap < r.regular && time.Since(j.lastBusy) < r.regular {
		return nil // a sweep asks again
	}
	r.remove(j)
	return j
}

func (r *resting) remove(j *job) {
	if j.resting != nil {
		r.order.Remove(j.resting)
		j.resting = nil
	}
}

// park sends a job that rests to where its file is closed. The caller holds the lock.
func (p *Pool) park(j *job) {
	j.toPark = true
	p.crewOf(j).add(j)
}

// SetMaxOpen changes Deps.MaxOpen.
func (p *Pool) SetMaxOpen(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting.max = n
	p.parkSurplus()
}

// parkSurplus parks those that are too many. The caller holds the lock.
func (p *Pool) parkSurplus() {
	for j := p.resting.surplus(); j != nil; j = p.resting.surplus() {
		p.park(j)
	}
}

// crowded tells whether so many files are open that the next one is opened in its turn only.
func (p *Pool) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resting.max > 0 && p.open.Load() >= int64(p.resting.max)
}

// parkable is what readers of files offer: they tell whether all was read.
type parkable interface{ AtRest() (tail.Seen, bool) }

// parked is what is known of a file that was closed.
type parked struct {
	seen   tail.Seen
	hinted bool // a write to it is told by a hint
}

// park closes the job's file if all of it was read and delivered.
func (j *job) park() bool {
	j.toPark, j.keep = false, true
	r, ok := j.reader.(parkable)
	if !ok || j.failed.Load() || !j.tracker.Settled() {
		return false
	}
	if w, ok := j.reader.(waiting); ok {
		if _, holds := w.Due(); holds {
			return false
		}
	}
	hinted := j.armed.Load()
	seen, ok := r.AtRest()
	if !ok {
		return false
	}
	j.tracker.Advance(j.cursor())
	j.closeReader() // but the hint stays
	j.mu.Lock()
	j.tracker = nil // the store knows as much
	j.mu.Unlock()
	j.parked, j.keep = &parked{seen, hinted}, false
	return true
}

// unpark tells of a parked job whether it stays so, and whether it is gone, and nothing is
// left of it to be read; else it is not parked any more.
func (j *job) unpark() (stays, gone bool) {
	quiet := j.parked.hinted && j.armed.Load() // nothing was written to it
	j.mu.Lock()
	gone = quiet && j.target.Gone
	j.mu.Unlock()
	if gone || (quiet || !j.parked.hinted) && !j.failed.Load() && !j.isGone() && !j.parked.seen.Changed() {
		return true, gone
	}
	j.parked = nil
	j.armed.Store(false)
	j.replaced = quiet
	return false, false
}
