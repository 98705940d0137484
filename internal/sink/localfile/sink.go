// Package localfile delivers entries to files on this host: NDJSON or the raw lines, in
// files whose paths come from a template, ended by size and time, compressed and
// removed when they are old.
//
// The sink owns what its template can name below the template's fixed directory, and
// nothing else there: it reaches files through os.Root, follows no symbolic link and
// writes to regular files only. A Send is there as a whole or, after an error, not at
// all: files are cut back to where it began. There is no goroutine; ended files are
// compressed by the Send that ended them, and what a crash left half done is finished by
// the first Send of the next process.
package localfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter/ndjson"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

var _ sink.Sink = (*Sink)(nil)

// Bounds on what the sink keeps at hand.
const (
	maxOpen  = 64 // descriptors
	maxPaths = 4096
	maxKept  = 64 << 10 // bytes of a file's buffer between two Sends, for maxOpen files
)

// sweepEvery is how often ended files are looked over.
const sweepEvery = time.Hour

// Sink is the local file sink.
type Sink struct {
	config   Config
	template *template
	log      *slog.Logger
	now      func() time.Time
	// open opens a file for appending; a test puts faults in its place.
	open func(root *os.Root, name string, flag int) (osFile, error)

	closed  bool
	root    *os.Root // nil before the first Send
	swept   time.Time
	handles map[string]*handle
	files   ledger.Account // of handles
	tick    int64
	torn    map[string]int64 // sizes to which files must still be cut back
	ended   []string         // files to be compressed

	paths    map[pathKey]string
	rendered map[*record.Stream][]byte
	targets  map[string]*target
	order    []*target
	spare    [][]byte
}

type pathKey struct {
	source *record.Source
	output record.Output
	from   int64
}

// target is a file that a Send writes to.
type target struct {
	path   string
	buf    []byte
	wrote  bool
	before int64 // its size when the Send began
}

// New returns a sink. It touches no file before the first Send.
func New(cfg Config, deps sink.Deps) (*Sink, error) {
	for _, e := range append(cfg.Validate(), cfg.Rotate.Validate()...) {
		return nil, fmt.Errorf("sink %s: %w", deps.Name, e)
	}
	t, err := parseTemplate(cfg.Path, deps.DataDir)
	if err != nil {
		return nil, fmt.Errorf("sink %s: path: %w", deps.Name, err)
	}
	log := deps.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sink{
		config: cfg, template: t, log: log, now: time.Now, open: openFile,
		handles: map[string]*handle{}, torn: map[string]int64{},
		paths: map[pathKey]string{}, rendered: map[*record.Stream][]byte{}, targets: map[string]*target{},
	}, nil
}

// Files returns the account of the files that are open, and how many there may be.
func (s *Sink) Files() (open *ledger.Account, most int) { return &s.files, maxOpen }

