package pool

import (
	"container/heap"
	"context"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
)

// The reader of a stream sits in its goroutine and waits for the container to speak, also
// while it holds lines that may go on. When they have waited long enough, one of those who
// poll gives them out: it has the baton while the reader waits, and the reader goes on when
// it has it back.

var _ source.Waiter = (*job)(nil)

// Wait implements source.Waiter.
func (j *job) Wait(due time.Duration) {
	j.baton.Lock()
	j.waiting = true
	j.baton.Unlock()
	j.p.alarm(j, due)
}

// Go implements source.Waiter.
func (j *job) Go() {
	j.baton.Lock()
	j.waiting = false
	j.baton.Unlock()
}

// alarm has a job flushed after due, or earlier if it is about to be anyway.
func (p *Pool) alarm(j *job, due time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.alarmed {
		return
	}
	j.alarmed = true
	heap.Push(&p.later, alarm{job: j, due: time.Now().Add(max(due, time.Millisecond)), flush: true})
	if p.later[0].job == j {
		p.rearm()
	}
}

// flush gives out what a job's reader has held for long enough. If that panics, the reader
// is opened again.
func (p *Pool) flush(ctx context.Context, j *job) {
	ok := false
	defer func() {
		if !ok {
			j.failed.Store(true)
			p.wake(j)
		}
	}()
	j.flush(ctx)
	ok = true
}

func (j *job) flush(ctx context.Context) {
	j.baton.Lock()
	defer j.baton.Unlock()
	if !j.waiting {
		return // it goes on, and tells when it waits again
	}
	h, ok := j.reader.(source.Holder)
	if !ok {
		return
	}
	if b := h.Flush(); b != nil {
		_ = j.hand(ctx, b) // what is not delivered is known to the tracker, and read again
	}
	if due, ok := h.Due(); ok {
		j.p.alarm(j, due)
	}
}
