package position

import (
	"sync"

	"github.com/logcapturer/log_capturer/internal/record"
)

// Tracker moves the cursor of one source in order: however late or mixed up the
// acknowledgements of its batches come, the cursor stands behind the last batch
// before which nothing is missing. After a failed batch it stands still for good:
// the source is read again from there, with a new tracker.
//
// It is safe for concurrent use. Memory grows with the batches in flight only.
type Tracker struct {
	moved  func(Cursor)
	failed func()

	mu          sync.Mutex
	acked       Cursor
	read        Cursor
	pending     []*pending // in reading order; a failed batch stays at the head for good
	outstanding int
	stopped     bool
}

type pending struct {
	end   Cursor
	done  bool
	lines int
}

// NewTracker returns a tracker that starts at from. moved is called with each new
// acknowledged cursor, in order; it must be short and must not call back. failed is
// called once, after the first batch that failed.
func NewTracker(from Cursor, moved func(Cursor), failed func()) *Tracker {
	return &Tracker{moved: moved, failed: failed, acked: from, read: from}
}

// Track takes note of a batch that was read, up to end, and sets its OnDone.
func (t *Tracker) Track(b *record.Batch, end Cursor) {
	p := &pending{end: end, lines: len(b.Entries)}
	t.mu.Lock()
	t.pending = append(t.pending, p)
	t.outstanding++
	t.read = end
	t.mu.Unlock()
	b.OnDone(func(o record.Outcome) { t.ended(p, o) })
}

func (t *Tracker) ended(p *pending, o record.Outcome) {
	t.mu.Lock()
	t.outstanding--
	p.done = o == record.Delivered
	first := !p.done && !t.stopped
	t.stopped = t.stopped || first
	n := 0
	for n < len(t.pending) && t.pending[n].done {
		n++
	}
	if n > 0 {
		t.acked = t.pending[n-1].end
		clear(t.pending[:n])
		t.pending = t.pending[n:]
		t.moved(t.acked)
	}
	t.mu.Unlock()
	if first {
		t.failed()
	}
}

// Acked returns the cursor behind everything that has been taken care of.
func (t *Tracker) Acked() Cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acked
}

// Read returns the cursor behind the last batch tracked.
func (t *Tracker) Read() Cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read
}

// Outstanding returns how many batches nobody has answered for yet. After a failure
// the source is read again only when there are none, or they would be sent twice.
func (t *Tracker) Outstanding() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outstanding
}

// Owed returns the lines behind the acknowledged cursor.
func (t *Tracker) Owed() (lines int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pending {
		lines += int64(p.lines)
	}
	return lines
}

// Settled tells whether everything tracked was answered, and delivered.
func (t *Tracker) Settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outstanding == 0 && !t.stopped
}

// Advance notes a place that was reached without a batch: there was nothing to
// deliver before it. The cursor moves there once all batches are acknowledged.
func (t *Tracker) Advance(end Cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || end.File != nil && t.read.File != nil && *end.File == *t.read.File {
		return
	}
	t.read = end
	if n := len(t.pending); n > 0 {
		t.pending[n-1].end = end
		return
	}
	t.acked = end
	t.moved(end)
}
