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

	"github.com/logcapturer/log_capturer/internal/join"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// maxRecord bounds one record of the file: 16 KB of text, six bytes for each at
// worst, and the attributes. What is longer is damage.
const maxRecord = 1 << 20

// Stats counts what the readers of an Opener did.
type Stats struct {
	Truncated   atomic.Int64   // lines cut at max_line
	Descriptors ledger.Account // json-files held open now
}

// Opener opens readers of json-files.
type Opener struct {
	Pool    *record.Pool
	MaxLine int // bytes; longer lines are cut
	Stats   *Stats
	// Early, if set, has what was opened before it was announced.
	Early *tail.Early
	// Keeper, if set, bounds what is held of rotated-away generations.
	Keeper *tail.Keeper
	// Archives, if set, lets generations be read that the engine has compressed while the
	// agent was down.
	Archives *tail.Archives
}

// LogName returns the name of a container's json-file in its directory, which is
// named by the container's ID.
func LogName(dir string) string { return dir + "-json.log" }

// Open implements source.Opener. The reader holds descriptors of all generations that
// are not yet read, from now on.
func (o *Opener) Open(_ context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	log := tail.NewLog(t.Path, tail.Options{History: true, Early: o.Early, Keeper: o.Keeper, Archives: o.Archives, Open: &o.Stats.Descriptors})
	tailer, found, err := tail.NewTailer(log, from.File, max(from.Last[record.Stdout], from.Last[record.Stderr]))
	if err != nil {
		log.Close()
		return nil, err
	}
	r := &Reader{unseen: from.IsZero(), Tailer: tailer, opener: o, tracker: replay.New(from, t.Since), newest: [2]int{-1, -1}}
	switch {
	case from.File != nil && !found:
		r.Add(source.LostRotated, 1)
	case from.File != nil && from.Ahead != nil:
		r.ahead, r.aheadOf = from.Ahead.Pos, record.Output(from.Ahead.Output)
	case from.File == nil && from.API != nil: // it was read through the API, the last time
		r.tracker.Reopen(0)
		r.since = from.API.Since // what is older was delivered, or is not wanted
	}
	if from.IsZero() && !t.Since.IsZero() {
		r.since = t.Since.UnixNano()
	}
	r.Update(t)
	r.joiner.Set(t.Multiline)
	return r, nil
}

// Reader reads one container's json-files. Its Log may be asked to Look by others.
type Reader struct {
	*tail.Tailer
	source.Losses

	opener *Opener
	target source.Target
	decoder
	tracker replay.Tracker
	// newest is, per output, the entry of the batch in the making that the tracker was told
	// of by its time only; -1 = none.
	newest [2]int
	parts  [record.Outputs]part
	joiner join.Joiner           // of lines that belong together
	begun  [record.Outputs]place // of what it holds
	at     int                   // of the record that is being decoded, in the batch's arena
	kept   int                   // up to where the arena has text of entries, before at
	since  int64

	// Records of aheadOf before ahead were delivered in an earlier life.
	ahead   position.FilePos
	aheadOf record.Output
	damaged bool // inside a hole
	cut     bool // something is missing: what follows is not the rest of what was read
	unseen  bool // nobody ever saw a file of this container
}

// part is the beginning of a line whose end is not read yet.
type part struct {
	text      []byte
	time      int64
	since     time.Time // when it was read
	truncated bool
	start     place // of its first record
	pending   bool
}

// place is one of a record.
type place struct {
	position.FilePos
	file int // the how manieth file that was begun has it
}

// before tells which of two records was written first.
func (p place) before(other place) bool {
	return p.file < other.file || p.file == other.file && p.Offset < other.Offset
}

