package jsonfile

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/join"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
)

// Entries of several lines. What may go on is held in memory, also over a rotation: the
// engine rotates between two lines of whatever entry. The cursor stays at its first line.

// joint is a whole line that is to be joined.
type joint struct {
	output record.Output
	time   int64
	text   []byte
	cut    bool
	start  place // of its first record
	off    int   // of text in the arena, -1 when it lies elsewhere
}

// join takes a line, and adds what is complete with it to b.
func (r *Reader) join(b *record.Batch, ln joint) {
	i := replay.Index(ln.output)
	if r.tracker.Replaying(i) && r.tracker.Repeat(i, ln.time, replay.Hash(ln.time, ln.text)) {
		return
	}
	held := r.joiner.Holds(i)
	before, alone := r.joiner.Take(&r.tracker, i, ln.time, ln.text, ln.cut)
	if before.OK {
		r.add(b, ln.output, before, -1)
	}
	if alone.OK {
		r.add(b, ln.output, alone, ln.off)
	} else if before.OK || !held {
		r.begun[ln.output] = ln.start
	}
}

// add adds an entry to b. Its text is already at off in the arena, or goes where the records
// of its lines were if no other entry is there by now, or behind the rest.
func (r *Reader) add(b *record.Batch, output record.Output, e join.Entry, off int) {
	switch {
	case off >= 0:
		r.kept = off + len(e.Text)
	case r.kept+len(e.Text) <= r.at:
		off = r.kept
		r.kept += copy(b.Arena[off:], e.Text)
	default:
		off = len(b.Arena)
		b.Arena = append(b.Arena, e.Text...)
	}
	entry := record.Entry{Time: e.Time, Output: output, Off: uint32(off), Len: uint32(len(e.Text))}
	if e.Cut {
		entry.Flags = record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
	b.Entries = append(b.Entries, entry)
}

// overdue tells whether there is something for emitHeld.
func (r *Reader) overdue(all bool) bool {
	if !r.joiner.Holding() || all {
		return r.joiner.Holding()
	}
	wait, _ := r.joiner.Due(time.Now())
	return wait == 0
}

// emitHeld gives out what is held, all of it or what has waited for long enough.
func (r *Reader) emitHeld(b *record.Batch, all bool) {
	if !r.joiner.Holding() {
		return
	}
	now := time.Now()
	for i, output := range replay.Outputs {
		if !all && !r.joiner.Overdue(i, now) {
			continue
		}
		if e := r.joiner.End(&r.tracker, i); e.OK {
			r.add(b, output, e, -1)
		}
	}
}

// last returns, when there is nothing more to read, what is given out as it is: of a log
// that is over all that was begun, else the last words of a container that ended without a
// newline, and entries whose next line did not come. nil if there is nothing.
func (r *Reader) last(over bool) *record.Batch {
	size := r.joiner.Size(0) + r.joiner.Size(1)
	for i := range r.parts {
		size += len(r.parts[i].text)
	}
	parts := (r.parts[record.Stdout].pending || r.parts[record.Stderr].pending) && (over || r.stopped())
	if !parts && !r.overdue(over) {
		return nil
	}
	b := r.opener.Pool.Force(size)
	b.Source = r.target.Source
	if parts {
		r.cut = false
		r.emitParts(b)
	}
	r.emitHeld(b, over)
	r.settleAll(b)
	return filled(b)
}

// filled returns b if there is something in it; else only its memory goes back.
func filled(b *record.Batch) *record.Batch {
	if len(b.Entries) == 0 {
		b.Done(record.Delivered)
		return nil
	}
	return b
}

// Due tells, when there is nothing to read, after what time there is all the same.
func (r *Reader) Due() (wait time.Duration, ok bool) {
	wait, ok = r.joiner.Due(time.Now())
	return max(wait, time.Millisecond), ok
}

// rematch takes in which lines are one entry now. What was held as they were before is
// given out first.
func (r *Reader) rematch() *record.Batch {
	if r.joiner.Is(r.target.Multiline) {
		return nil
	}
	b := r.opener.Pool.Force(r.joiner.Size(0) + r.joiner.Size(1))
	b.Source = r.target.Source
	r.emitHeld(b, true)
	r.joiner.Set(r.target.Multiline)
	return filled(b)
}
