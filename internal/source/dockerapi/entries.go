package dockerapi

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Entries of several lines. What may go on is held in memory, over the end of a stream and
// over polls; a Cursor stands before it, so that another reader reads it again. It is given
// out when its next line does not come: when a poll finds no more of it in time, at the
// end of the container's run, and by Flush while a stream is waited for.

var _ source.Holder = (*Reader)(nil)

// Waits implements source.Holder.
func (r *Reader) Waits(w source.Waiter) { r.waiter = w }

// Flush implements source.Holder.
func (r *Reader) Flush() *record.Batch { return r.take(false) }

// Due implements source.Holder.
func (r *Reader) Due() (wait time.Duration, ok bool) { return r.joiner.Due(time.Now()) }

// giveOut returns all entries that are held, nil if there are none.
func (r *Reader) giveOut() *record.Batch { return r.take(true) }

// overdue is Flush once a log was read to its end without following it.
func (r *Reader) overdue() *record.Batch {
	if !r.looked {
		return nil
	}
	r.looked = false
	return r.take(false)
}

// take gives out what is held, all of it or what is overdue.
func (r *Reader) take(all bool) *record.Batch {
	if !r.joiner.Holding() {
		return nil
	}
	b := r.empty(r.joiner.Size(0) + r.joiner.Size(1))
	r.emit(b, all)
	return filled(b)
}

func (r *Reader) emit(b *record.Batch, all bool) {
	now := time.Now()
	for i := range replay.Outputs {
		if !all && !r.joiner.Overdue(i, now) {
			continue
		}
		if e := r.joiner.End(&r.tracker, i); e.OK {
			r.add(b, i, e.Time, e.Text, e.Cut)
		}
	}
}

// rematch takes in which lines are one entry now. What was held as they were before is
// given out first.
func (r *Reader) rematch() *record.Batch {
	m := r.latest().Multiline
	if r.joiner.Is(m) {
		return nil
	}
	b := r.giveOut()
	if b == nil {
		r.joiner.Set(m)
	}
	return b
}

// join takes a line, and adds what is complete with it to b.
func (r *Reader) join(b *record.Batch, ln *line) {
	i := ln.out
	if r.gap { // it is not the next one
		r.gap = false
		r.emit(b, true)
	}
	held := r.joiner.Holds(i)
	before, alone := r.joiner.Take(&r.tracker, i, ln.time, ln.data, ln.cut)
	if before.OK {
		r.add(b, i, before.Time, before.Text, before.Cut)
	}
	if alone.OK {
		r.add(b, i, alone.Time, alone.Text, alone.Cut)
	} else if before.OK || !held {
		r.slow[i] = r.lines.slow[i]
	}
}

// unsent returns the timestamp of the oldest line that was begun, or read, and is in no
// batch; 0 = none.
func (r *Reader) unsent() int64 {
	slow := r.lines.slow
	for i := range slow {
		if r.joiner.Holds(i) {
			slow[i] = r.slow[i]
		}
	}
	at := older(r.begun(), r.joiner.Oldest())
	return across(slow, r.tracker.From(at), at)
}

// pull returns the stream's next piece. While it waits for one, others may take what is held.
func (r *Reader) pull() (docker.Piece, error) {
	if !r.joiner.Holding() || r.waiter == nil || !r.stream.follow || r.stream.dec.Ready() {
		return r.stream.dec.Next()
	}
	due, _ := r.Due()
	r.waiter.Wait(due)
	defer r.waiter.Go()
	return r.stream.dec.Next()
}

// empty returns a batch with room for size bytes.
func (r *Reader) empty(size int) *record.Batch {
	b := r.opener.Pool.Force(size)
	b.Source = r.latest().Source
	return b
}

// filled returns a batch if there is something in it; else only its memory goes back.
func filled(b *record.Batch) *record.Batch {
	if b == nil || len(b.Entries) > 0 {
		return b
	}
	b.Done(record.Delivered)
	return nil
}

// add adds an entry to a batch.
func (r *Reader) add(b *record.Batch, out int, at int64, text []byte, cut bool) {
	b.Append(at, replay.Outputs[out], text)
	if cut {
		b.Entries[len(b.Entries)-1].Flags |= record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
}