// Held returns the rotated-away generations that are held, and the bytes of disk space
// that only they occupy; anybody may call it.
func (r *Reader) Held() (files int, bytes int64) { return r.Log.HeldBytes() }

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
	if b := r.rematch(); b != nil {
		return b, nil
	}
	for {
		b, final, err := r.Fill(ctx, r.opener.Pool, want)
		r.count()
		if r.Gap() {
			r.cut, r.damaged = true, false
		}
		if errors.Is(err, io.EOF) || errors.Is(err, source.ErrIdle) {
			if b := r.last(errors.Is(err, io.EOF) || r.cut); b != nil {
				return b, nil
			}
		}
		if r.unseen {
			r.look(err)
		}
		if errors.Is(err, source.ErrIdle) && r.Log.Current() != nil {
			r.tracker.Resume() // the whole log was read again
		}
		if err != nil {
			return nil, err
		}
		size := len(b.Arena)
		whole := bytes.LastIndexByte(b.Arena, '\n') + 1
		if r.cut {
			r.cut = false
			r.emitParts(b)
			r.emitHeld(b, true)
		}
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
			r.settleAll(b)
			return b, nil
		}
		b.Done(record.Delivered) // nothing in it: only its memory goes back
	}
}

// look notes whether there ever was a file. A container that ran had one; if it is gone
// before anybody saw it, on a host that is too busy, so is what it wrote.
func (r *Reader) look(end error) {
	if r.Log.Current() != nil {
		r.unseen = false
		return
	}
	if errors.Is(end, io.EOF) && r.target.Container != nil && !r.target.Container.Started.IsZero() {
		r.unseen = false
		r.Add(source.LostRemoved, 1)
	}
}

func (r *Reader) count() {
	r.cut = r.cut || r.Tailer.Truncated > 0
	r.Add(source.LostCut, int64(r.Tailer.Truncated))
	r.Tailer.Truncated, r.Tailer.Done = 0, r.Tailer.Done[:0]
	r.Add(source.LostRotated, int64(r.Log.TakeMissed()))
	r.Add(source.LostDamaged, int64(r.Log.TakeDamaged()))
	if generations, lines := r.TakeLetGo(); generations > 0 {
		r.Add(source.LostHeld, max(lines, 1))
	}
}

func (r *Reader) hole() {
	if !r.damaged {
		r.Add(source.LostDamaged, 1)
	}
	r.damaged = true
}

// parse decodes the records in the first n bytes of the arena.
func (r *Reader) parse(b *record.Batch, n int) {
	defer b.Guard()
	pos := place{r.Pos(), r.Begun()}
	base := pos.Offset
	r.kept = 0
	for r.at = 0; r.at < n; {
		next := r.at + bytes.IndexByte(b.Arena[r.at:n], '\n') + 1
		pos.Offset = base + int64(r.at)
		r.record(b, b.Arena[r.at:next-1], pos)
		r.at = next
	}
	r.at = 0
}

func (r *Reader) record(b *record.Batch, line []byte, pos place) {
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
	if rec.output == r.aheadOf && r.behindAhead(pos.FilePos) || rec.time < r.since {
		return
	}
	p := &r.parts[rec.output]
	if p.pending && rec.time != p.time { // parts share the first one's time: that line never ended
		r.emitJoined(b, p, rec.output)
	}
	text, ended := bytes.CutSuffix(rec.text, []byte("\n"))
	if !ended || p.pending {
		r.gather(p, rec, text, pos)
		if !ended {
			return
		}
		r.emitJoined(b, p, rec.output)
		return
	}
	text = strip(text)
	e := record.Entry{Output: rec.output}
	if len(text) > r.opener.MaxLine {
		text, e.Flags = text[:r.opener.MaxLine], record.Truncated
	}
	if r.joiner.On() {
		off := -1
		if rec.off >= 0 {
			off = r.at + rec.off
		}
		r.join(b, joint{rec.output, rec.time, text, e.Flags != 0, pos, off})
		return
	}
	var fresh bool
	if e.Time, fresh = r.fresh(b, rec.output, rec.time, text); !fresh {
		return
	}
	if e.Flags != 0 {
		r.opener.Stats.Truncated.Add(1)
	}
	e.Len = uint32(len(text))
	if rec.off >= 0 {
		e.Off = uint32(r.at + rec.off)
	} else {
		e.Off = uint32(len(b.Arena))
		b.Arena = append(b.Arena, text...)
	}
	b.Entries = append(b.Entries, e)
}