// Send appends the entries to their files, one write for each file. See sink.Sink.
func (s *Sink) Send(ctx context.Context, views []record.View) error {
	if s.closed {
		return errors.New("write to local files: the sink is closed")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.ready(); err != nil {
		return err
	}
	for _, v := range views {
		s.encode(v)
	}
	err := s.write()
	s.release()
	if err != nil {
		return fmt.Errorf("write to local files in %s: %w", s.template.dir, err)
	}
	s.tidy(ctx)
	return nil
}

// encode appends a view's entries to the buffers of their files.
func (s *Sink) encode(v record.View) {
	type slot struct {
		target   *target
		from, to int64
		stream   []byte
	}
	var slots [record.Outputs]slot
	src := v.Batch.Source
	for i := v.From; i < v.To; i++ {
		e := &v.Batch.Entries[i]
		c := &slots[e.Output]
		if c.target == nil || e.Time < c.from || e.Time >= c.to {
			c.from, c.to = s.template.span(e.Time)
			c.target = s.target(s.path(src, e.Output, c.from, e.Time))
			c.stream = s.stream(src.Streams[e.Output])
		}
		if s.config.Format == FormatRaw {
			c.target.buf = append(append(c.target.buf, v.Batch.Line(i)...), '\n')
			continue
		}
		c.target.buf = appendEntry(c.target.buf, e, c.stream, v.Batch.Line(i))
	}
}

// appendEntry appends one NDJSON line; stream is what ndjson.AppendStream made.
func appendEntry(b []byte, e *record.Entry, stream, line []byte) []byte {
	b = ndjson.AppendTime(append(b, `{"time":`...), e.Time)
	b = append(append(b, ','), stream...)
	b = ndjson.AppendLine(append(b, ','), line, e.Flags)
	return append(b, '}', '\n')
}

func (s *Sink) path(src *record.Source, out record.Output, from, ns int64) string {
	key := pathKey{src, out, from}
	p, ok := s.paths[key]
	if !ok {
		if len(s.paths) >= maxPaths {
			clear(s.paths)
		}
		p = s.template.render(src, out, ns)
		s.paths[key] = p
	}
	return p
}

func (s *Sink) stream(stream *record.Stream) []byte {
	b, ok := s.rendered[stream]
	if !ok {
		if len(s.rendered) >= maxPaths {
			clear(s.rendered)
		}
		known := stream
		if known == nil {
			known = &record.Stream{}
		}
		b = ndjson.AppendStream(nil, known)
		s.rendered[stream] = b
	}
	return b
}

func (s *Sink) target(path string) *target {
	t := s.targets[path]
	if t == nil {
		t = &target{path: path}
		if n := len(s.spare); n > 0 {
			t.buf, s.spare = s.spare[n-1], s.spare[:n-1]
		}
		s.targets[path] = t
		s.order = append(s.order, t)
	}
	return t
}

// release lets go of the buffers, but for some that the next Send will want.
func (s *Sink) release() {
	for _, t := range s.order {
		if large := cap(t.buf) > maxKept; len(s.spare) < maxOpen && (!large || len(s.spare) == 0 && cap(t.buf) <= 4<<20) {
			s.spare = append(s.spare, t.buf[:0])
		}
	}
	clear(s.targets)
	clear(s.order)
	s.order = s.order[:0]
}

// write writes all buffers, or cuts back what it wrote of them.
func (s *Sink) write() error {
	for _, t := range s.order {
		if err := s.writeTarget(t); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", t.path, err), s.rollback())
		}
	}
	return nil
}

func (s *Sink) writeTarget(t *target) error {
	h, err := s.handle(t.path)
	if err != nil {
		return err
	}
	if s.due(h, int64(len(t.buf))) {
		if err := s.end(t.path, s.now()); err != nil {
			return err
		}
		if h, err = s.handle(t.path); err != nil {
			return err
		}
	}
	t.before, t.wrote = h.size, true
	n, err := h.file.Write(t.buf)
	h.size += int64(n)
	h.written = s.now()
	if err != nil {
		return fmt.Errorf("%w; free space, or let the agent's user write there", err)
	}
	if !s.config.Fsync {
		return nil
	}
	if err := h.file.Sync(); err != nil {
		return err
	}
	if h.fresh {
		h.fresh = false
		return s.syncDir(t.path)
	}
	return nil
}

// rollback cuts the files of this Send back. What cannot be cut now must be before the
// next Send writes.
func (s *Sink) rollback() error {
	for _, t := range s.order {
		if t.wrote {
			s.torn[t.path] = t.before
		}
	}
	return s.heal()
}

// heal cuts back what is left to be cut.
func (s *Sink) heal() error {
	for path, size := range s.torn {
		h, err := s.handle(path)
		if err == nil && h.size > size {
			err = h.file.Truncate(size)
		}
		if err != nil {
			return fmt.Errorf("cut %s back to %d bytes after a failed write: %w", path, size, err)
		}
		// A descriptor whose fsync failed tells no truth any more, at its close neither.
		_ = s.drop(path)
		delete(s.torn, path)
	}
	return nil
}

// Close closes the files.
func (s *Sink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for path := range s.handles {
		errs = append(errs, s.drop(path))
	}
	if s.root != nil {
		errs = append(errs, s.root.Close())
	}
	return errors.Join(errs...)
}
