// Package file reads log files through rename rotation and truncation.
//
// What the bytes mean is told by package shape. Where no timestamp is looked for, an
// entry's time is when it was read, one nanosecond apart within a batch. Blank lines are
// entries too.
package file

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// keptDone is how many finished generations a cursor names.
const keptDone = 8

// Stats counts what went wrong. It is shared by all readers of an Opener.
type Stats struct {
	Truncated   atomic.Int64   // entries cut at max_line
	Untimed     atomic.Int64   // lines without the timestamp that was looked for
	Foreign     atomic.Int64   // lines that are none of the format
	Invalid     atomic.Int64   // bytes that are no text
	NULs        atomic.Int64   // bytes of gaps
	Descriptors ledger.Account // log files held open now
}

// Opener opens readers of log files.
type Opener struct {
	Pool    *record.Pool
	MaxLine int // bytes; longer lines are cut
	Stats   *Stats
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Archives, if set, lets generations be read that were compressed while the agent was
	// down.
	Archives *tail.Archives
	// Keeper, if set, bounds what rotated-away generations are held.
	Keeper *tail.Keeper

	claims claims
}

// Restore tells which files earlier lives of the agent have read, so that a rotated
// file is not read again under its new name.
func (o *Opener) Restore(cursors map[string]position.Cursor) {
	for id, c := range cursors {
		for _, done := range c.Done {
			o.claims.restore(id, done)
		}
		if c.File != nil {
			o.claims.restore(id, *c.File)
		}
	}
}

// Open implements source.Opener.
func (o *Opener) Open(_ context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	claim := func(id position.FileID) (int64, bool) { return o.claims.take(t.Source.ID, id) }
	log := tail.NewLog(t.Path, tail.Options{FollowSymlinks: true, Archives: o.Archives, Claim: claim, Unclaim: o.claims.release, Open: &o.Stats.Descriptors, Keeper: o.Keeper})
	tailer, found, err := tail.NewTailer(log, from.File, from.Last[record.OutputNone])
	if err != nil {
		log.Close()
		return nil, err
	}
	r := &Reader{Tailer: tailer, opener: o, target: t, done: from.Done, shaper: shape.New(o.shape(t))}
	if !found {
		r.Add(source.LostRotated, 1)
	}
	for o, last := range from.Last {
		r.shaper.Clocks[o].Last = last
	}
	r.Update(t)
	if from.IsZero() && !t.Since.IsZero() && tailer.Birth() < t.Since.UnixNano() {
		if err := tailer.SkipToEnd(); err != nil {
			log.Close()
			return nil, err
		}
	}
	return r, nil
}

func (o *Opener) shape(t source.Target) *shape.Shape {
	if t.Shape != nil {
		return t.Shape
	}
	return shape.Lines(o.MaxLine)
}

func (o *Opener) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// Reader reads one path.
type Reader struct {
	*tail.Tailer
	source.Losses

	opener  *Opener
	target  source.Target
	shaper  *shape.Shaper
	told    shape.Counts       // of the shaper's, what Stats has
	done    []position.FilePos // read to their end, the last few
	begun   int                // of the Tailer's, the file that the shaper was told of
	scanned int64              // how far behind the offset there is no newline, for a line over max_line, or no text
	held    int64              // bytes that were given to the shaper and are no entry yet
	flush   shape.Flush        // of them, what is given out now
}

// Update implements source.Reader.
func (r *Reader) Update(t source.Target) {
	if t.Shape != r.target.Shape {
		r.reshape(r.opener.shape(t))
	}
	r.target = t
	r.SetGone(t.Gone)
}

// reshape has text become entries in another way from now on. All that a Shaper keeps is of
// bytes that are not consumed yet, so these are looked at again, and none is left out.
func (r *Reader) reshape(s *shape.Shape) {
	clocks := r.shaper.Clocks
	r.shaper = shape.New(s)
	r.shaper.Clocks = clocks
	r.told, r.begun = shape.Counts{}, 0
	r.scanned, r.held, r.flush = 0, 0, 0
	r.Resume()
}