// fresh notes a line that is to be the next entry of b and returns the entry's timestamp;
// ok is false for one that was delivered before. In the usual case it costs two
// comparisons: the hash of a line is taken of the last one of a batch only.
func (r *Reader) fresh(b *record.Batch, output record.Output, time int64, text []byte) (at int64, ok bool) {
	i := replay.Index(output)
	if !r.tracker.Replaying(i) {
		if at, ok := r.tracker.Newer(i, time); ok {
			r.newest[i] = len(b.Entries)
			return at, true
		}
	}
	h := replay.Hash(time, text)
	if r.tracker.Replaying(i) && r.tracker.Repeat(i, time, h) {
		return 0, false
	}
	r.settle(b, i)
	return r.tracker.Delivered(i, time, h), true
}

// settle tells the tracker what its newest record of an output was, before b is handed out.
func (r *Reader) settle(b *record.Batch, i int) {
	if n := r.newest[i]; n >= 0 {
		r.tracker.Anchor(i, b.Line(n))
		r.newest[i] = -1
	}
}

func (r *Reader) settleAll(b *record.Batch) {
	r.settle(b, 0)
	r.settle(b, 1)
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

func (r *Reader) gather(p *part, rec rec, text []byte, pos place) {
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

// emitParts ends the lines whose end will not be read.
func (r *Reader) emitParts(b *record.Batch) {
	for output := range r.parts {
		if p := &r.parts[output]; p.pending {
			r.emitJoined(b, p, record.Output(output))
		}
	}
}

func (r *Reader) emitJoined(b *record.Batch, p *part, output record.Output) {
	text, truncated := strip(p.text), p.truncated
	if truncated {
		text = p.text
	}
	if r.joiner.On() {
		ln := joint{output, p.time, text, truncated, p.start, -1}
		*p = part{}
		r.join(b, ln)
		return
	}
	at, fresh := r.fresh(b, output, p.time, text)
	*p = part{} // long lines are rare: their memory is not kept
	if !fresh {
		return
	}
	e := record.Entry{Output: output, Time: at}
	if truncated {
		e.Flags = record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
	e.Off, e.Len = uint32(len(b.Arena)), uint32(len(text))
	b.Arena = append(b.Arena, text...)
	b.Entries = append(b.Entries, e)
}

// strip removes the carriage return that a terminal, or Windows, puts before a newline.
func strip(text []byte) []byte { return bytes.TrimSuffix(text, []byte("\r")) }

// Open returns how many generations of the log are held open, for the ledger.
func (r *Reader) Open() int { return r.Log.Held() }

// Cursor implements source.Reader. While a line is incomplete on one output, or an entry
// is held, the cursor stays at its beginning, and says how far the other output is.
func (r *Reader) Cursor() position.Cursor {
	here := r.Pos()
	c := r.tracker.Cursor(r.incomplete())
	if r.tracker.Replaying(0) || r.tracker.Replaying(1) {
		return c // reading begins with the oldest generation again, until it is through
	}
	c.File = &here
	out, err := r.start(record.Stdout), r.start(record.Stderr)
	switch {
	case out != nil && err != nil && out.before(*err):
		c.File, c.Ahead = copied(out), ahead(record.Stderr, err.FilePos)
	case out != nil && err != nil:
		c.File, c.Ahead = copied(err), ahead(record.Stdout, out.FilePos)
	case out != nil:
		c.File, c.Ahead = copied(out), ahead(record.Stderr, r.reached(record.Stderr, here))
	case err != nil:
		c.File, c.Ahead = copied(err), ahead(record.Stdout, r.reached(record.Stdout, here))
	case r.aheadOf != record.OutputNone: // still on the way to where the earlier life was
		c.Ahead = ahead(r.aheadOf, r.ahead)
	}
	return c
}

// start returns where the oldest line of an output is that was read and not delivered, nil
// if there is none.
func (r *Reader) start(output record.Output) *place {
	switch {
	case r.joiner.Holds(replay.Index(output)):
		return &r.begun[output]
	case r.parts[output].pending:
		return &r.parts[output].start
	}
	return nil
}

func copied(p *place) *position.FilePos {
	pos := p.FilePos
	return &pos
}

// incomplete returns the timestamp of the oldest line that was read and not delivered, 0 =
// none.
func (r *Reader) incomplete() int64 {
	oldest := r.joiner.Oldest()
	for i := range r.parts {
		if p := &r.parts[i]; p.pending && (oldest == 0 || p.time < oldest) {
			oldest = p.time
		}
	}
	return oldest
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
