package tail

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
}

// sibling is a file beside a log that may be one of its generations.
type sibling struct {
	path    string
	id      position.FileID // without its birth
	written int64           // ns since the epoch: compressors keep the time of what they compress
	packed  bool
}

// older returns the generations from the file of pos on that have other names than Look
// knows, newest first, that file last: those that were rotated by date, and archives. An
// archive is the file that begins alike; what has a name of the same kind, and was written
// later, came after it. known are those that were found otherwise. Nothing is returned when
// the file of pos is not found.
func (l *Log) older(pos *position.FilePos, known []*File) (files []*File) {
	all := l.siblings()
	var first *File
	at := slices.IndexFunc(all, func(s sibling) bool {
		first = l.open(s, pos)
		return first != nil
	})
	if at < 0 {
		return nil
	}
	for _, s := range all[:at] {
		if kind(s.path) != kind(all[at].path) || s.written <= all[at].written ||
			slices.ContainsFunc(known, func(f *File) bool { return f.is(s.id.Device, s.id.Inode) }) {
			continue
		}
		f := l.open(s, nil)
		switch {
		case f == nil:
		case l.claim(f):
			files = append(files, f)
		default:
			f.close()
		}
	}
	return append(files, first)
}

// siblings returns the files beside the log whose names begin like its own, newest first.
func (l *Log) siblings() (all []sibling) {
	dir, base := filepath.Split(l.path)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.Name() == base || !strings.HasPrefix(e.Name(), stem) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			continue
		}
		_, packed := unpacked(e.Name())
		if packed && l.opt.Archives == nil {
			continue
		}
		all = append(all, sibling{
			path: filepath.Join(dir, e.Name()), id: position.FileID{Device: st.Dev, Inode: st.Ino},
			written: info.ModTime().UnixNano(), packed: packed,
		})
	}
	slices.SortFunc(all, func(a, b sibling) int { return cmp.Or(cmp.Compare(b.written, a.written), cmp.Compare(a.path, b.path)) })
	return all
}

// unpacked returns an archive's name without its ending; other names as they are.
func unpacked(name string) (without string, packed bool) {
	for _, ext := range []string{".gz", ".zst"} {
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

// open opens a sibling if it is the file of pos; any if pos is nil. nil when it is not, or
// cannot be opened.
func (l *Log) open(s sibling, pos *position.FilePos) *File {
	if s.packed {
		if pos == nil {
			return l.unpack(s, s.id)
		}
		if pos.FingerprintLen == 0 || !s.holds(pos, l.opt.Archives.Limits) {
			return nil
		}
		return l.unpack(s, pos.FileID)
	}
	if pos != nil && s.id.Inode != pos.Inode {
		return nil
	}
	f, err := openFile(s.path, false, l.opt.Open)
	if err != nil {
		return nil
	}
	if pos != nil && !f.Same(pos) {
		f.close()
		return nil
	}
	return f
}

// holds tells whether the archive has the content that pos speaks of.
func (s sibling) holds(pos *position.FilePos, limits archive.Limits) bool {
	r, err := archive.Open(s.path, limits)
	if err != nil {
		return false
	}
	defer r.Close()
	sum, n, err := r.Fingerprint(pos.FingerprintLen)
	return err == nil && n == pos.FingerprintLen && sum == pos.Fingerprint
}

// unpack returns the content of an archive as a file. Of one that is damaged it is what can
// be read, and the damage is counted; nil when it cannot be unpacked.
func (l *Log) unpack(s sibling, id position.FileID) *File {
	r, err := archive.Open(s.path, l.opt.Archives.Limits)
	if err != nil {
		l.damaged++
		return nil
	}
	defer r.Close()
	f, err := unnamed(l.opt.Archives.Dir, id, l.opt.Open)
	if err != nil {
		l.damaged++
		return nil
	}
	if _, err := io.Copy(f, r); err != nil {
		l.damaged++
	}
	return f
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
