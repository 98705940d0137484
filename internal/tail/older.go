package tail

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/archive"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
)

// Archives lets generations be read that were compressed while nobody read them. They are
// looked for when the file of a position is not found by its own name or number.
type Archives struct {
	// Dir is where their content is put while it is read, in files without a name.
	Dir string
	// Limits bound what one may hold.
	Limits archive.Limits
	// Refused, if set, is told of one that cannot be read, or not to its end; it must not call
	// the Log.
	Refused func(err error)
}

// sibling is a file beside a log that may be one of its generations.
type sibling struct {
	path    string
	id      position.FileID // without its birth
	written int64           // ns since the epoch: compressors keep the time of what they compress
	packed  bool
}

// older returns the generations from the file of pos on that have other names than Look
// knows, newest first, that file last if it is found: those that were rotated by date,
// copies, and archives. A copy or an archive is the file that begins alike, is as long as
// what was read, and has what was read last in the same place; what has a name of the same
// kind, and was written later, came after it. When there is none, what was written after
// the given time came after it. known are those that were found otherwise.
func (l *Log) older(pos *position.FilePos, after int64, known []*File) (files []*File, found bool) {
	all, first, at := l.find(pos, after, known)
	if first == nil {
		path := l.real()
		mine := func(s sibling) bool { return s.written > after && strings.HasPrefix(s.path, path) }
		return l.take(all, mine, known), false
	}
	return append(l.take(all[:at], all[at].precedes, known), first), true
}

// precedes tells whether a file of the same kind was written later.
func (s sibling) precedes(o sibling) bool {
	return o.written > s.written && kind(o.path) == kind(s.path)
}

// take opens and claims those that are wanted and not known.
func (l *Log) take(all []sibling, wanted func(sibling) bool, known []*File) (files []*File) {
	for _, s := range all {
		if !wanted(s) || slices.ContainsFunc(known, func(f *File) bool { return f.is(s.id.Device, s.id.Inode) }) {
			continue
		}
		f := l.open(s)
		switch {
		case f == nil:
		case l.claim(f):
			files = append(files, f)
		default:
			f.close()
		}
	}
	return files
}

// find returns the siblings, and which of them is the file of pos, opened; nil when it is
// none. It looks again when they were renamed or compressed meanwhile.
func (l *Log) find(pos *position.FilePos, after int64, known []*File) (all []sibling, first *File, at int) {
	for range 3 {
		var moved bool
		all, moved = l.siblings()
		if first, at = l.first(all, pos, after, known); first != nil || !moved && !slices.ContainsFunc(all, sibling.moved) {
			break
		}
	}
	return all, first, at
}

// moved tells whether the file has not its name any more.
func (s sibling) moved() bool {
	var st unix.Stat_t
	return unix.Lstat(s.path, &st) != nil || st.Ino != s.id.Inode
}

// first opens the file of pos, and tells which of all it is; nil when it is none. It is none
// of those that are known, although one of them may have been it before it was cut.
func (l *Log) first(all []sibling, pos *position.FilePos, after int64, known []*File) (f *File, at int) {
	for at, s := range all {
		if s.packed || s.id.Inode != pos.Inode {
			continue
		}
		if f := l.open(s); f != nil && f.Same(pos) && f.intact(pos) {
			return f, at
		} else if f != nil {
			f.close()
		}
	}
	for at := len(all) - 1; at >= 0 && pos.FingerprintLen > 0; at-- {
		s := all[at]
		if s.written < after && pos.Mark.Len == 0 || !l.begins(s, pos) {
			continue
		}
		f := l.open(s)
		if f == nil {
			continue
		}
		if f.intact(pos) {
			if s.packed && !slices.ContainsFunc(known, func(o *File) bool { return o.ID == pos.FileID }) {
				f.ID = pos.FileID // its own says nothing of what it has
			}
			return f, at
		}
		f.close()
	}
	return nil, -1
}

// siblings returns the files beside the log whose names begin like its own, newest first.
// moved tells that one lost its name meanwhile.
func (l *Log) siblings() (all []sibling, moved bool) {
	dir, base := filepath.Split(l.real())
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	names, err := list(dir)
	if err != nil {
		return nil, false
	}
	for _, name := range names {
		if name == base || !strings.HasPrefix(name, stem) {
			continue
		}
		_, packed := unpacked(name)
		if packed && l.opt.Archives == nil {
			continue
		}
		s := sibling{path: filepath.Join(dir, name), packed: packed}
		var st unix.Stat_t
		if err := unix.Lstat(s.path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			moved = moved || errors.Is(err, fs.ErrNotExist)
			continue
		}
		s.id, s.written = position.FileID{Device: st.Dev, Inode: st.Ino}, st.Mtim.Nano()
		all = append(all, s)
	}
	beingWritten := func(s sibling) bool {
		name, _ := unpacked(s.path)
		return s.packed && slices.ContainsFunc(all, func(o sibling) bool { return o.path == name })
	}
	all = slices.DeleteFunc(slices.Clone(all), beingWritten)
	slices.SortFunc(all, func(a, b sibling) int { return cmp.Or(cmp.Compare(b.written, a.written), cmp.Compare(a.path, b.path)) })
	return all, moved
}

