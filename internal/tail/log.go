// Package tail follows a log through its rotations.
//
// A Log is a path and the generations of files that were or are behind it. Look
// opens every generation that was not seen before, newest name first, and queues
// the descriptors in writing order; the reader drains them one after the other. An
// open descriptor survives renames and removal, so nothing is lost however far the
// reader is behind. A generation is held until it is read to its end and has a
// successor, so its inode number cannot be given to another file in the meantime.
// A Keeper bounds what is held that way; what it lets go unread is counted.
//
// A Watcher tells, through inotify, when to look; looking is the truth, the hint
// may be missing.
package tail

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
)

// maxOlder bounds how many older names Look walks.
const maxOlder = 1000

// Options say how a log's generations are found.
type Options struct {
	// FollowSymlinks lets the path be a symlink.
	FollowSymlinks bool
	// History also takes the older generations path.1, path.2 … of a log that is seen
	// for the first time. Log files leave them to their own paths.
	History bool
	// Early, if set, may have the first generation of a log that was removed meanwhile.
	Early *Early
	// Archives, if set, lets generations be read that were compressed meanwhile.
	Archives *Archives
	// Claim, if set, is asked before a generation is taken, and tells from which offset
	// it is this log's to read; false leaves it to another log.
	Claim func(position.FileID) (start int64, ok bool)
	// Unclaim gives a generation back that was claimed and is not read.
	Unclaim func(id position.FileID, start int64)
	// Open counts the descriptors held, for the books.
	Open *ledger.Account
	// Keeper, if set, bounds what rotated-away generations are held of all Logs that
	// have it.
	Keeper *Keeper
}

// Log is a rotated log. Look may be called by anybody; the other methods by its reader.
type Log struct {
	path string
	opt  Options

	mu      sync.Mutex
	target  string  // what the path led to, when it led anywhere the last time
	queue   []*File // in writing order; the last is the newest known
	closed  bool
	damaged int // archives
	cuts    int // of files, found by Resume
	missed  int // times that the newest known generation was no longer found
	letGo       // what the Keeper took away
}

// NewLog returns the log at path with no generation open yet.
func NewLog(path string, opt Options) *Log { return &Log{path: path, opt: opt} }

// Path returns the name of the newest generation.
func (l *Log) Path() string { return l.path }

// Resume opens the generation that pos speaks of, wherever it was renamed to in its
// directory, and all that came after it. When it is gone (found = false), those that
// were written to after the given time (ns since the epoch) came after it. Without
// pos it is the first Look.
func (l *Log) Resume(pos *position.FilePos, after int64) (found bool, err error) {
	if pos == nil {
		_, err = l.Look()
		return true, err
	}
	found, err = l.resume(pos, after)
	l.opt.Keeper.grew(l)
	return found, err
}

func (l *Log) resume(pos *position.FilePos, after int64) (found bool, err error) {
	if pos.Written != 0 {
		after = pos.Written
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh, found, err := l.walk(func(f *File) bool { return f.goesOn(pos) }, true)
	cut := slices.ContainsFunc(fresh, func(f *File) bool { return !found && f.ID == pos.FileID })
	if cut {
		l.cuts++
	}
	if !found {
		fresh = l.writtenAfter(fresh, after)
		var older []*File
		if older, found = l.older(pos, after, fresh); found {
			first := older[len(older)-1].ID
			fresh = slices.DeleteFunc(fresh, func(f *File) bool {
				same := f.ID == first // a copy, from its start
				if same {
					f.close()
				}
				return same
			})
		}
		fresh = append(fresh, older...)
	}
	if last := len(fresh) - 1; found && l.claim(fresh[last]) {
		fresh[last].read.Store(pos.Offset)
	} else if found { // another log goes on with it
		fresh[last].close()
		fresh = fresh[:last]
	}
	l.append(l.withoutCopies(fresh))
	return found || cut || pos.FingerprintLen == 0, err // nobody knows of anything in an empty file
}

// Look opens the generations that came since the last look and tells whether there
// are any.
func (l *Log) Look() (bool, error) {
	fresh, err := l.look()
	if fresh {
		l.opt.Keeper.grew(l)
	}
	return fresh, err
}

func (l *Log) look() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, nil
	}
	if len(l.queue) == 0 {
		fresh, _, err := l.walk(func(*File) bool { return false }, l.opt.History)
		fresh = l.early(fresh)
		l.append(fresh)
		return len(fresh) > 0, err
	}
	newest := l.queue[len(l.queue)-1]
	var st unix.Stat_t
	if unix.Stat(l.path, &st) == nil && newest.is(st.Dev, st.Ino) {
		return false, nil // the usual case, for one system call
	}
	fresh, found, err := l.walk(func(f *File) bool { return f.ID == newest.ID }, true)
	if found {
		fresh[len(fresh)-1].close() // the second descriptor of the one that is held
		fresh = fresh[:len(fresh)-1]
	} else if fresh = l.writtenAfter(fresh, newest.modTime()-1); len(fresh) > 1 {
		// The newest known is gone and there are several new ones: others may have come and gone.
		l.missed++
	}
	l.append(fresh)
	return len(fresh) > 0, err
}

