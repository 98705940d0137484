// Package jsonfile reads containers' logs straight from the json-files that the
// Docker Engine writes: no cost to the engine, and nothing lost to rotation, where
// its own follow streams skip and repeat lines.
//
// Records are decoded in place, in the batch's arena. Lines over 16 KB, which the
// engine writes in parts, are joined per output. Damaged bytes are skipped up to the
// next newline and counted.
package jsonfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// maxRecord bounds one record of the file: 16 KB of text, six bytes for each at
// worst, and the attributes. What is longer is damage.
const maxRecord = 1 << 20

// Stats counts what went wrong. It is shared by all readers of an Opener.
type Stats struct {
	Damaged     atomic.Int64 // holes of damaged bytes
	Truncated   atomic.Int64 // lines cut at max_line
	Missed      atomic.Int64 // times that generations may have been rotated away unseen
	FileCut     atomic.Int64 // files that became shorter than what had been read
	Descriptors atomic.Int64 // json-files held open now
}

// Opener opens readers of json-files.
type Opener struct {
	Pool    *record.Pool
	MaxLine int // bytes; longer lines are cut
	Stats   *Stats
	// Early, if set, has what was opened before it was announced.
	Early *tail.Early
}

// LogName returns the name of a container's json-file in its directory, which is
// named by the container's ID.
func LogName(dir string) string { return dir + "-json.log" }

// Open implements source.Opener. The reader holds descriptors of all generations that
// are not yet read, from now on.
func (o *Opener) Open(_ context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	log := tail.NewLog(t.Path, tail.Options{History: true, Early: o.Early, Open: &o.Stats.Descriptors})
	tailer, found, err := tail.NewTailer(log, from.File, max(from.Last[record.Stdout], from.Last[record.Stderr]))
	if err != nil {
		log.Close()
		return nil, err
	}
	r := &Reader{Tailer: tailer, opener: o}
	for output := range r.clocks {
		r.clocks[output].Last = from.Last[output]
	}
	if from.File != nil && !found {
		o.Stats.Missed.Add(1)
	} else if from.Ahead != nil {
		r.ahead, r.aheadOf = from.Ahead.Pos, record.Output(from.Ahead.Output)
	}
	if from.API != nil { // it was read as a stream, the last time or before that
		r.api = from.API
		r.passed[record.Stdout], r.passed[record.Stderr] = from.API.Streams[0].Time, from.API.Streams[1].Time
	}
	if from.IsZero() && !t.Since.IsZero() {
		r.since = t.Since.UnixNano()
	}
	r.Update(t)
	return r, nil
}

// Reader reads one container's json-files. Its Log may be asked to Look by others.
type Reader struct {
	*tail.Tailer

	opener *Opener
	target source.Target
	decoder
	clocks [record.Outputs]record.Clock
	parts  [record.Outputs]part
	since  int64

	// Records of aheadOf before ahead were delivered in an earlier life.
	ahead   position.FilePos
	aheadOf record.Output
	damaged bool // inside a hole

	// Records up to passed were delivered from the stream of an earlier life, whose
	// cursor api is kept until both outputs are past it.
	passed [record.Outputs]int64
	api    *position.APIPos
}

// part is the beginning of a line whose end is not read yet.
type part struct {
	text      []byte
	time      int64
	since     time.Time // when it was read
	truncated bool
	start     position.FilePos // of its first record
	pending   bool
}

// Update implements source.Reader.
func (r *Reader) Update(t source.Target) {
	r.target = t
	r.SetGone(t.Gone)
}

// Close implements source.Reader.
func (r *Reader) Close() { r.Log.Close() }

// Next implements source.Reader; it never waits for the log, only for memory.
func (r *Reader) Next(ctx context.Context) (*record.Batch, error) {
	want := 0
	for {
		b, final, err := r.Fill(ctx, r.opener.Pool, want)
		r.count()
		if errors.Is(err, io.EOF) || errors.Is(err, source.ErrIdle) && r.stopped() {
			if b := r.unterminated(); b != nil {
				return b, nil
			}
		}
		if err != nil {
			return nil, err
		}
		size := len(b.Arena)
		whole := bytes.LastIndexByte(b.Arena, '\n') + 1
		switch {
		case whole > 0:
			r.parse(b, whole)
			r.Consume(int64(whole))
			want = 0
		case final, size >= maxRecord:
			r.hole() // a torn last record, or no record at all
			r.Consume(int64(size))
		case size >= max(want, tail.ChunkSize):
			want = maxRecord
		default:
			r.Stall(int64(size))
		}
		if len(b.Entries) > 0 {
			b.Source = r.target.Source
			return b, nil
		}
		b.Done(record.Delivered) // nothing in it: only its memory goes back
	}
}

func (r *Reader) count() {
	r.opener.Stats.FileCut.Add(int64(r.Tailer.Truncated))
	r.Tailer.Truncated, r.Tailer.Done = 0, r.Tailer.Done[:0]
	r.opener.Stats.Missed.Add(int64(r.Log.TakeMissed()))
}

func (r *Reader) hole() {
	if !r.damaged {
		r.opener.Stats.Damaged.Add(1)
	}
	r.damaged = true
}

// parse decodes the records in the first n bytes of the arena.
func (r *Reader) parse(b *record.Batch, n int) {
	defer b.Guard()
	pos := r.Pos()
	base := pos.Offset
	for at := 0; at < n; {
		next := at + bytes.IndexByte(b.Arena[at:n], '\n') + 1
		pos.Offset = base + int64(at)
		r.record(b, at, b.Arena[at:next-1], pos)
		at = next
	}
}

