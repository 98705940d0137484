// Package deadletter keeps, on disk, the entries that a sink refused for good, with the
// reason, so that a person can look at them and send them again.
//
// A Writer owns the directory deadletter/<sink> of the data directory: files of one
// JSON object a line, a Letter each. What Write took is on disk when it returns, and it
// stays until an Edit takes it out or a cap does, by size or by age: whole files, the
// oldest first, and their lines are counted. A file is never changed in place: an Edit
// writes it anew beside the old one and renames, so whatever happens in between, every
// letter is in the one or the other.
package deadletter

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// Dir is the directory below the data directory.
const Dir = "deadletter"

// The reasons under which letters are counted that a cap removed.
const (
	ReasonFull    = "deadletter_full"
	ReasonExpired = "deadletter_expired"
)

// MaxDetail caps the text of the other side, in bytes.
const MaxDetail = 1 << 10

// Options are what Open may be given besides; the zero value is right.
type Options struct {
	// MaxAge is how long letters are kept after their last try, and an eighth longer at
	// most; 0 is for ever.
	MaxAge time.Duration
	// FS replaces the directory.
	FS spool.FS
	// Now replaces the clock.
	Now func() time.Time
}

// Stats are a writer's numbers at one moment.
type Stats struct {
	// Bytes and Lines are in the directory now.
	Bytes, Lines int64
	// Dropped are the lines that went for newer ones since Open (ReasonFull), Expired
	// those that were too old (ReasonExpired).
	Dropped, Expired int64
}

// Writer keeps the dead letters of one sink. It is safe for concurrent use.
type Writer struct {
	fs       spool.FS
	fileSize int64
	now      func() time.Time
	sink     string

	mu      sync.Mutex
	max     int64
	maxAge  time.Duration
	closed  bool
	files   []*file // oldest first
	active  spool.File
	fresh   bool // the active file's name is not durable yet
	nextID  uint64
	dropped int64
	expired int64
	buf     []byte
}

// Files returns the account of the files that are open, nil with Options.FS, and how many
// there should be at most: the one that is written, one that is looked through, and its
// successor.
func (w *Writer) Files() (open *ledger.Account, expected int) { return spool.Held(w.fs), 3 }

// Open opens the dead letters of a sink and counts what is there. maxBytes is the size
// on disk that makes the oldest go for newer ones. What was cut off in the middle of a
// line by a crash is removed: it had not been taken.
func Open(dataDir, name string, maxBytes int64, o Options) (*Writer, error) {
	if name == "" || name == "." || strings.ContainsAny(name, "/\\\x00") || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("open the dead letters of sink %q: the name is no file name; use letters, digits, '-' and '_'", name)
	}
	if maxBytes <= 0 {
		return nil, fmt.Errorf("open the dead letters of sink %s: the cap is %d bytes; it must be above 0", name, maxBytes)
	}
	w := &Writer{
		fs: o.FS, now: o.Now, max: maxBytes, maxAge: o.MaxAge, fileSize: max(min(maxBytes/8, 4<<20), 4<<10),
		sink: name, nextID: 1,
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

// SetCaps changes the caps; see Open. The next Write and the next Expire go by them.
func (w *Writer) SetCaps(maxBytes int64, maxAge time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.max, w.maxAge = maxBytes, maxAge
}

// Write appends the entries of views that were refused, as sink.RejectedError lists
// them, and returns when they are on disk; first is when they were tried first. It reads
// their batches and does not keep them. After an error none of them is there, and it can
// be tried again.
func (w *Writer) Write(views []record.View, refused []sink.Rejection, first time.Time) error {
	if len(refused) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	b := w.buf[:0]
	now := w.now()
	for i := range refused {
		r := &refused[i]
		if r.View < 0 || r.View >= len(views) || r.Entry < 0 || r.Entry >= len(views[r.View].Batch.Entries) {
			return fmt.Errorf("write dead letters: sink %q refused entry %d of view %d, which it was not given; this is a bug", w.sink, r.Entry, r.View)
		}
		letter := letterOf(views[r.View].Batch, r.Entry)
		letter.Sink, letter.FirstTry = w.sink, first
		letter.Refused(r.Reason, r.Detail, now)
		b = letter.Append(b)
	}
	if w.buf = b; cap(b) > 1<<20 {
		w.buf = nil
	}
	f, err := w.place(int64(len(b)))
	if err == nil {
		err = w.commit(f, b, int64(len(refused)), now)
	}
	if err != nil {
		return fmt.Errorf("write dead letters: %w; free space on the disk of data_dir", err)
	}
	return nil
}

var errClosed = errors.New("the dead letters are closed, the agent is stopping; try again when it runs")

// place returns the file for n more bytes, and makes room for them.
func (w *Writer) place(n int64) (*file, error) {
	if w.active != nil && w.last().size > 0 && (w.last().size+n > w.fileSize || w.ripe(w.last())) {
		if err := w.seal(); err != nil {
			return nil, err
		}
	}
	if err := w.shrink(w.max - n); err != nil {
		return nil, err
	}
	if w.active == nil {
		f := &file{id: w.nextID, begun: w.now()}
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

// ripe tells that the active file must end, so that its first letters can go when they
// are too old and not only with its last.
func (w *Writer) ripe(f *file) bool {
	return w.maxAge > 0 && w.now().Sub(f.begun) > w.maxAge/8
}

// shrink removes the oldest files until the rest takes at most size bytes. One that is
// being edited is left, and so is an empty one.
func (w *Writer) shrink(size int64) error {
	for i := 0; i < len(w.files) && w.bytes() > size; {
		f := w.files[i]
		if f.busy || f.size == 0 {
			i++
			continue
		}
		if err := w.remove(f); err != nil {
			return fmt.Errorf("remove the oldest dead letters: %w", err)
		}
		w.dropped += f.lines
	}
	return nil
}

// Expire removes the files whose newest letter is older than MaxAge. Call it now and
// then: Write does not.
func (w *Writer) Expire() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.maxAge <= 0 {
		return nil
	}
	limit := w.now().Add(-w.maxAge)
	for i := 0; i < len(w.files); {
		f := w.files[i]
		if f.busy || f.size == 0 || !f.newest.Before(limit) {
			i++
			continue
		}
		if err := w.remove(f); err != nil {
			return fmt.Errorf("remove dead letters of sink %s that are too old: %w", w.sink, err)
		}
		w.expired += f.lines
	}
	return nil
}

// remove removes a file, whatever is in it.
func (w *Writer) remove(f *file) error {
	if w.active != nil && f == w.last() {
		if err := w.seal(); err != nil {
			return err
		}
	}
	if err := w.fs.Remove(f.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.files = without(w.files, f)
	return nil
}

// commit writes and syncs. After a failure the file is cut to what it was and left: of
// pages whose fsync failed nobody knows what reached the disk.
func (w *Writer) commit(f *file, b []byte, lines int64, now time.Time) error {
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
	if now.After(f.newest) {
		f.newest = now
	}
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
	s := Stats{Bytes: w.bytes(), Dropped: w.dropped, Expired: w.expired}
	for _, f := range w.files {
		s.Lines += f.lines
	}
	return s
}

// Bytes returns the size of all files.
func (w *Writer) Bytes() int64 { return w.Stats().Bytes }

// NoCap is a size that nothing reaches, for Open.
const NoCap = math.MaxInt64

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
