// Package file reads log files through rename rotation and truncation.
//
// Files carry no timestamps that hold for all formats, so an entry's time is when it
// was read, one nanosecond apart within a batch. Blank lines are entries too.
package file

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// keptDone is how many finished generations a cursor names.
const keptDone = 8

// Stats counts what went wrong. It is shared by all readers of an Opener.
type Stats struct {
	Truncated   atomic.Int64   // lines cut at max_line
	Descriptors ledger.Account // log files held open now
}

// Opener opens readers of log files.
type Opener struct {
	Pool    *record.Pool
	MaxLine int // bytes; longer lines are cut
	Stats   *Stats
	// Now is the clock; time.Now when nil.
	Now func() time.Time

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
	log := tail.NewLog(t.Path, tail.Options{FollowSymlinks: true, Claim: claim, Unclaim: o.claims.release, Open: &o.Stats.Descriptors})
	tailer, found, err := tail.NewTailer(log, from.File, from.Last[record.OutputNone])
	if err != nil {
		log.Close()
		return nil, err
	}
	r := &Reader{Tailer: tailer, opener: o, done: from.Done}
	if !found {
		r.Add(source.LostRotated, 1)
	}
	r.clock.Last = from.Last[record.OutputNone]
	r.Update(t)
	if from.IsZero() && !t.Since.IsZero() && tailer.Birth() < t.Since.UnixNano() {
		if err := tailer.SkipToEnd(); err != nil {
			log.Close()
			return nil, err
		}
	}
	return r, nil
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
	clock   record.Clock
	done    []position.FilePos // read to their end, the last few
	scanned int64              // how far behind the offset there is no newline, for a line over max_line
}

// Update implements source.Reader.
func (r *Reader) Update(t source.Target) {
	r.target = t
	r.SetGone(t.Gone)
}

// Close implements source.Reader.
func (r *Reader) Close() {
	r.Unread(r.opener.claims.release)
	r.Log.Close()
}

// Open returns how many generations of the log are held open, for the ledger.
func (r *Reader) Open() int { return r.Log.Held() }

// Cursor implements source.Reader.
func (r *Reader) Cursor() position.Cursor {
	pos := r.Pos()
	c := position.Cursor{File: &pos, Done: r.done}
	c.Last[record.OutputNone] = r.clock.Last
	return c
}

// Next implements source.Reader; it never waits for the file, only for memory.
func (r *Reader) Next(ctx context.Context) (*record.Batch, error) {
	want := 0
	for {
		b, final, err := r.Fill(ctx, r.opener.Pool, want)
		r.count()
		if err != nil {
			return nil, err
		}
		size := len(b.Arena)
		whole := bytes.LastIndexByte(b.Arena, '\n') + 1
		switch {
		case whole > 0:
			r.Consume(int64(r.lines(b, whole)))
		case final && size <= r.opener.MaxLine: // a last line without its newline
			r.add(b, 0, size, 0)
			r.Consume(int64(size))
		case size > r.opener.MaxLine:
			if err := r.long(b, final); err != nil {
				b.Done(record.Delivered)
				return nil, err
			}
		case size >= max(want, tail.ChunkSize):
			want = r.opener.MaxLine + 1
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
}

// maxEntries bounds a batch of very short lines: what is beyond is read again.
const maxEntries = 32 << 10

// lines adds the lines in the first n bytes of the arena, the last of which is a
// newline, and returns how many bytes it took.
func (r *Reader) lines(b *record.Batch, n int) int {
	defer b.Guard()
	now := r.opener.now().UnixNano()
	arena := b.Arena
	at := 0
	for at < n && len(b.Entries) < maxEntries {
		end := at + bytes.IndexByte(arena[at:n], '\n')
		r.addAt(b, at, end, now)
		at = end + 1
	}
	return at
}

func (r *Reader) add(b *record.Batch, from, to int, flags record.Flags) {
	r.addAt(b, from, to, r.opener.now().UnixNano())
	b.Entries[len(b.Entries)-1].Flags |= flags
}

func (r *Reader) addAt(b *record.Batch, from, to int, now int64) {
	if to > from && b.Arena[to-1] == '\r' {
		to--
	}
	e := record.Entry{Time: r.clock.Next(now), Off: uint32(from), Len: uint32(to - from)}
	if to-from > r.opener.MaxLine {
		e.Len, e.Flags = uint32(r.opener.MaxLine), record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
	b.Entries = append(b.Entries, e)
}

// long handles a line over max_line: its beginning is delivered once its end is
// there, so that a restart in between neither splits nor repeats it.
func (r *Reader) long(b *record.Batch, final bool) error {
	at, found, err := r.FindNewline(max(r.scanned, int64(len(b.Arena))))
	if err != nil {
		return err
	}
	if !found && !final {
		r.scanned = at
		r.Stall(at)
		return nil
	}
	r.scanned = 0
	r.add(b, 0, r.opener.MaxLine, record.Truncated)
	r.opener.Stats.Truncated.Add(1)
	if found {
		at++
	}
	r.Consume(at)
	return nil
}
