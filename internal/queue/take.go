package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
)

// Lease is a run of entries that the taker has to deliver. It ends with one Ack or Release.
type Lease struct {
	q     *Queue
	items []item
	views []record.View
	over  bool
}

// Views returns the entries, in order. They are read-only and valid until Ack or Release.
func (l *Lease) Views() []record.View { return l.views }

// Take waits for a batch, and until notBefore for more, or until the lines of the lease
// have maxBytes. A batch that alone has more is given out in parts, one a
// lease; a single line is never split. It returns at once what it has when ctx ends or
// after Drain. Errors: that of ctx, ErrClosed, ErrDrained, ErrLeased, or one of reading
// the spool, after which the same call may be made again.
func (q *Queue) Take(ctx context.Context, maxBytes int, notBefore time.Time) (*Lease, error) {
	q.mu.Lock()
	out := q.lease != nil
	q.mu.Unlock()
	if out {
		return nil, ErrLeased
	}
	l := &Lease{q: q}
	bytes := 0
	var full bool
	var err error
	drain := q.drain
	for {
		full, err = q.fill(l, &bytes, maxBytes)
		if len(l.items) > 0 {
			break // an error is met again by the next Take
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-q.ready:
			drain = q.drain
		case <-drain:
			if err := q.drained(); err != nil {
				return nil, err
			}
			drain = nil // what is still being synced wakes us
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	wait := time.Until(notBefore)
	if full || err != nil || wait <= 0 {
		return l, nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	for !full {
		select {
		case <-q.ready:
		case <-t.C:
			return l, nil
		case <-q.drain:
			return l, nil
		case <-ctx.Done():
			return l, nil
		}
		if full, err = q.fill(l, &bytes, maxBytes); err != nil {
			break // what there is goes out; the next Take meets the error again
		}
	}
	return l, nil
}

// Takeable tells whether there is a batch in memory that Take would return at once.
func (q *Queue) Takeable() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed && q.lease == nil && q.next() != nil
}

// drained returns why Take ends on a queue that is draining and was empty, or nil when
// something came meanwhile or is being synced.
func (q *Queue) drained() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	if q.next() == nil && len(q.pending) == 0 && q.spool.Lines() == 0 {
		return ErrDrained
	}
	return nil
}

// fill moves what there is into the lease, until it is full.
func (q *Queue) fill(l *Lease, bytes *int, maxBytes int) (full bool, err error) {
	for *bytes < maxBytes || len(l.items) == 0 {
		if err := q.readAhead(); err != nil {
			return false, err
		}
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			if len(l.items) > 0 {
				return true, nil
			}
			return false, ErrClosed
		}
		it := q.next()
		if it == nil {
			q.mu.Unlock()
			return false, nil
		}
		to, size := fit(it, maxBytes)
		if len(l.items) > 0 && (*bytes+size > maxBytes || to < len(it.batch.Entries)) {
			q.mu.Unlock()
			return true, nil
		}
		l.items = append(l.items, *it)
		l.views = append(l.views, record.View{Batch: it.batch, From: it.from, To: to})
		*bytes += size
		q.lease = l
		part := to < len(it.batch.Entries)
		q.pop(size)
		q.mu.Unlock()
		if part {
			return true, nil
		}
	}
	return true, nil
}

// fit returns up to which entry of it fits into max bytes of lines, one at least.
func fit(it *item, max int) (to, size int) {
	entries := it.batch.Entries
	for to = it.from; to < len(entries); to++ {
		n := int(entries[to].Len)
		if size+n > max && to > it.from {
			break
		}
		size += n
	}
	return to, size
}

// readAhead reads the spool's next batch when none is at hand.
func (q *Queue) readAhead() error {
	if !q.needsDisk() {
		return nil
	}
	q.readMu.Lock()
	defer q.readMu.Unlock()
	b, seq, err := q.spool.Read()
	if errors.Is(err, io.EOF) {
		q.settle()
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		b.Done(record.Failed)
		return nil
	}
	q.disk = &item{batch: b, seq: seq, disk: true}
	q.spoolTurn()
	return nil
}

func (q *Queue) needsDisk() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.disk == nil && len(q.back) == 0 && !q.closed && len(q.spooled) > 0
}

// settle forgets sources whose batches in the spool turned out damaged, once there is
// nothing in it any more, so that they may go back to memory.
func (q *Queue) settle() {
	q.spillMu.Lock()
	defer q.spillMu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 && len(q.spooled) > 0 && q.spool.Empty() {
		clear(q.spooled)
	}
}

// Ack says that the sink has all entries of the lease. The batches are answered
// Delivered, those of the spool are committed. Of a batch that was given out in parts
// the rest stays, at the head of the queue. An error is one of the spool, which could
// not keep it durably: the batches count as delivered all the same, and would come again
// after a crash.
func (l *Lease) Ack() (err error) {
	q := l.q
	q.statMu.Lock()
	defer q.statMu.Unlock()
	done, last, over := q.settleLease(l)
	if over {
		return nil
	}
	if last > 0 {
		err = q.spool.Commit(last)
	}
	q.mu.Lock()
	for i := range done {
		if it := &done[i]; it.disk {
			q.ahead -= int64(len(it.batch.Entries))
			q.gone(it.batch.Source.ID)
		}
	}
	if last > 0 {
		signal(q.dirty) // the position becomes durable with the next sync
	}
	q.mu.Unlock()
	for i := range done {
		q.answer(done[i].batch, record.Delivered)
	}
	return err
}

// settleLease ends l as delivered. It returns the batches that are done with and the
// highest number of those that are in the spool; over, when l had ended before.
func (q *Queue) settleLease(l *Lease) (done []item, last uint64, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.over {
		return nil, 0, true
	}
	l.over, q.lease = true, nil
	for i := range l.items {
		it, to := l.items[i], l.views[i].To
		delivered := int64(to - it.from)
		if it.disk {
			q.ahead += delivered
		} else {
			q.lines -= delivered
		}
		if it.from = to; it.left() > 0 { // then it is the lease's only one
			q.back = slices.Insert(q.back, 0, it)
			continue
		}
		if it.disk {
			last = it.seq
		} else {
			q.uncharge(&it)
		}
		done = append(done, it)
	}
	if q.closed {
		q.dropLocked()
	}
	return done, last, false
}

// Release puts all entries of the lease back to the head of the queue; when that is
// closed, their batches are answered Failed. The error is nil: it is there so that both
// ends of a lease look alike.
func (l *Lease) Release() error {
	q := l.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.over {
		return nil
	}
	l.over, q.lease = true, nil
	q.back = slices.Insert(q.back, 0, l.items...)
	signal(q.ready)
	if q.closed {
		q.dropLocked()
	}
	return nil
}
