package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// ChunkSize is how much is read at once when a lot is there.
const ChunkSize = record.LargeArena

// Tailer reads a Log in order, as raw bytes; what a record is, its caller knows. All
// its state is an offset: bytes that make no whole record yet are read again, so a
// quiet log costs no buffer. It has one user at a time.
type Tailer struct {
	Log *Log

	pos     position.FilePos
	at      *File // the generation pos is of
	stalled int64 // bytes behind the offset that are known to hold no whole record
	gone    bool

	// Done has the files read to their end since the caller last emptied it.
	Done []position.FilePos
	// Truncated counts files that became shorter than what had been read of them.
	Truncated int
}

// NewTailer returns a tailer that goes on at pos, nil for the beginning. It tells
// whether the file of pos was found; if not, what was not yet read of it is lost.
func NewTailer(log *Log, pos *position.FilePos, after int64) (t *Tailer, found bool, err error) {
	found, err = log.Resume(pos, after)
	t = &Tailer{Log: log}
	if f := log.Current(); f != nil {
		t.enter(f)
		if found && pos != nil && f.ID == pos.FileID {
			t.pos.Offset = pos.Offset
		}
	}
	return t, found, err
}

// SetGone tells that nothing will be written any more (or again, that it will be).
func (t *Tailer) SetGone(gone bool) { t.gone = gone }

// SkipToEnd goes to the present end of the newest generation.
func (t *Tailer) SkipToEnd() error {
	for t.Log.Held() > 1 {
		t.Log.Advance()
	}
	t.enter(t.Log.Current())
	if t.at == nil {
		return nil
	}
	size, err := t.at.Size()
	t.pos.Offset = size
	return err
}

func (t *Tailer) enter(f *File) {
	t.at, t.pos, t.stalled = f, position.FilePos{}, 0
	if f != nil {
		t.pos.Offset = f.start
	}
}

// Unread calls fn with every generation held and the offset of its first byte that
// was not read.
func (t *Tailer) Unread(fn func(id position.FileID, offset int64)) {
	t.Log.Each(func(f *File) {
		if f == t.at {
			fn(f.ID, t.pos.Offset)
			return
		}
		fn(f.ID, f.start)
	})
}

// Fill returns a batch of pool whose arena holds the bytes that follow, at least one
// byte and at most max(want, ChunkSize). final tells that nothing will follow them in
// their generation. The batch is the caller's. Errors: source.ErrIdle when there is
// nothing new, io.EOF when the log is gone and read, ctx's, or the file system's.
func (t *Tailer) Fill(ctx context.Context, pool *record.Pool, want int) (b *record.Batch, final bool, err error) {
	for {
		if f := t.Log.Current(); f == nil || f != t.at {
			if f == nil {
				if _, err := t.Log.Look(); err != nil {
					return nil, false, err
				}
				f = t.Log.Current()
			}
			if f == nil {
				return nil, false, t.nothing()
			}
			t.enter(f)
		}
		complete := t.Log.Superseded() || t.gone // asked before the size, or a last write could be missed
		size, err := t.at.Size()
		if err != nil {
			return nil, false, err
		}
		if size < t.pos.Offset {
			t.Truncated++
			t.at.start = 0
			t.enter(t.at)
		}
		avail := size - t.pos.Offset
		switch {
		case avail > 0 && (complete || avail > t.stalled):
			return t.read(ctx, pool, min(avail, int64(max(want, ChunkSize))), complete, size)
		case avail == 0 && t.Log.Superseded():
			if complete {
				t.Done = append(t.Done, t.Pos())
				t.Log.Advance()
			}
		default:
			if fresh, err := t.Log.Look(); err != nil {
				return nil, false, err
			} else if !fresh {
				return nil, false, t.nothing()
			}
			if !t.Log.Superseded() {
				return nil, false, source.ErrIdle
			}
		}
	}
}

func (t *Tailer) nothing() error {
	if t.gone {
		return io.EOF
	}
	return source.ErrIdle
}

func (t *Tailer) read(ctx context.Context, pool *record.Pool, n int64, complete bool, size int64) (*record.Batch, bool, error) {
	b, err := pool.Get(ctx, int(n))
	if err != nil {
		return nil, false, err
	}
	got, err := t.at.ReadAt(b.Arena[:n], t.pos.Offset)
	if err != nil {
		b.Done(record.Delivered) // empty: only its memory goes back
		if errors.Is(err, io.EOF) {
			return nil, false, source.ErrIdle // cut short since its size was asked
		}
		return nil, false, fmt.Errorf("%s: %w", t.Log.Path(), err)
	}
	b.Arena = b.Arena[:got]
	t.stalled = 0
	return b, complete && t.pos.Offset+int64(got) >= size, nil
}

// Consume moves on by n bytes, which were whole records or given up.
func (t *Tailer) Consume(n int64) {
	t.pos.Offset += n
	t.stalled = 0
}

// Stall says that the n bytes that follow hold no whole record: Fill returns them
// again only when there are more, or when they are final.
func (t *Tailer) Stall(n int64) { t.stalled = n }

// Pos returns the place of the byte that Fill returns next.
func (t *Tailer) Pos() position.FilePos {
	if t.at != nil {
		t.at.Identify(&t.pos)
	}
	return t.pos
}

// FindNewline searches for a newline from the given distance behind the present
// place on, and returns its distance, or found = false and how far there is none.
func (t *Tailer) FindNewline(from int64) (at int64, found bool, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.at.ReadAt(buf, t.pos.Offset+from)
		if errors.Is(err, io.EOF) {
			return from, false, nil
		}
		if err != nil {
			return from, false, fmt.Errorf("%s: %w", t.Log.Path(), err)
		}
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return from + int64(i), true, nil
		}
		from += int64(n)
	}
}

// Birth returns when the newest generation was made, ns since the epoch; 0 if there
// is none or the file system does not tell.
func (t *Tailer) Birth() int64 {
	var birth int64
	t.Log.Each(func(f *File) { birth = f.ID.Birth })
	return birth
}

// Look looks for new generations now; anybody may call it.
func (t *Tailer) Look() (bool, error) { return t.Log.Look() }

// Wake arms w to call fn when there is something to read again. It returns true when
// there is already: written between the last Fill and now.
func (t *Tailer) Wake(w *Watcher, fn func()) (ready bool, err error) {
	t.Log.Each(func(f *File) {
		if armErr := w.Arm(f, fn); armErr != nil && err == nil {
			err = armErr
		}
	})
	if t.at == nil {
		return false, err
	}
	size, sizeErr := t.at.Size()
	if sizeErr != nil {
		return false, sizeErr
	}
	return size-t.pos.Offset > t.stalled || size < t.pos.Offset || t.Log.Superseded(), err
}
