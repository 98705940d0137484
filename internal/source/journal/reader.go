package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/logcapturer/log_capturer/internal/charset"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// bufferSize is that between the child and the parser: what a pipe holds.
const bufferSize = 64 << 10

// Reader reads the journal. See source.Reader; it has one caller at a time. It waits in Next
// for entries, and returns source.ErrIdle only when its place has moved without any, which is
// to be kept, or when a journalctl has found its place; Next is then called again.
type Reader struct {
	source.Losses

	opener  *Opener
	sources *sources
	choice  uint64 // hash of the settings that choose entries

	child   *child // nil: none runs
	in      exported
	failure error // of the child, kept while what was read before is delivered

	// at is the cursor of the last entry that was given out or passed over; before the first
	// one it is empty, and reading begins at since.
	at    []byte
	since int64
	known bool // the entry at the cursor is one that is chosen
	check bool // the child's first entry should be that one
	moved bool // source.ErrIdle is to be returned

	behind time.Duration
	looked time.Time // see look
	told   bool

	entry   entry
	holding bool // entry is still to be given out: as line, of src
	line    []byte
	src     *record.Source
	text    charset.Decoder
	spare   []byte // memory for lines that had to be changed
	want    int    // of the next batch's arena
	clock   record.Clock
}

var _ source.Reader = (*Reader)(nil)

// Cursor implements source.Reader.
func (r *Reader) Cursor() position.Cursor {
	c := position.Cursor{Journal: &position.JournalPos{Cursor: string(r.at), Choice: r.choice}}
	if len(r.at) == 0 {
		c.Journal.Since = r.since
	}
	c.Last[record.OutputNone] = r.clock.Last
	return c
}

// Update implements source.Reader: nothing of the journal's target changes.
func (r *Reader) Update(source.Target) {}

// Close implements source.Reader: it ends journalctl.
func (r *Reader) Close() { r.Leave() }

// Leave ends journalctl; the next call of Next starts another one, which brings again what
// was not given out.
func (r *Reader) Leave() {
	if r.child != nil {
		_ = r.child.close()
		r.child, r.failure, r.holding = nil, nil, false
	}
}

// Pause tells that after source.ErrIdle Next is to be called again at once.
func (r *Reader) Pause() time.Duration { return time.Millisecond }

// Next implements source.Reader. When journalctl ends, the error says how and why; the next
// call starts it again.
func (r *Reader) Next(ctx context.Context) (*record.Batch, error) {
	switch {
	case ctx.Err() != nil:
		r.Leave()
		return nil, ctx.Err()
	case r.child == nil && r.moved:
		return nil, r.idle()
	case r.child == nil:
		if err := r.start(ctx); err != nil {
			return nil, err
		}
	}
	r.look(ctx)
	defer context.AfterFunc(ctx, r.child.interrupt)()
	b, err := r.batch(ctx)
	switch {
	case ctx.Err() != nil:
		if r.Leave(); b == nil {
			return nil, ctx.Err()
		}
		return b, nil
	case err == nil, errors.Is(err, source.ErrIdle):
		return b, err
	}
	r.opener.Stats.Ended.Add(1)
	err = fmt.Errorf("%w: %w", endOf(err), r.child.close())
	r.child = nil
	return nil, err
}

// batch returns a run of entries of one source that can be had without waiting, after having
// waited for the first one.
func (r *Reader) batch(ctx context.Context) (b *record.Batch, err error) {
	for {
		for !r.holding {
			if r.failure == nil && (b != nil || r.moved) && !r.in.ready() {
				if b != nil {
					return b, nil
				}
				return nil, r.idle()
			}
			if r.failure == nil {
				r.failure = r.read()
			}
			if err := r.failure; err != nil {
				if b == nil {
					r.failure = nil
					return nil, err
				}
				return b, nil
			}
		}
		switch {
		case b == nil:
			if b, err = r.opener.Pool.Get(ctx, max(len(r.line), r.want)); err != nil {
				return nil, err
			}
			b.Source = r.src
		case b.Source != r.src:
			r.want = record.SmallArena
			return b, nil
		case len(b.Arena)+len(r.line) > cap(b.Arena):
			r.want = record.LargeArena
			return b, nil
		}
		r.give(b)
	}
}

func (r *Reader) idle() error {
	r.moved = false
	return source.ErrIdle
}

// start starts journalctl where reading goes on.
func (r *Reader) start(ctx context.Context) error {
	c, err := startChild(ctx, r.opener.Command, r.opener.Choice.args(r.at, r.since, true), &r.opener.Stats.Children)
	if err != nil {
		return err
	}
	r.child, r.check = c, len(r.at) > 0
	if r.in.r == nil {
		r.in = exported{r: bufio.NewReaderSize(nil, bufferSize), maxLine: r.opener.MaxLine}
	}
	r.in.r.Reset(c.out)
	return nil
}

// read reads an entry and holds it, unless it is none to be given out.
func (r *Reader) read() error {
	e := &r.entry
	if err := r.in.next(e); err != nil {
		return err
	}
	if r.check {
		r.check = false
		if sameEntry(e.cursor, r.at) {
			r.moved = true // not really, but it is well
			return nil
		}
		if r.known {
			r.Add(source.LostGap, 1)
		}
	}
	r.src = r.sources.of(e)
	if r.src == nil || !e.said {
		if r.src != nil {
			r.opener.Stats.Silent.Add(1)
		}
		r.pass()
		r.moved = true
		return nil
	}
	invalid := r.text.Invalid
	r.line, r.spare = r.text.Line(bytes.TrimRight(whole(e), "\n"), r.spare[:0])
	r.opener.Stats.Invalid.Add(r.text.Invalid - invalid)
	r.holding = true
	return nil
}

// whole returns the message; of one that was cut, no part of a character at its end.
func whole(e *entry) []byte {
	m := e.message
	for n := 1; e.cut && n < utf8.UTFMax && n <= len(m); n++ {
		if last := m[len(m)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return m[:len(m)-n]
			}
			break
		}
	}
	return m
}

// give puts what is held into a batch.
func (r *Reader) give(b *record.Batch) {
	b.Append(r.clock.Next(r.entry.time), record.OutputNone, r.line)
	if r.entry.cut {
		b.Entries[len(b.Entries)-1].Flags |= record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
	r.holding = false
	r.pass()
}

// pass moves the place behind the entry.
func (r *Reader) pass() {
	r.at, r.known = append(r.at[:0], r.entry.cursor...), true
}

// sameEntry tells whether two cursors are those of one entry. They have the form
// s=…;i=…;b=…;m=…;t=…;x=…: a file's number and the entry's in it, then boot, times and hash,
// which are the same in a copy of the file.
func sameEntry(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	fileA, _, _ := bytes.Cut(a, []byte{';'})
	fileB, _, _ := bytes.Cut(b, []byte{';'})
	_, restA, okA := bytes.Cut(a, []byte(";b="))
	_, restB, okB := bytes.Cut(b, []byte(";b="))
	return okA && okB && !bytes.Equal(fileA, fileB) && bytes.Equal(restA, restB)
}

// errEnded is how a child that ends looks from here.
var errEnded = errors.New("journalctl ended; it is started again, behind the last entry that was read")

// endOf tells of an error of reading whether it is just that the child is gone.
func endOf(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnded
	}
	return err
}
