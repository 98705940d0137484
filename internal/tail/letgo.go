package tail

import (
	"bytes"
	"context"
	"slices"

	"github.com/logcapturer/log_capturer/internal/position"
)

// letGo is what a Log knows of the generations that its Keeper took away; under the
// Log's lock. They are taken from the front of the queue only, so that what remains
// follows the gap.
type letGo struct {
	generations int // not read to their end, since somebody asked
	lines       int64
	gap         bool // text before the current generation was let go since somebody asked
	// done has, where generations are claimed, those that nobody will read further.
	done []position.FilePos
	// leaving is a generation that was taken off the queue while its reader had text of
	// it. Who sets it to nil closes it: the reader, as soon as it is through, or Close.
	leaving *File
	// counting is closed when the lines of the generation that the Keeper took off last
	// are counted; nil when there is none.
	counting chan struct{}
}

// rotatedAway returns how many generations, from the current one on, have a successor
// that was written to. The last one before an empty newest is not among them: after a
// rename its writer may go on for a while. The caller holds the lock.
func (l *Log) rotatedAway() int {
	n := len(l.queue) - 1
	if n < 1 {
		return 0
	}
	if size, err := l.queue[n].Size(); err != nil || size == 0 {
		n--
	}
	return n
}

// rotated returns the rotated-away generations in order. more tells whether there is
// any besides the newest.
func (l *Log) rotated() (held []generation, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.queue[:l.rotatedAway()] {
		g := generation{log: l, file: f, seq: f.seq}
		if st, err := f.stat(); err == nil && st.Nlink == 0 {
			g.bytes = st.Size
		}
		held = append(held, g)
	}
	return held, len(l.queue) > 1
}

// HeldBytes returns how many rotated-away generations are held, and the bytes of disk
// space that only their descriptors keep: the sizes of those without a name.
func (l *Log) HeldBytes() (generations int, bytes int64) {
	held, _ := l.rotated()
	for _, g := range held {
		bytes += g.bytes
	}
	return len(held), bytes
}

// letGoUpTo lets go of the generations up to f, and returns how many these were: none
// when f was read to its end, or closed, meanwhile.
func (l *Log) letGoUpTo(f *File) (n int) {
	for {
		front, counting := l.detach(f)
		if front == nil {
			return n
		}
		n++
		if counting != nil {
			l.bury(front)
			l.counted(counting)
		}
		if front == f {
			return n
		}
	}
}

// detach takes the current generation off the queue if f is that or a later one, and
// rotated away. With counting, it is the caller's to bury; else its reader's.
func (l *Log) detach(f *File) (front *File, counting chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.queue, f); i < 0 || i >= l.rotatedAway() {
		return nil, nil
	}
	front = l.pop()
	if front.condemn() {
		l.leaving = front
		return front, nil
	}
	l.counting = make(chan struct{})
	return front, l.counting
}

func (l *Log) counted(counting chan struct{}) {
	l.mu.Lock()
	l.counting = nil
	l.mu.Unlock()
	close(counting)
}

// buryLeaving buries f, which its reader has just given back.
func (l *Log) buryLeaving(f *File) {
	l.mu.Lock()
	mine := l.leaving == f
	if mine {
		l.leaving = nil
	}
	l.mu.Unlock()
	if mine {
		l.bury(f)
	}
}

// bury counts what was not consumed of f, which is off the queue and condemned, and
// closes it.
func (l *Log) bury(f *File) {
	lines, end, unread := f.count(l.isClosed)
	pos := position.FilePos{Offset: end}
	f.Identify(&pos)
	f.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opt.Claim != nil {
		l.done = append(l.done, pos)
	}
	if !unread {
		return // nothing is lost
	}
	l.generations++
	l.lines += lines
	l.gap = true
	l.opt.Keeper.lost(lines)
}

// count returns the lines (newlines) that were not consumed, the end of the file, and
// whether there was any text. It ends early when stop returns true.
func (f *File) count(stop func() bool) (lines, end int64, unread bool) {
	at := f.read.Load()
	size, err := f.Size()
	if err == nil && size < at {
		at = 0 // it was truncated and written anew
	}
	unread = size > at
	buf := make([]byte, 128<<10)
	for unread && !stop() {
		n, err := f.ReadAt(buf, at)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		at += int64(n)
		if err != nil {
			break // the end; or unreadable, for its reader as well
		}
	}
	return lines, at, unread
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// front returns the current generation, nil if none is known, and whether text before
// it was let go since the last call. It waits until the lines of what was let go are
// counted, so that the gap is not known before its size.
func (l *Log) front(ctx context.Context) (f *File, gap bool, err error) {
	for {
		l.mu.Lock()
		counting := l.counting
		if counting == nil {
			if len(l.queue) > 0 {
				f = l.queue[0]
			}
			gap, l.gap = l.gap, false
		}
		l.mu.Unlock()
		if counting == nil {
			return f, gap, nil
		}
		select {
		case <-counting:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

func (l *Log) takeLetGo() (generations int, lines int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	generations, lines = l.generations, l.lines
	l.generations, l.lines = 0, 0
	return generations, lines
}

func (l *Log) takeDone() []position.FilePos {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.done
	l.done = nil
	return done
}
