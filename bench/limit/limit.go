// Package limit measures what one core of this machine can do at best with a log: read it
// from the page cache, split it into lines, copy (or unescape) them into a protobuf-like
// buffer, and compress that with snappy. There is no network. A share of the limit can be
// compared between machines; a rate cannot.
package limit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sys/unix"
)

const block = 1 << 20

// Time is the processor time that a core takes for the work that cannot be left out with
// these files, which are logs, or json-files of the engine.
func Time(core int, records bool, paths ...string) (took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	only.Set(core)
	if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, &only)); err != nil {
		return 0, fmt.Errorf("pin the measurement of the limit to core %d: %w", core, err)
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &before)) }()
	add := (*Limit).Copy
	if records {
		add = (*Limit).Unescape
	}
	l := New(true)
	began, err := threadTime()
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		if _, err := l.File(path, add); err != nil {
			return 0, fmt.Errorf("measure the limit: %w", err)
		}
	}
	ended, err := threadTime()
	return ended - began, err
}

func threadTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0, fmt.Errorf("read the processor time of a thread: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// Limit holds the buffers of one run, so that nothing is allocated in it.
type Limit struct {
	chunk, out, packed []byte
	snappy             bool
	lines, packedBytes int
}

// New returns a limit that compresses, or does not.
func New(snappy bool) *Limit {
	return &Limit{
		chunk: make([]byte, 0, 2*block), out: make([]byte, 0, 2*block),
		packed: make([]byte, s2.MaxEncodedLen(2*block)), snappy: snappy,
	}
}

// File reads a file by chunks, splits it and hands each line to add; nil only reads.
func (l *Limit) File(path string, add func(*Limit, []byte)) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	total, kept := int64(0), 0
	for {
		n, err := f.Read(l.chunk[kept : kept+block])
		total += int64(n)
		if errors.Is(err, io.EOF) {
			l.flush()
			return total, nil
		}
		if err != nil {
			return 0, err
		}
		if add == nil {
			continue
		}
		rest := l.chunk[:kept+n]
		for {
			at := bytes.IndexByte(rest, '\n')
			if at < 0 {
				break
			}
			add(l, rest[:at])
			l.lines++
			rest = rest[at+1:]
		}
		kept = copy(l.chunk[:block], rest)
	}
}

// begin appends what stands before the line in a push request: tags, lengths and a timestamp.
func (l *Limit) begin(n int) {
	l.out = append(l.out, 0x12)
	l.out = binary.AppendUvarint(l.out, uint64(n+16))
	l.out = append(l.out, 0x0a, 0x0c, 0x08)
	l.out = binary.AppendUvarint(l.out, 1_795_300_000)
	l.out = append(l.out, 0x10)
	l.out = binary.AppendUvarint(l.out, uint64(l.lines))
	l.out = append(l.out, 0x12)
	l.out = binary.AppendUvarint(l.out, uint64(n))
}

func (l *Limit) end() {
	if len(l.out) >= block {
		l.flush()
	}
}

// Copy copies a line into the request.
func (l *Limit) Copy(b []byte) {
	l.begin(len(b))
	l.out = append(l.out, b...)
	l.end()
}

// valueEnd is what follows the log value; within it a quote would be escaped.
var valueEnd = []byte(`","stream":"`)

// Unescape does what must be done to a json-file record at the least: it finds the
// end of the log value, undoes its escapes, and trusts the rest.
func (l *Limit) Unescape(b []byte) {
	b = b[len(`{"log":"`):]
	b = b[:max(bytes.LastIndex(b, valueEnd), 0)]
	l.begin(len(b))
	for {
		at := bytes.IndexByte(b, '\\')
		if at < 0 {
			l.out = append(l.out, b...)
			l.end()
			return
		}
		l.out = append(l.out, b[:at]...)
		switch b[at+1] {
		case 'u':
			l.out = append(l.out, hex(b[at+4])<<4|hex(b[at+5]))
			b = b[at+6:]
			continue
		case 'n':
			l.out = append(l.out, '\n')
		default:
			l.out = append(l.out, b[at+1])
		}
		b = b[at+2:]
	}
}

func hex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func (l *Limit) flush() {
	if l.snappy {
		l.packedBytes += len(s2.EncodeSnappy(l.packed, l.out))
	}
	l.out = l.out[:0]
}