// Close implements source.Reader.
func (r *Reader) Close() {
	r.Unread(r.opener.claims.release)
	r.Log.Close()
}

// Open returns how many generations of the log are held open, for the ledger.
func (r *Reader) Open() int { return r.Log.Held() }

// Held returns how many rotated-away generations are held, and the bytes of those that
// have no name any more.
func (r *Reader) Held() (files int, bytes int64) { return r.Log.HeldBytes() }

// Cursor implements source.Reader.
func (r *Reader) Cursor() position.Cursor {
	pos := r.Pos()
	c := position.Cursor{File: &pos, Done: r.done}
	for o := range c.Last {
		c.Last[o] = r.shaper.Clocks[o].Last
	}
	return c
}

// Next implements source.Reader; it never waits for the file, only for memory.
func (r *Reader) Next(ctx context.Context) (*record.Batch, error) {
	want := 0
	for {
		b, final, err := r.Fill(ctx, r.opener.Pool, want)
		r.count()
		if r.Gap() {
			r.scanned, r.held, r.flush = 0, 0, 0
		}
		if errors.Is(err, source.ErrIdle) && r.overdue() {
			continue
		}
		if err != nil {
			return nil, err
		}
		more, err := r.take(b, final, want)
		r.tell()
		if err != nil {
			b.Done(record.Delivered)
			return nil, err
		}
		want = more
		if len(b.Entries) > 0 {
			b.Source = r.target.Source
			return b, nil
		}
		b.Done(record.Delivered) // nothing in it: only its memory goes back
	}
}

// overdue tells whether what is held waited long enough: it is then given out as it is.
func (r *Reader) overdue() bool {
	wait, flush := r.shaper.Due(r.opener.now())
	if flush == 0 || wait > 0 {
		return false
	}
	r.flush = flush
	r.Resume()
	return true
}

// Due tells, when there is nothing to read, after what time there is all the same.
func (r *Reader) Due() (wait time.Duration, ok bool) {
	wait, flush := r.shaper.Due(r.opener.now())
	return max(wait, time.Millisecond), flush != 0
}

// take makes entries of what Fill returned, and returns how much is wanted with the next
// Fill if it is more than usual.
func (r *Reader) take(b *record.Batch, final bool, want int) (more int, err error) {
	defer b.Guard()
	size := len(b.Arena)
	flush := shape.Flush(0)
	if r.flush != 0 && int64(size) == r.held { // else there is more now
		flush = r.flush
	}
	r.flush, r.held = 0, 0
	if final {
		flush = shape.All
	}
	if ok, err := r.begin(b, final); !ok || err != nil {
		return 0, err
	}
	encoding := r.shaper.Encoding()
	full := size >= max(want, tail.ChunkSize) // and probably not all that there is
	whole := encoding.Whole(b.Arena)
	switch {
	case whole == 0 && size <= r.opener.MaxLine && !full, flush&shape.Torn != 0 && size <= r.opener.MaxLine:
	case whole == 0 && full && encoding.Gap(b.Arena) == size:
		return 0, r.gap(int64(size))
	case whole == 0 && size > r.opener.MaxLine:
		return 0, r.long(b, final)
	case whole == 0:
		return r.opener.MaxLine + 1, nil
	}
	now := r.opener.now().UnixNano()
	used, all := r.shaper.Take(b, size, now, flush)
	if used == 0 && full {
		if want < r.opener.MaxLine+tail.ChunkSize { // the entry is longer than what was read
			return r.opener.MaxLine + tail.ChunkSize, nil
		}
		used, all = r.shaper.Take(b, size, now, flush|shape.Whole)
	}
	r.Consume(int64(used))
	if all && used < size {
		r.hold(int64(size - used))
	}
	return 0, nil
}

// hold notes that so many bytes are no entry yet.
func (r *Reader) hold(n int64) {
	r.held = n
	r.Stall(n)
}

