package tail

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
)

// FingerprintSize is how many of a file's first bytes tell it from another that
// was given the same inode number.
const FingerprintSize = 1024

// ErrNotRegular is returned for a path that is no regular file (a FIFO, a device, a
// directory): opening it could block or read what is no log.
var ErrNotRegular = errors.New("not a regular file")

// errLetGo is returned for a file whose descriptor was closed: a Keeper let it go.
var errLetGo = errors.New("log file is not held any more")

// File is one generation of a log, held open: it can be read to its end whatever
// becomes of its name. It is a bare descriptor, without the poller. It has one reader;
// a Keeper may look at it, and let it go, at any time.
type File struct {
	ID     position.FileID
	newest bool // it had the log's own name when it was opened
	held   *ledger.Holding
	remote bool // no hint tells of a write by others
	// written is when what an archive has was written to last; 0 = the file is no archive.
	written int64
	// copied is the newest of the copies that were made of f before it was cut, and that are
	// read before it.
	copied sibling

	mu sync.RWMutex // a descriptor in use is not closed, nor its number used after that
	fd int

	// read is the offset of the first byte that is this log's to read and was not
	// consumed. The reader alone writes it.
	read  atomic.Int64
	state atomic.Int32 // lent, condemned
	seq   int64        // when it was rotated away, in the Keeper's order; under its Log's lock
}

// What a file's state tells.
const (
	// lent: text of it is in its reader's hands, and it is not decided yet how much of
	// that counts as read.
	lent = 1 << iota
	// condemned: it is let go, nothing of it is read any more.
	condemned
)

// lend tells the Keeper that text of f is about to be read; false: it was let go.
func (f *File) lend() bool { return f.state.CompareAndSwap(0, lent) }

// giveBack ends lend. It returns true when f was to be let go meanwhile.
func (f *File) giveBack() bool { return f.state.And(^lent)&condemned != 0 }

// condemn lets nothing be read of f any more. It returns true when its reader has text
// of it at the moment, and has to let it go itself.
func (f *File) condemn() (busy bool) { return f.state.Or(condemned)&lent != 0 }

// openFile opens path for reading without ever blocking. With follow, a symlink is
// followed; else it is refused.
func openFile(path string, follow bool, open *ledger.Account) (*File, error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := retryEINTR(func() (int, error) { return unix.Open(path, flags, 0) })
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if scarce(fd) {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open %s: %w (logs leave some to the rest of the agent); raise the limit, ulimit -n or LimitNOFILE=", path, unix.EMFILE)
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open %s: %w", path, ErrNotRegular)
	}
	f := &File{ID: position.FileID{Device: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino}, fd: fd}
	f.held, f.remote = ledger.Open("", open, f), remote(fd)
	if st.Mask&unix.STATX_BTIME != 0 {
		f.ID.Birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return f, nil
}

func (f *File) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd >= 0 {
		_ = unix.Close(f.fd)
		f.fd = -1
		f.held.Close()
	}
}

func (f *File) closed() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.fd < 0
}

func (f *File) stat() (st unix.Stat_t, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return st, errLetGo
	}
	if err := unix.Fstat(f.fd, &st); err != nil {
		return st, fmt.Errorf("stat log file: %w", err)
	}
	return st, nil
}

// Size returns the file's size in bytes now.
func (f *File) Size() (int64, error) {
	st, err := f.stat()
	return st.Size, err
}

// ReadAt fills buf from offset off, as far as the file goes; it returns what it read
// and io.EOF when that is nothing.
func (f *File) ReadAt(buf []byte, off int64) (int, error) {
	n := 0
	for n < len(buf) {
		got, err := f.pread(buf[n:], off+int64(n))
		if err != nil {
			return n, fmt.Errorf("read log file at %d: %w", off, err)
		}
		if got == 0 {
			break
		}
		n += got
	}
	if n == 0 && len(buf) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (f *File) pread(buf []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, errLetGo
	}
	return retryEINTR(func() (int, error) { return unix.Pread(f.fd, buf, off) })
}

func (f *File) is(device, inode uint64) bool { return f.ID.Device == device && f.ID.Inode == inode }

// modTime returns when the file was last written to, ns since the epoch; 0 if unknown.
func (f *File) modTime() int64 {
	if f.written != 0 {
		return f.written
	}
	st, err := f.stat()
	if err != nil {
		return 0
	}
	return st.Mtim.Nano()
}

// Same tells whether f is the file that pos speaks of: same device, inode and birth,
// and the same first bytes.
func (f *File) Same(pos *position.FilePos) bool {
	if f.ID != pos.FileID {
		return false
	}
	sum, n, _ := f.fingerprint(pos.FingerprintLen)
	return n == pos.FingerprintLen && (n == 0 || sum == pos.Fingerprint)
}

// goesOn tells whether f is the file of pos, or was before it was cut: then what it has is
// looked at when it is read.
func (f *File) goesOn(pos *position.FilePos) bool {
	return f.Same(pos) || f.ID == pos.FileID && f.ID.Birth != 0 && pos.Mark.Len > 0
}

// Identify writes who f is into pos. The fingerprint is taken again while the file
// had less than FingerprintSize bytes the last time, so that it costs one small read
// per batch at the start of a file and nothing after. What is known of f stays known when
// it was let go, or has another beginning now.
func (f *File) Identify(pos *position.FilePos) {
	if t := f.modTime(); t != 0 {
		pos.Written = t
	}
	if pos.FileID == f.ID && pos.FingerprintLen == FingerprintSize {
		return
	}
	var buf [FingerprintSize]byte
	n, _ := f.ReadAt(buf[:], 0) // what cannot be read is not known
	if known := pos.FingerprintLen; pos.FileID == f.ID && known > 0 && (n < known || xxhash.Sum64(buf[:known]) != pos.Fingerprint) {
		return
	}
	pos.FileID, pos.Fingerprint, pos.FingerprintLen = f.ID, xxhash.Sum64(buf[:n]), n
}

func (f *File) fingerprint(size int) (sum uint64, n int, err error) {
	var buf [FingerprintSize]byte
	n, err = f.ReadAt(buf[:min(size, FingerprintSize)], 0)
	return xxhash.Sum64(buf[:n]), n, err
}

func retryEINTR(fn func() (int, error)) (int, error) {
	for {
		n, err := fn()
		if err != unix.EINTR { //nolint:errorlint // a bare errno from the kernel
			return n, err
		}
	}
}
