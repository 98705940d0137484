package queue

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// Place is room that was reserved for one batch. It ends with one Give or Cancel.
type Place struct {
	// Memory tells that the room is in memory, else it is on disk.
	Memory bool
	bytes  int64
	flow   *flow
}

// Reserve keeps room for b: in memory, or, when there is none or the source has
// batches in the spool that this one must follow, on disk. ErrFull means that there is
// none, ErrClosed that Close was called. The batches of one source are reserved and
// given one after the other.
func (q *Queue) Reserve(b *record.Batch) (Place, error) {
	q.mu.Lock()
	if size := b.Size(); !q.closed && q.roomFor(b.Source.ID, b.Source.CanWait, size) {
		defer q.mu.Unlock()
		q.used += size
		return Place{Memory: true, bytes: size, flow: q.flows.charge(b.Source, size)}, nil
	}
	q.mu.Unlock()
	return q.ReserveDisk(b)
}

// ReserveDisk is Reserve on disk alone.
func (q *Queue) ReserveDisk(b *record.Batch) (Place, error) {
	q.mu.Lock()
	broken := !q.closed && time.Now().Before(q.broken)
	q.mu.Unlock()
	if broken {
		return Place{}, ErrFull
	}
	return q.reserveDisk(b)
}

// reserveDisk keeps room in the spool, for what the source has in memory too: that
// goes there first.
func (q *Queue) reserveDisk(b *record.Batch) (Place, error) {
	q.mu.Lock()
	closed := q.closed
	before := int64(0)
	if !q.o.FreshFirst {
		before = q.flows.recordSize(b.Source.ID)
	}
	q.mu.Unlock()
	own := spool.RecordSize(b)
	switch {
	case closed:
		return Place{}, ErrClosed
	case !q.spool.Reserve(before, own):
		return Place{}, ErrFull
	}
	return Place{bytes: before + own}, nil
}

// Cancel gives back a place that is not used.
func (q *Queue) Cancel(p Place) {
	if !p.Memory {
		q.spool.Unreserve(p.bytes)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.uncharge(&item{bytes: p.bytes, flow: p.flow})
}

// Give takes b over, into the place that was reserved for it, and answers for it in any
// case: an error is one of the spool, of which OnError was told, or ErrClosed. What goes
// to the spool is answered when it is on disk for good, at the next sync: see Run.
func (q *Queue) Give(b *record.Batch, p Place) error {
	if !p.Memory {
		defer q.spool.Unreserve(p.bytes)
		return q.spill(b)
	}
	q.mu.Lock()
	if q.closed {
		q.uncharge(&item{bytes: p.bytes, flow: p.flow})
		q.mu.Unlock()
		q.refuse(b, true)
		return ErrClosed
	}
	defer q.mu.Unlock()
	p.flow.items.push(item{batch: b, bytes: p.bytes, flow: p.flow})
	q.flows.queue(p.flow)
	q.lines += int64(len(b.Entries))
	signal(q.ready)
	return nil
}

// Free tells whether the next batch of a source, which can wait or not, finds room in
// memory, or in the spool, if it is like those that it has here. A spool that failed has
// none for a while.
func (q *Queue) Free(sourceID string, canWait bool) (memory, disk bool) {
	q.mu.Lock()
	memory = q.roomFor(sourceID, canWait, q.flows.piece(sourceID))
	broken := time.Now().Before(q.broken)
	q.mu.Unlock()
	return memory, !broken && q.spool.Room()
}

// roomFor tells whether the next batch of a source, of size bytes, may go to memory. mu
// is held.
func (q *Queue) roomFor(sourceID string, canWait bool, size int64) bool {
	left := q.o.MaxBytes - q.used
	if canWait && q.o.ReadAhead > 0 {
		left = min(left, q.o.ReadAhead-q.flows.ahead)
	}
	return (q.o.FreshFirst || q.spooled[sourceID] == 0) && q.flows.share(sourceID, size, left)
}