// begin looks at how a file begins; it returns false when that is not there yet, or was a
// byte order mark, which is passed over.
func (r *Reader) begin(b *record.Batch, final bool) (ok bool, err error) {
	if r.begun == r.Begun() {
		return true, nil
	}
	var buf [4]byte
	head := b.Arena[:min(len(b.Arena), len(buf))]
	if r.Offset() > 0 {
		n, err := r.Head(buf[:])
		if err != nil {
			return false, err
		}
		head = buf[:n]
	}
	if len(head) < 3 && !final && head[0] >= 0xef { // perhaps half a mark
		r.Stall(int64(len(b.Arena)))
		return false, nil
	}
	mark := r.shaper.Begin(head)
	r.begun = r.Begun()
	unit := int64(r.shaper.Encoding().Unit())
	if odd := r.Offset() % unit; odd != 0 { // it was read in another encoding, up to the middle of a newline
		r.Consume(unit - odd)
		return false, nil
	}
	if mark == 0 || r.Offset() > 0 {
		return true, nil
	}
	r.Consume(int64(mark))
	return false, nil
}

// gap passes over NULs, which a file has where nothing was written, if there is text
// behind them or there will be none: else they may still be written over.
func (r *Reader) gap(from int64) error {
	complete := r.Complete()
	at, found, err := r.Find(max(r.scanned, from), r.shaper.Encoding().Unit(), func(piece []byte) int {
		return bytes.IndexFunc(piece, func(c rune) bool { return c != 0 })
	})
	if err != nil {
		return err
	}
	if !found && !complete {
		r.scanned = at
		r.Stall(at)
		return nil
	}
	unit := int64(r.shaper.Encoding().Unit())
	if found {
		at -= at % unit
	}
	r.scanned = 0
	r.opener.Stats.NULs.Add(at)
	r.Consume(at)
	return nil
}

// tell adds what the shaper met to the figures of all readers.
func (r *Reader) tell() {
	now, was := r.shaper.Counts, r.told
	s := r.opener.Stats
	for _, c := range []struct {
		total    *atomic.Int64
		now, was int64
	}{
		{&s.Truncated, now.Truncated, was.Truncated}, {&s.Untimed, now.Untimed, was.Untimed}, {&s.Foreign, now.Foreign, was.Foreign},
		{&s.Invalid, now.Invalid, was.Invalid}, {&s.NULs, now.NULs, was.NULs},
	} {
		if c.now != c.was {
			c.total.Add(c.now - c.was)
		}
	}
	r.told = now
}

func (r *Reader) count() {
	r.Add(source.LostCut, int64(r.Tailer.Truncated))
	if r.Tailer.Truncated > 0 {
		r.scanned, r.Tailer.Truncated = 0, 0
	}
	if done := r.Tailer.Done; len(done) > 0 {
		all := slices.Concat(r.done, done)
		r.done, r.Tailer.Done = all[max(0, len(all)-keptDone):], nil
		for _, d := range done {
			r.opener.claims.release(d.FileID, d.Offset)
		}
	}
	r.Add(source.LostRotated, int64(r.Log.TakeMissed()))
	r.Add(source.LostDamaged, int64(r.Log.TakeDamaged()))
	if generations, lines := r.TakeLetGo(); generations > 0 {
		r.Add(source.LostHeld, max(lines, 1))
	}
}

// long handles a line over max_line: its beginning is delivered once its end is
// there, so that a restart in between neither splits nor repeats it.
func (r *Reader) long(b *record.Batch, final bool) error {
	final = final || r.Complete()
	encoding := r.shaper.Encoding()
	size := len(b.Arena) - len(b.Arena)%encoding.Unit()
	at, found, err := r.Find(max(r.scanned, int64(size)), encoding.Unit(), func(piece []byte) int {
		_, next := encoding.End(piece)
		return next
	})
	if err != nil {
		return err
	}
	if !found && !final {
		r.scanned = at
		r.Stall(at)
		return nil
	}
	r.scanned = 0
	most := r.opener.MaxLine - r.opener.MaxLine%encoding.Unit()
	r.shaper.Take(b, most, r.opener.now().UnixNano(), shape.All)
	for i := range b.Entries {
		if b.Entries[i].Flags&record.Truncated == 0 {
			b.Entries[i].Flags |= record.Truncated
			r.opener.Stats.Truncated.Add(1)
		}
	}
	r.Consume(at)
	return nil
}