func (r *Reader) record(b *record.Batch, at int, line []byte, pos position.FilePos) {
	if len(line) == 0 {
		return
	}
	rec, damaged, ok := r.decode(line)
	if damaged {
		r.hole()
	}
	if !ok {
		return
	}
	r.damaged = false
	if rec.output == r.aheadOf && r.behindAhead(pos) || rec.time < r.since {
		return
	}
	if passed := r.passed[rec.output]; passed != 0 {
		if rec.time <= passed {
			return
		}
		r.passed[rec.output] = 0
	}
	p := &r.parts[rec.output]
	if p.pending && rec.time != p.time { // parts share the first one's time: that line never ended
		r.emitJoined(b, p, rec.output)
	}
	text, ended := bytes.CutSuffix(rec.text, []byte("\n"))
	if !ended || p.pending {
		r.join(p, rec, text, pos)
		if !ended {
			return
		}
		r.emitJoined(b, p, rec.output)
		return
	}
	text = strip(text)
	e := record.Entry{Output: rec.output, Time: r.clocks[rec.output].Next(rec.time)}
	if len(text) > r.opener.MaxLine {
		text, e.Flags = text[:r.opener.MaxLine], record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
	e.Len = uint32(len(text))
	if rec.off >= 0 {
		e.Off = uint32(at + rec.off)
	} else {
		e.Off = uint32(len(b.Arena))
		b.Arena = append(b.Arena, text...)
	}
	b.Entries = append(b.Entries, e)
}

// behindAhead tells whether pos was passed in an earlier life by the output that was
// ahead: it lies before that place in the same generation, or in an earlier one.
func (r *Reader) behindAhead(pos position.FilePos) bool {
	if pos.FileID == r.ahead.FileID && pos.Offset < r.ahead.Offset || pos.FileID != r.ahead.FileID && r.Log.Holds(r.ahead.FileID) {
		return true
	}
	r.aheadOf = record.OutputNone
	return false
}

func (r *Reader) join(p *part, rec rec, text []byte, pos position.FilePos) {
	if !p.pending {
		*p = part{text: p.text[:0], time: rec.time, since: time.Now(), start: pos, pending: true}
	}
	if room := r.opener.MaxLine - len(p.text); len(text) > room {
		p.truncated = true
		text = text[:max(room, 0)]
	}
	p.text = append(p.text, text...)
}

// patience is how long the rest of a line is waited for after its container stopped,
// as far as is known: it may have been started again meanwhile.
const patience = 2 * time.Second

// stopped tells that the container has ended, so that a line without a newline will get none.
func (r *Reader) stopped() bool {
	c := r.target.Container
	if c == nil || c.Running || c.Started.IsZero() {
		return false
	}
	for i := range r.parts {
		if r.parts[i].pending && time.Since(r.parts[i].since) < patience {
			return false
		}
	}
	return true
}

// unterminated returns the last words of a container that ended without a newline,
// nil if there are none.
func (r *Reader) unterminated() *record.Batch {
	size := 0
	for i := range r.parts {
		size += len(r.parts[i].text)
	}
	var b *record.Batch
	for output := range r.parts {
		p := &r.parts[output]
		if !p.pending {
			continue
		}
		if b == nil {
			b = r.opener.Pool.Force(size)
			b.Source = r.target.Source
		}
		r.emitJoined(b, p, record.Output(output))
	}
	return b
}

func (r *Reader) emitJoined(b *record.Batch, p *part, output record.Output) {
	e := record.Entry{Output: output, Time: r.clocks[output].Next(p.time)}
	if p.truncated {
		e.Flags = record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
	text := strip(p.text)
	e.Off, e.Len = uint32(len(b.Arena)), uint32(len(text))
	b.Arena = append(b.Arena, text...)
	b.Entries = append(b.Entries, e)
	*p = part{} // long lines are rare: their memory is not kept
}

// strip removes the carriage return that a terminal, or Windows, puts before a newline.
func strip(text []byte) []byte { return bytes.TrimSuffix(text, []byte("\r")) }

// Cursor implements source.Reader. While a line is incomplete on one output, the
// cursor stays at its first part, and says how far the other output is.
func (r *Reader) Cursor() position.Cursor {
	here := r.Pos()
	c := position.Cursor{File: &here}
	if r.passed != [record.Outputs]int64{} {
		c.API = r.api
	}
	for output := range r.clocks {
		c.Last[output] = r.clocks[output].Last
	}
	out, err := &r.parts[record.Stdout], &r.parts[record.Stderr]
	switch {
	case out.pending && err.pending && older(out, err):
		c.File, c.Ahead = &out.start, ahead(record.Stderr, err.start)
	case out.pending && err.pending:
		c.File, c.Ahead = &err.start, ahead(record.Stdout, out.start)
	case out.pending:
		c.File, c.Ahead = &out.start, ahead(record.Stderr, r.reached(record.Stderr, here))
	case err.pending:
		c.File, c.Ahead = &err.start, ahead(record.Stdout, r.reached(record.Stdout, here))
	case r.aheadOf != record.OutputNone: // still on the way to where the earlier life was
		c.Ahead = ahead(r.aheadOf, r.ahead)
	}
	if c.File != &here {
		start := *c.File
		c.File = &start
	}
	return c
}

// reached returns how far an output is: here, or where it was in an earlier life.
func (r *Reader) reached(output record.Output, here position.FilePos) position.FilePos {
	if r.aheadOf == output {
		return r.ahead
	}
	return here
}

func ahead(output record.Output, pos position.FilePos) *position.Ahead {
	return &position.Ahead{Output: uint8(output), Pos: pos}
}

// older tells which of two incomplete lines began first: by time, since they may be
// in different generations.
func older(a, b *part) bool {
	if a.start.FileID == b.start.FileID {
		return a.start.Offset < b.start.Offset
	}
	return a.time < b.time
}
