// Package archive reads rotated logs that were compressed, as gzip or zstd.
//
// An archive is read from an offset of its content, so that only the part of a log is read
// that was not read before it was compressed; what lies before is decompressed and thrown
// away, since neither format can be entered in the middle. Its first bytes have the same
// fingerprint as those of the file it was made from, which is how the two are matched.
//
// Which format it is, its first bytes tell, not its name. One that holds an archive again is
// refused: that is no log. Nobody's disk or memory is at an
// archive's mercy: the content's size, its ratio to the archive's, and the window that a
// zstd frame may ask for are bounded (Limits). A damaged or truncated archive gives out what
// is readable before the damage, and then an *Error that says where it is. One that is
// still being written ends like a truncated one: Truncated tells, and whoever reads it may
// come again.
//
// There are no goroutines, and nothing is kept in memory but the decompressor's window.
package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Limits bound what an archive may hold. Zero is the default.
type Limits struct {
	Bytes int64 // of content; 16 GiB
	// Ratio is how much larger the content may be than what was read of the archive.
	// 2000: gzip cannot reach it, so it stops what is made to be a bomb, and not the log
	// of a program that says one thing over and over. The first 16 MiB are free.
	Ratio  int64
	Window int64 // of memory, for zstd; 32 MiB. "zstd --ultra" and "--long" may ask for more
}

const (
	defaultBytes  = 16 << 30
	defaultRatio  = 2000
	defaultWindow = 32 << 20
	freeBytes     = 16 << 20 // of content, whatever the ratio
	bufferSize    = 32 << 10
)

// What is wrong with an archive; an *Error holds one of them, or the system's error.
var (
	// ErrFormat: it is neither gzip nor zstd.
	ErrFormat = errors.New("it is neither gzip nor zstd")
	// ErrTruncated: its end is missing.
	ErrTruncated = errors.New("its end is missing: it is still being written, or was cut")
	// ErrDamaged: its bytes are not what the compressor wrote.
	ErrDamaged = errors.New("it is damaged")
	// ErrBomb: it holds more than the limits allow.
	ErrBomb = errors.New("it holds more than is allowed")
	// ErrNested: what it holds is an archive again (gzip, zstd, tar), and no log.
	ErrNested = errors.New("it holds another archive, and no log")
	// ErrNotRegular: it is no file (a FIFO, a device, a directory).
	ErrNotRegular = errors.New("not a regular file")
)

// Error says what is wrong with an archive, and where.
type Error struct {
	Path   string
	Offset int64 // of the content: what lies before could be read
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("read archive %s, at byte %d of its content: %v", e.Path, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reader reads the content of an archive from its start to its end. It has one user at a
// time.
type Reader struct {
	path   string
	file   io.Closer
	read   counter // the archive's bytes
	limits Limits
	gzip   *gzip.Reader
	zstd   *zstd.Decoder
	from   io.Reader
	offset int64 // of the next byte that the decompressor gives
	head   []byte
	at     int   // of the head, the next byte to be given out
	err    error // sticky
}

// Open opens an archive, without ever blocking on what is no file. Who opens it closes it.
func Open(path string, limits Limits) (*Reader, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &Error{Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	r, err := New(f, path, limits)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.file = f
	return r, nil
}

// New reads an archive from from, which stays the caller's to close. path is for the
// errors.
func New(from io.Reader, path string, limits Limits) (*Reader, error) {
	r := &Reader{path: path, limits: limits, read: counter{from: from}}
	r.limits.Bytes = orDefault(limits.Bytes, defaultBytes)
	r.limits.Ratio = orDefault(limits.Ratio, defaultRatio)
	r.limits.Window = orDefault(limits.Window, defaultWindow)
	buffered := bufio.NewReaderSize(&r.read, bufferSize)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, r.fail(err)
	}
	switch {
	case isGzip(magic):
		r.gzip, err = gzip.NewReader(buffered)
	case isZstd(magic):
		r.zstd, err = zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(r.limits.Window)))
	case len(magic) < 4:
		err = ErrTruncated
	default:
		err = ErrFormat
	}
	if err != nil {
		return nil, r.fail(err)
	}
	if r.from = r.gzip; r.zstd != nil {
		r.from = r.zstd
	}
	if _ = r.peek(tarMagicEnd); nested(r.head) { // an error comes again when it is read
		r.err = r.fail(ErrNested)
		return nil, r.err
	}
	return r, nil
}

// tarMagic stands before tarMagicEnd in a tar.
const (
	tarMagic    = "ustar"
	tarMagicEnd = 262
)

// nested tells whether a content that begins so is an archive.
func nested(head []byte) bool {
	return isGzip(head) || len(head) >= 4 && isZstd(head[:4]) ||
		len(head) >= tarMagicEnd && string(head[tarMagicEnd-len(tarMagic):tarMagicEnd]) == tarMagic && bytes.IndexByte(head, 0) >= 0
}

