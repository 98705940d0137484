package pool

import (
	"sync"
	"time"
)

// prompts is how much promptness a pool has left: a bucket that fills with promptRate a
// second, up to promptBurst.
type prompts struct {
	mu   sync.Mutex
	used time.Time // until when all of it is used
}

// take takes one, if there is one.
func (p *prompts) take(now time.Time) bool {
	const each = time.Second / promptRate
	p.mu.Lock()
	defer p.mu.Unlock()
	if full := now.Add(-promptBurst * each); p.used.Before(full) {
		p.used = full
	}
	if p.used.Add(each).After(now) {
		return false
	}
	p.used = p.used.Add(each)
	return true
}

// pauseAfter returns for how long a file is left alone that had something to read, 0 = it is
// armed at once.
func (j *job) pauseAfter(now time.Time) time.Duration {
	j.gap, j.lastBusy = now.Sub(j.lastBusy), now
	switch {
	case j.p.Watcher != nil && j.p.prompts.take(now):
		if j.gap >= prompt {
			return 0
		}
	case j.gap < steady:
		return beat
	}
	return settle
}