// list returns the names in a directory, in no order: there may be thousands.
func list(dir string) ([]string, error) {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// packers are the endings of archives.
var packers = [...]string{".gz", ".zst"}

// unpacked returns an archive's name without its ending; other names as they are.
func unpacked(name string) (without string, packed bool) {
	for _, ext := range packers {
		if without, packed = strings.CutSuffix(name, ext); packed {
			return without, true
		}
	}
	return name, false
}

// kind is a file's name without the numbers that tell generations apart.
func kind(path string) string {
	name, _ := unpacked(filepath.Base(path))
	return strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) {
			return -1
		}
		return c
	}, name)
}

// open opens a sibling, also if it was compressed since it was found; nil when that cannot
// be done.
func (l *Log) open(s sibling) *File {
	if s.packed {
		return l.unpack(s)
	}
	f, err := openFile(s.path, false, l.opt.Open)
	if err == nil {
		return f
	}
	for _, ext := range packers {
		if _, statErr := os.Lstat(s.path + ext); statErr == nil && errors.Is(err, fs.ErrNotExist) && l.opt.Archives != nil {
			s.path += ext
			return l.unpack(s)
		}
	}
	return nil
}

// begins tells whether a sibling has the first bytes that pos tells of.
func (l *Log) begins(s sibling, pos *position.FilePos) bool {
	var sum uint64
	var n int
	if s.packed {
		r, err := archive.Open(s.path, l.opt.Archives.Limits)
		if err != nil {
			return false
		}
		defer func() { _ = r.Close() }() // nothing was written to it
		if sum, n, err = r.Fingerprint(pos.FingerprintLen); err != nil {
			return false
		}
	} else {
		f, err := openFile(s.path, false, l.opt.Open)
		if err != nil {
			return false
		}
		defer f.close()
		sum, n, _ = f.fingerprint(pos.FingerprintLen) // what could not be read is not alike
	}
	return n == pos.FingerprintLen && sum == pos.Fingerprint
}

// unpack returns the content of an archive as a file. Of one that is damaged it is what can
// be read, and the damage is counted; nil when it cannot be unpacked.
func (l *Log) unpack(s sibling) *File {
	r, err := archive.Open(s.path, l.opt.Archives.Limits)
	if err != nil {
		l.refuse(err)
		return nil
	}
	defer func() { _ = r.Close() }() // nothing was written to it
	f, err := unnamed(l.opt.Archives.Dir, s.id, l.opt.Open)
	if err != nil {
		l.refuse(err)
		return nil
	}
	f.written = s.written
	if _, err := io.Copy(f, r); err != nil {
		l.refuse(err)
	}
	return f
}

func (l *Log) refuse(err error) {
	l.damaged++
	if tell := l.opt.Archives.Refused; tell != nil {
		tell(err)
	}
}

// unnamed returns a new file in dir that has no name.
func unnamed(dir string, id position.FileID, open *ledger.Account) (*File, error) {
	tmp, err := os.CreateTemp(dir, "unpacked-*")
	if err != nil {
		return nil, fmt.Errorf("unpack an archive: %w", err)
	}
	defer tmp.Close()
	if err := os.Remove(tmp.Name()); err != nil {
		return nil, fmt.Errorf("unpack an archive: %w", err)
	}
	fd, err := unix.FcntlInt(tmp.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("unpack an archive: %w", err)
	}
	f := &File{ID: id, fd: fd}
	f.held = ledger.Open("", open, f)
	return f, nil
}

// Write appends to a file that was made by unnamed.
func (f *File) Write(b []byte) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, err := retryEINTR(func() (int, error) { return unix.Write(f.fd, b) })
	if err != nil {
		return n, fmt.Errorf("unpack an archive: %w", err)
	}
	return n, nil
}

// TakeDamaged returns how many archives were damaged, or could not be unpacked, since the
// last call.
func (l *Log) TakeDamaged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.damaged
	l.damaged = 0
	return n
}
