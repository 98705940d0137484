package tail

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/position"
)

// markSize is how many bytes a mark covers at most. A log that is written anew has the
// same ones in the same place only if all its lines are the same.
const markSize = 64

// errCut is returned for a file that has not the bytes any more that were read of it.
var errCut = errors.New("log file was cut")

// look returns the size of the file that is being read, and when it was written to last, or
// errCut. Where there is nothing to read, and it was written to, it looks at what it has
// instead; else read does.
func (t *Tailer) look() (size, written int64, err error) {
	st, err := t.at.stat()
	if err != nil {
		return 0, 0, err
	}
	if size, written = st.Size, st.Mtim.Nano(); t.at.written != 0 {
		written = t.at.written
	}
	if size < max(t.pos.Offset, t.pos.Mark.End) {
		return 0, 0, errCut
	}
	if size-t.pos.Offset <= t.stalled && written != t.pos.Written {
		if ok, err := t.at.holds(t.pos.Mark); err != nil || !ok {
			return 0, 0, cmp.Or(err, errCut)
		}
		t.pos.Written, t.stalled = written, 0 // reserved space may have been written to
	}
	return size, written, nil
}

// startAgain goes to the beginning of a file that was cut; before, to the copies that have
// what was not read of it.
func (t *Tailer) startAgain() {
	if t.pos.Offset > 0 || t.pos.Mark.Len > 0 {
		t.Truncated += 1 + t.Log.recover(t.at, &t.pos)
	}
	t.at.read.Store(0)
	t.at = nil // it is entered again when its turn comes
}

// readChecked fills buf from the offset on; before is room for markSize bytes. It returns
// errCut when the file has not what was read of it before; if it has, the mark is moved to
// the end of what was read now.
func (t *Tailer) readChecked(buf, before []byte) (int, error) {
	at := t.pos.Offset
	if at == 0 && t.pos.Mark.Len == 0 {
		if n := t.Log.cutAgain(t.at, t.pos.Written); n > 0 {
			t.Truncated += n
			return 0, errCut
		}
	}
	var seen [markSize]byte
	before = before[:min(at, markSize)]
	got, err := t.at.readBehind(before, buf, at)
	if err != nil {
		return 0, err
	}
	m := t.pos.Mark
	from := m.End - int64(m.Len) - at + int64(len(before)) // in before and buf
	if m.Len > markSize || from < 0 || from+int64(m.Len) > int64(len(before)+got) {
		if ok, err := t.at.holds(m); err != nil || !ok {
			return 0, cmp.Or(err, errCut)
		}
	} else if m.Len > 0 {
		cut(seen[:m.Len], before, buf[:got], int(from))
		if xxhash.Sum64(seen[:m.Len]) != m.Sum && !t.at.torn(seen[:m.Len]) {
			return 0, errCut
		}
	}
	t.pos.Mark = remember(m, before, buf[:got], at)
	if at == 0 {
		n := min(got, FingerprintSize)
		t.pos.Fingerprint, t.pos.FingerprintLen = xxhash.Sum64(buf[:n]), n
	}
	return got, nil
}

// remember returns the mark of the last text of what was read: before ends where text
// begins, at offset at. NULs at the end may still be written over, so they are left out.
// Where there is nothing else the mark stays as it was.
func remember(old position.Mark, before, text []byte, at int64) position.Mark {
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 {
		return old
	}
	var buf [markSize]byte
	end := at + int64(len(text))
	n := min(markSize, len(before)+len(text))
	cut(buf[:n], before, text, len(before)+len(text)-n)
	return position.Mark{End: end, Len: n, Sum: xxhash.Sum64(buf[:n])}
}

// cut fills buf from two pieces that follow each other, from from on.
func cut(buf, first, second []byte, from int) {
	n := 0
	if from < len(first) {
		n = copy(buf, first[from:])
	}
	copy(buf[n:], second[max(0, from-len(first)):])
}

// holds tells whether f has what m is of still.
func (f *File) holds(m position.Mark) (bool, error) {
	if m.Len <= 0 || m.Len > markSize {
		return true, nil // nothing is known, or a later version wrote it
	}
	var buf [markSize]byte
	n, err := f.ReadAt(buf[:m.Len], m.End-int64(m.Len))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n == m.Len && (xxhash.Sum64(buf[:n]) == m.Sum || f.torn(buf[:n])), nil
}

// torn tells whether bytes of f that differ from what they were do so because the disk lost
// them, in a power cut, and has NULs instead. Where a program goes on at its old offset after
// its file was cut, the file begins with NULs too.
func (f *File) torn(piece []byte) bool {
	if piece[len(piece)-1] != 0 {
		return false
	}
	var head [1]byte
	n, err := f.ReadAt(head[:], 0)
	return err == nil && n == 1 && head[0] != 0
}

// intact tells whether f, as it is now, has what was read of it up to pos.
func (f *File) intact(pos *position.FilePos) bool {
	size, err := f.Size()
	if err != nil || size < pos.Offset {
		return false
	}
	ok, err := f.holds(pos.Mark)
	return err == nil && ok
}

// readBehind fills before with the bytes that end at off, and buf with those from off on,
// as far as the file goes, in one call. It returns how much of buf it filled, and io.EOF
// when that is nothing.
func (f *File) readBehind(before, buf []byte, off int64) (int, error) {
	n, err := f.preadv(before, buf, off-int64(len(before)))
	if err != nil {
		return 0, fmt.Errorf("read log file at %d: %w", off, err)
	}
	n -= len(before)
	if n <= 0 {
		return 0, io.EOF
	}
	if n < len(buf) {
		more, err := f.ReadAt(buf[n:], off+int64(n))
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		n += more
	}
	return n, nil
}

func (f *File) preadv(first, second []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, errLetGo
	}
	return retryEINTR(func() (int, error) { return unix.Preadv(f.fd, [][]byte{first, second}, off) })
}

// begins tells whether f begins with all that g has: g is a copy of what f has still. It
// looks at the first and last bytes of g.
func (f *File) begins(g *File) bool {
	size, err := g.Size()
	if err != nil || size == 0 {
		return err == nil
	}
	var ours, its [FingerprintSize]byte
	n := min(size, FingerprintSize)
	for _, at := range []int64{0, size - n} {
		if got, err := g.ReadAt(its[:n], at); err != nil || int64(got) < n {
			return false
		}
		if got, err := f.ReadAt(ours[:n], at); err != nil || int64(got) < n {
			return false
		}
		if !bytes.Equal(ours[:n], its[:n]) {
			return false
		}
	}
	return true
}
