// Package deadletter keeps, on disk, the entries that a sink refused for good, with the
// reason, so that a person can look at them and send them again.
//
// A Writer owns the directory deadletter/<sink> of the data directory: files of one
// JSON object a line (package ndjson gives the form), to which it adds sink, reason,
// detail and at, the time of writing. What Write took is on disk when it returns. The
// directory does not grow past its cap, but for what one Write brings: the oldest file
// makes room, and its lines are counted.
package deadletter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter/ndjson"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// Dir is the directory below the data directory; ReasonFull the reason under which
// lines are counted that had to go for newer ones.
const (
	Dir        = "deadletter"
	ReasonFull = "deadletter_full"
)

// MaxDetail caps the text of the other side, in bytes.
const MaxDetail = 1 << 10

// Options are what Open may be given besides; the zero value is right.
type Options struct {
	// FS replaces the directory.
	FS spool.FS
	// Now replaces the clock.
	Now func() time.Time
}

// Stats are a writer's numbers at one moment.
type Stats struct {
	// Bytes and Lines are in the directory now.
	Bytes, Lines int64
	// Dropped are the lines that went for newer ones since Open: count them as dropped,
	// with ReasonFull.
	Dropped int64
}

// Writer writes the dead letters of one sink. It is safe for concurrent use.
type Writer struct {
	fs       spool.FS
	max      int64
	fileSize int64
	now      func() time.Time
	sink     []byte // the JSON string

	mu      sync.Mutex
	closed  bool
	files   []*file // oldest first
	active  spool.File
	fresh   bool // the active file's name is not durable yet
	nextID  uint64
	dropped int64
	buf     []byte
}

// Open opens the dead letters of a sink and counts what is there. What was cut off in
// the middle of a line by a crash is removed: it had not been taken.
func Open(dataDir, name string, maxBytes int64, o Options) (*Writer, error) {
	if name == "" || name == "." || strings.ContainsAny(name, "/\\\x00") || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("open the dead letters of sink %q: the name is no file name; use letters, digits, '-' and '_'", name)
	}
	if maxBytes <= 0 {
		return nil, fmt.Errorf("open the dead letters of sink %s: the cap is %d bytes; it must be above 0", name, maxBytes)
	}
	w := &Writer{
		fs: o.FS, now: o.Now, max: maxBytes, fileSize: max(min(maxBytes/8, 16<<20), 4<<10),
		sink: ndjson.AppendString(nil, name), nextID: 1,
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.fs == nil {
		dir := filepath.Join(dataDir, Dir, name)
		var err error
		if w.fs, err = spool.Dir(dir); err != nil {
			return nil, fmt.Errorf("open the dead letters of sink %s: %w", name, err)
		}
	}
	if err := w.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the dead letters of sink %s: %w", name, err), w.fs.Close())
	}
	return w, nil
}

// Write appends the entries of views that were refused, as sink.RejectedError lists
// them, and returns when they are on disk. It reads their batches and does not keep
// them. After an error none of them is there, and it can be tried again.
func (w *Writer) Write(views []record.View, refused []sink.Rejection) error {
	if len(refused) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.New("write dead letters: the writer is closed")
	}
	b := w.buf[:0]
	at := w.now().UnixNano()
	for i := range refused {
		r := &refused[i]
		if r.View < 0 || r.View >= len(views) || r.Entry < 0 || r.Entry >= len(views[r.View].Batch.Entries) {
			return fmt.Errorf("write dead letters: sink %s refused entry %d of view %d, which it was not given; this is a bug", w.sink, r.Entry, r.View)
		}
		b = w.append(b, views[r.View].Batch, r, at)
	}
	if w.buf = b; cap(b) > 1<<20 {
		w.buf = nil
	}
	f, err := w.place(int64(len(b)))
	if err == nil {
		err = w.commit(f, b, int64(len(refused)))
	}
	if err != nil {
		return fmt.Errorf("write dead letters: %w; free space on the disk of data_dir", err)
	}
	return nil
}

func (w *Writer) append(b []byte, batch *record.Batch, r *sink.Rejection, at int64) []byte {
	e := &batch.Entries[r.Entry]
	b = ndjson.AppendTime(append(b, `{"time":`...), e.Time)
	if s := batch.Source.Streams[e.Output]; s != nil {
		b = ndjson.AppendStream(append(b, ','), s)
	}
	b = ndjson.AppendLine(append(b, ','), batch.Line(r.Entry), e.Flags)
	b = append(append(b, `,"sink":`...), w.sink...)
	b = ndjson.AppendString(append(b, `,"reason":`...), r.Reason)
	b = ndjson.AppendString(append(b, `,"detail":`...), r.Detail[:min(len(r.Detail), MaxDetail)])
	b = ndjson.AppendTime(append(b, `,"at":`...), at)
	return append(b, '}', '\n')
}

// place returns the file for n more bytes, and makes room for them.
func (w *Writer) place(n int64) (*file, error) {
	if w.active != nil && w.last().size > 0 && w.last().size+n > w.fileSize {
		if err := w.seal(); err != nil {
			return nil, err
		}
	}
	for len(w.files) > 0 && w.bytes()+n > w.max {
		if len(w.files) == 1 && w.active != nil {
			if w.last().size == 0 {
				break
			}
			if err := w.seal(); err != nil {
				return nil, err
			}
		}
		oldest := w.files[0]
		if err := w.fs.Remove(oldest.name()); err != nil {
			return nil, fmt.Errorf("remove the oldest dead letters: %w", err)
		}
		w.dropped += oldest.lines
		w.files = w.files[1:]
	}
	if w.active == nil {
		f := &file{id: w.nextID}
		active, err := w.fs.Open(f.name(), os.O_CREATE|os.O_EXCL)
		if err != nil {
			return nil, err
		}
		w.nextID++
		w.files = append(w.files, f)
		w.active, w.fresh = active, true
	}
	return w.last(), nil
}

// commit writes and syncs. After a failure the file is cut to what it was and left: of
// pages whose fsync failed nobody knows what reached the disk.
func (w *Writer) commit(f *file, b []byte, lines int64) error {
	_, err := w.active.WriteAt(b, f.size)
	if err == nil {
		err = w.active.Sync()
	}
	if err == nil && w.fresh {
		err = w.fs.Sync()
	}
	if err != nil {
		return errors.Join(err, w.active.Truncate(f.size), w.seal())
	}
	w.fresh = false
	f.size += int64(len(b))
	f.lines += lines
	return nil
}

func (w *Writer) last() *file { return w.files[len(w.files)-1] }

// seal ends the active file.
func (w *Writer) seal() error {
	f := w.active
	w.active = nil
	return f.Close()
}

func (w *Writer) bytes() (n int64) {
	for _, f := range w.files {
		n += f.size
	}
	return n
}

// Stats returns the numbers of the moment.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Stats{Bytes: w.bytes(), Dropped: w.dropped}
	for _, f := range w.files {
		s.Lines += f.lines
	}
	return s
}

// Bytes returns the size of all files.
func (w *Writer) Bytes() int64 { return w.Stats().Bytes }

// Close closes the files; all that was written is on disk already.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	var err error
	if w.active != nil {
		err = w.seal()
	}
	return errors.Join(err, w.fs.Close())
}
