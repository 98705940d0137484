package tail

import (
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/internal/position"
)

// A log that is rotated by copytruncate is copied, and then cut: its file stays. What was
// not read of it when it is cut is in the copy; only what was written after the copy's end
// and before the cut is nowhere, and nobody but the writer knows how much that is.

// copies returns the copies that have what was in f, which was cut, from pos on, newest
// first. found tells whether the oldest is to be read from pos on, else it is from its start.
func (l *Log) copies(f *File, pos *position.FilePos) (files []*File, found bool) {
	all, first, at := l.find(pos, pos.Written, []*File{f})
	if first == nil {
		first, at = l.shorter(all, pos)
	}
	if f.copied = (sibling{}); at < 0 {
		return nil, false
	}
	f.copied = all[at]
	files = l.since(f, all, all[at].precedes)
	if first == nil {
		return files, false
	}
	return append(files, first), true
}

// shorter finds the copy that ends before what was read last: so it was made before that was
// written. It is opened if it has anything from pos on.
func (l *Log) shorter(all []sibling, pos *position.FilePos) (f *File, at int) {
	at = slices.IndexFunc(all, func(s sibling) bool {
		return s.written <= pos.Written && pos.FingerprintLen > 0 && l.begins(s, pos)
	})
	if at < 0 {
		return nil, at
	}
	if f = l.open(all[at]); f == nil {
		return nil, at
	}
	if size, err := f.Size(); err == nil && size > pos.Offset && size < pos.Mark.End {
		return f, at
	}
	f.close()
	return nil, at
}

// since returns those of the wanted files that are copies of f, newest first, and notes the
// newest. What a file that is held has still is none: it is in the making, or the archive of
// a later generation.
func (l *Log) since(f *File, all []sibling, wanted func(sibling) bool) (files []*File) {
	for _, s := range slices.Backward(all) {
		for _, c := range l.take([]sibling{s}, wanted, l.queue) {
			held := func(o *File) bool { return o.begins(c) }
			if held(f) || slices.ContainsFunc(l.queue, held) || !s.packed && c.ID.Birth < f.ID.Birth {
				l.drop([]*File{c})
				continue
			}
			files, f.copied = append(files, c), s
		}
	}
	slices.Reverse(files)
	return files
}

// withoutCopies drops the one that has what the newest, which is older than that, has still:
// it is in the making. It counts those that have something else: the newest was cut. The
// oldest is known.
func (l *Log) withoutCopies(files []*File) []*File {
	for i := len(files) - 2; i > 0; i-- {
		newest, f := files[0], files[i]
		switch {
		case !newest.newest || f.ID.Birth <= newest.ID.Birth:
		case newest.begins(f):
			l.drop(files[i : i+1])
			files = slices.Delete(files, i, i+1)
		default:
			l.cuts++
		}
	}
	return files
}

// recover queues the copies of the current generation, which was cut, that have what was
// not read of it. It returns how many cuts they tell of besides the one that is known.
func (l *Log) recover(f *File, pos *position.FilePos) (more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 || l.queue[0] != f {
		return 0
	}
	files, found := l.copies(f, pos)
	more = len(files)
	if found {
		more--
		if l.claim(files[more]) {
			files[more].read.Store(pos.Offset)
		} else { // another log has it
			files[more].close()
			files = files[:more]
		}
	}
	l.prepend(files)
	return more
}

// cutAgain queues the copies that were made of the current generation, of which nothing was
// read: while those before it were read, or since it was seen empty, written to last at the
// given time; 0 = it was not. It returns how many these are.
func (l *Log) cutAgain(f *File, empty int64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := f.copied.precedes
	switch {
	case len(l.queue) == 0 || l.queue[0] != f:
		return 0
	case f.copied.path != "":
	case empty != 0 && len(l.queue) == 1: // else it was renamed
		path := l.real()
		wanted = func(s sibling) bool { return s.written > empty && numbered(s.path, path) }
	default:
		return 0
	}
	all, _ := l.siblings()
	files := l.since(f, all, wanted)
	l.prepend(files)
	return len(files)
}

// numbered tells whether path is the other one with a number or a date behind it.
func numbered(path, other string) bool {
	name, _ := unpacked(path)
	behind, ok := strings.CutPrefix(name, other)
	return ok && strings.Trim(behind, "0123456789.-_:T") == ""
}

// prepend queues files, given newest first, before what is queued.
func (l *Log) prepend(files []*File) {
	newer := l.queue
	l.queue = nil
	l.append(files)
	l.queue = append(l.queue, newer...)
	for _, f := range files {
		f.seq = l.opt.Keeper.next()
	}
}

// takeCuts returns how often Resume found that a file was cut, since the last call.
func (l *Log) takeCuts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.cuts
	l.cuts = 0
	return n
}