func isGzip(m []byte) bool { return len(m) >= 2 && m[0] == 0x1f && m[1] == 0x8b }

// isZstd tells whether a zstd frame begins so, be it one that holds nothing.
func isZstd(m []byte) bool {
	return len(m) == 4 && (m[0] == 0x28 && m[1] == 0xb5 && m[2] == 0x2f && m[3] == 0xfd ||
		m[0]&0xf0 == 0x50 && m[1] == 0x2a && m[2] == 0x4d && m[3] == 0x18)
}

func orDefault(n, otherwise int64) int64 {
	if n > 0 {
		return n
	}
	return otherwise
}

// Offset returns where in the content the next Read begins, in bytes.
func (r *Reader) Offset() int64 { return r.offset - int64(len(r.head)-r.at) }

// Read implements io.Reader. Its errors are io.EOF and *Error.
func (r *Reader) Read(p []byte) (int, error) {
	if r.at < len(r.head) {
		n := copy(p, r.head[r.at:])
		r.at += n
		return n, nil
	}
	r.head, r.at = nil, 0
	return r.decompress(p)
}

func (r *Reader) decompress(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.err != nil {
		return 0, r.err
	}
	if left := r.limits.Bytes - r.offset; int64(len(p)) > left+1 {
		p = p[:left+1] // one more tells that there is more
	}
	n, err = r.from.Read(p)
	r.offset += int64(n)
	if over := r.offset - r.limits.Bytes; over > 0 {
		n -= int(over)
		r.offset = r.limits.Bytes
		err = fmt.Errorf("%w: more than %d bytes", ErrBomb, r.limits.Bytes)
	} else if r.offset > freeBytes && r.offset/r.limits.Ratio > r.read.n {
		err = fmt.Errorf("%w: more than %d times its size", ErrBomb, r.limits.Ratio)
	}
	if err != nil {
		r.err = r.fail(err)
	}
	if n > 0 {
		return n, nil // what is readable comes first
	}
	return 0, r.err
}

// fail makes one of the package's errors of the decompressor's.
func (r *Reader) fail(err error) error {
	var system *os.PathError
	switch {
	case errors.Is(err, io.EOF) && r.from != nil:
		return io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = ErrTruncated
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		err = fmt.Errorf("%w: %w", ErrBomb, err)
	case errors.Is(err, ErrBomb), errors.Is(err, ErrTruncated), errors.Is(err, ErrFormat), errors.Is(err, ErrNested), errors.As(err, &system):
	case r.read.err != nil:
		err = r.read.err
	default:
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &Error{Path: r.path, Offset: r.offset, Err: err}
}

// SkipTo goes on at an offset of the content, which is not before Offset. io.EOF means
// that the content ends before it: then the archive is not what the offset is of.
func (r *Reader) SkipTo(offset int64) error {
	if offset < r.Offset() {
		return fmt.Errorf("read archive %s from byte %d: it was read to %d already; open it anew", r.path, offset, r.Offset())
	}
	var buf [bufferSize]byte
	for left := offset - r.Offset(); left > 0; left = offset - r.Offset() {
		if _, err := r.Read(buf[:min(left, int64(len(buf)))]); err != nil {
			return err
		}
	}
	return nil
}

// Fingerprint returns the hash of the content's first size bytes and how many there are,
// as package tail takes it of files. It is asked before the first Read, and takes nothing
// from it. With fewer bytes than size, err tells whether the content is so short (nil) or
// could not be read.
func (r *Reader) Fingerprint(size int) (sum uint64, n int, err error) {
	if r.offset != int64(len(r.head)) || r.at > 0 {
		return 0, 0, fmt.Errorf("fingerprint of archive %s: it was read already; open it anew", r.path)
	}
	if err = r.peek(size); errors.Is(err, io.EOF) {
		err = nil
	}
	n = min(size, len(r.head))
	return xxhash.Sum64(r.head[:n]), n, err
}

// peek has the content's first size bytes in head, if there are as many; before the first
// Read.
func (r *Reader) peek(size int) error {
	for len(r.head) < size {
		more := make([]byte, size-len(r.head))
		got, err := r.decompress(more)
		r.head = append(r.head, more[:got]...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Close gives the memory back, and closes what Open opened.
func (r *Reader) Close() error {
	if r.zstd != nil {
		r.zstd.Close()
		r.zstd = nil
	}
	r.gzip, r.from, r.head, r.at = nil, nil, nil, 0
	r.err = &Error{Path: r.path, Offset: r.offset, Err: os.ErrClosed}
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// counter counts what is read of the archive, and keeps the error of reading it apart
// from those of decompressing.
type counter struct {
	from io.Reader
	n    int64
	err  error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