// append queues files, given newest first. What has a successor now was rotated away.
func (l *Log) append(files []*File) {
	slices.Reverse(files)
	l.queue = append(l.queue, files...)
	for i := range len(l.queue) - 1 {
		if f := l.queue[i]; f.seq == 0 {
			f.seq = l.opt.Keeper.next()
		}
	}
}

// early adds the generation that was opened before anybody asked, as the oldest.
func (l *Log) early(fresh []*File) []*File {
	if l.opt.Early == nil {
		return fresh
	}
	first := l.opt.Early.Take(l.path)
	if first == nil {
		return fresh
	}
	if slices.ContainsFunc(fresh, func(f *File) bool { return f.ID == first.ID }) {
		first.close()
		return fresh
	}
	return append(fresh, first)
}

// writtenAfter keeps the file that has the log's own name, and those that were last
// written to after t; it closes the others.
func (l *Log) writtenAfter(files []*File, t int64) []*File {
	return slices.DeleteFunc(files, func(f *File) bool {
		if f.newest || f.modTime() > t {
			return false
		}
		l.drop([]*File{f})
		return true
	})
}

// drop lets go of files that were opened and are not to be read now.
func (l *Log) drop(files []*File) {
	for _, f := range files {
		if l.opt.Unclaim != nil {
			l.opt.Unclaim(f.ID, f.read.Load())
		}
		f.close()
	}
}

// walk opens path, path.1, path.2 … until one is known, and returns them newest
// first, the known one last. A rotation in between shifts names to older numbers,
// so going from new to old can meet a file twice but never miss one; the one that
// it created meanwhile is found by the next look.
func (l *Log) walk(known func(*File) bool, older bool) (files []*File, found bool, err error) {
	missing := 0
	for n := 0; n <= maxOlder && missing < 2; n++ {
		name := l.path
		if n > 0 {
			if !older {
				break
			}
			name = fmt.Sprintf("%s.%d", l.real(), n)
		}
		f, openErr := openFile(name, l.opt.FollowSymlinks && n == 0, l.opt.Open)
		if shortage(openErr) { // or what is behind a file that is left out would be taken for all
			l.drop(files)
			return nil, false, openErr
		}
		if openErr != nil {
			if n == 0 && !errors.Is(openErr, fs.ErrNotExist) {
				err = openErr // an older name that is no log of ours is none of our business
			}
			if n > 0 || !errors.Is(openErr, fs.ErrNotExist) {
				missing++ // between two renames of a rotation one name may be missing
			}
			continue
		}
		missing, f.newest = 0, n == 0
		if slices.ContainsFunc(files, func(o *File) bool { return o.ID == f.ID }) {
			f.close()
			continue
		}
		if known(f) {
			return append(files, f), true, err
		}
		if !l.claim(f) {
			f.close()
			continue
		}
		files = append(files, f)
	}
	return files, false, err
}

// real returns the path without symbolic links: older generations are beside the file that
// it leads to. The caller holds the lock.
func (l *Log) real() string {
	if !l.opt.FollowSymlinks {
		return l.path
	}
	if path, err := filepath.EvalSymlinks(l.path); err == nil {
		l.target = path
	}
	return cmp.Or(l.target, l.path)
}

func (l *Log) claim(f *File) (ok bool) {
	if l.opt.Claim == nil {
		return true
	}
	start, ok := l.opt.Claim(f.ID)
	f.read.Store(start)
	return ok
}

// Current returns the generation to read now, nil if none is known.
func (l *Log) Current() *File {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	return l.queue[0]
}

// Superseded tells whether the current generation has a successor that was written
// to. Only then is it complete: after a rename its writer may go on for a while,
// until it opens the new file.
func (l *Log) Superseded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) < 2 {
		return false
	}
	if len(l.queue) > 2 {
		return true
	}
	size, err := l.queue[1].Size()
	return err == nil && size > 0
}

// advance closes f, if it is the current generation, and goes on to its successor. It
// returns false when there is none, or when f was let go meanwhile.
func (l *Log) advance(f *File) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) < 2 || l.queue[0] != f {
		return false
	}
	l.pop().close()
	return true
}

// pop takes the current generation off the queue. The caller holds the lock.
func (l *Log) pop() *File {
	f := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return f
}

// Each calls fn with every generation held.
func (l *Log) Each(fn func(*File)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.queue {
		fn(f)
	}
}

// Holds tells whether the file is the current generation or a later one.
func (l *Log) Holds(id position.FileID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.queue, func(f *File) bool { return f.ID == id })
}

// Held returns how many generations are open.
func (l *Log) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// Unnamed tells whether a generation is held that has no name any more: once it is closed,
// nobody can open it again.
func (l *Log) Unnamed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.queue, func(f *File) bool {
		st, err := f.stat()
		return err == nil && st.Nlink == 0
	})
}

// TakeMissed returns how often generations may have been missed since the last call.
func (l *Log) TakeMissed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.missed
	l.missed = 0
	return n
}

// Close closes all generations. It waits for one that is being let go, which takes no
// longer than a read.
func (l *Log) Close() {
	l.mu.Lock()
	for _, f := range l.queue {
		f.close()
	}
	l.queue, l.closed = nil, true
	last, counting := l.leaving, l.counting
	l.leaving = nil
	l.mu.Unlock()
	if last != nil {
		l.bury(last)
	}
	if counting != nil {
		<-counting
	}
	l.opt.Keeper.forget(l)
}
