package queue

import (
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// A flow is what waits of one source in memory; one more stands for the spool. They
// take turns, so that a source which floods the queue does not delay the others: each
// may give out quantum bytes of lines in its turn, and what a large batch took beyond
// that is owed in the next turns (deficit round robin, Shreedhar and Varghese, 1995).
type flow struct {
	id     string
	items  ring[item]
	bytes  int64 // of memory that the source is charged with: waiting, reserved or leased
	n      int   // in how many pieces
	wait   bool  // the source can wait
	credit int   // bytes that it may give out before it is somebody else's turn
	queued bool  // in flows.turns
}

const quantum = 64 << 10

// maxSpare is how many empty flows are kept for the next sources.
const maxSpare = 64

// flows are the flows of a queue; the queue's mu guards them.
type flows struct {
	byID  map[string]*flow
	turns ring[*flow] // those with something to give out, the one whose turn it is first
	spare []*flow
	spool flow  // what it has to give out is Queue.disk
	ahead int64 // bytes that sources which can wait are charged with
}

// charge notes that a source takes n bytes more of memory, in one piece.
func (fs *flows) charge(src *record.Source, n int64) *flow {
	id := src.ID
	f := fs.byID[id]
	if f == nil {
		if last := len(fs.spare) - 1; last >= 0 {
			f, fs.spare = fs.spare[last], fs.spare[:last]
		} else {
			f = &flow{}
		}
		f.id, f.credit, f.wait = id, quantum, src.CanWait
		fs.byID[id] = f
	}
	f.bytes += n
	f.n++
	if f.wait {
		fs.ahead += n
	}
	return f
}

// free gives one piece back.
func (fs *flows) free(f *flow, n int64) {
	f.bytes -= n
	if f.wait {
		fs.ahead -= n
	}
	if f.n--; f.n > 0 {
		return
	}
	delete(fs.byID, f.id)
	if len(fs.spare) < maxSpare {
		fs.spare = append(fs.spare, f)
	}
}

// share tells whether a source may take n bytes more of the left ones: four times what
// is left then for others is the most that one may have, so that whoever floods the
// queue leaves a fifth to the others. A source without anything gets its first piece.
func (fs *flows) share(id string, n, left int64) bool {
	f := fs.byID[id]
	return left > 0 && (f == nil || f.bytes == 0 || f.bytes+n <= 4*(left-n))
}

// piece returns how large a source's batches in memory are.
func (fs *flows) piece(id string) int64 {
	if f := fs.byID[id]; f != nil {
		return f.bytes / int64(f.n)
	}
	return 0
}

// queue gives f a turn, the last one, if it has none.
func (fs *flows) queue(f *flow) {
	if !f.queued {
		f.queued = true
		fs.turns.push(f)
	}
}

// extract removes and returns what waits of a source, in order.
func (fs *flows) extract(id string) (out []item) {
	f := fs.byID[id]
	if f == nil || f.items.len() == 0 {
		return nil
	}
	for f.items.len() > 0 {
		out = append(out, f.items.pop())
	}
	for range fs.turns.len() {
		if g := fs.turns.pop(); g != f {
			fs.turns.push(g)
		}
	}
	f.queued = false
	return out
}

// recordSize returns about what a source's items would take in the spool.
func (fs *flows) recordSize(id string) (bytes int64) {
	if f := fs.byID[id]; f != nil {
		for i := range f.items.len() {
			bytes += spool.RecordSize(f.items.get(i).batch)
		}
	}
	return bytes
}

// next returns the item to give out next: what was put back, else that of the flow
// whose turn it is.
func (q *Queue) next() *item {
	if len(q.back) > 0 {
		return &q.back[0]
	}
	fs := &q.flows
	for fs.turns.len() > 0 {
		f := *fs.turns.get(0)
		switch {
		case f == &fs.spool && q.disk == nil:
			fs.turns.pop()
			f.queued = false
		case f.credit > 0:
			return q.head(f)
		default:
			f.credit += quantum
			fs.turns.push(fs.turns.pop())
		}
	}
	return nil
}

func (q *Queue) head(f *flow) *item {
	if f == &q.flows.spool {
		return q.disk
	}
	return f.items.get(0)
}

// pop removes the item that next has returned, which gives out size bytes of lines; it
// may not be used after that.
func (q *Queue) pop(size int) {
	if len(q.back) > 0 {
		q.back = q.back[1:]
		return
	}
	fs := &q.flows
	f := *fs.turns.get(0)
	if f.credit -= size; fs.turns.len() == 1 {
		f.credit = quantum // nobody waits
	}
	if f == &fs.spool {
		given := record.Whole(q.disk.batch).Bytes()
		q.disk = nil // its turn goes on with what is read next
		if q.o.SpoolRate > 0 {
			q.pace.gave(given, q.o.SpoolRate)
			fs.turns.pop()
			f.queued = false
		}
		return
	}
	if f.items.pop(); f.items.len() == 0 {
		fs.turns.pop()
		f.queued = false
	}
}
