package tail

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// ChunkSize is how much is read at once when a lot is there. It leaves some room in its
// arena for text that is not as it stands in the file, and for a mark behind it.
const ChunkSize = record.LargeArena - 2*record.SmallArena

// Tailer reads a Log in order, as raw bytes; what a record is, its caller knows. All
// its state is an offset: bytes that make no whole record yet are read again, so a
// quiet log costs no buffer. It has one user at a time.
//
// A file that was cut (copytruncate) is read from its new beginning, whatever size it has
// by then: each read looks, in the same call, at the last bytes of the one before. What was
// not read yet is read from the copy that was made before.
type Tailer struct {
	Log *Log

	pos     position.FilePos
	at      *File // the generation pos is of
	stalled int64 // bytes behind the offset that are known to hold no whole record
	gone    bool
	begun   int  // files, and files that were cut to nothing
	lent    bool // Fill has returned text of at that was neither consumed nor stalled yet
	gap     bool

	// Done has the files read to their end, and in Logs with a Claim those let go
	// unread, since the caller last emptied it.
	Done []position.FilePos
	// Truncated counts how often a file was cut: emptied, or emptied and written anew.
	Truncated int
}

// NewTailer returns a tailer that goes on at pos, nil for the beginning. It tells
// whether the file of pos was found; if not, what was not yet read of it is lost.
func NewTailer(log *Log, pos *position.FilePos, after int64) (t *Tailer, found bool, err error) {
	found, err = log.Resume(pos, after)
	t = &Tailer{Log: log}
	if f := log.Current(); f != nil {
		t.enter(f)
		if pos != nil && f.ID == pos.FileID && t.pos.Offset == pos.Offset {
			t.pos = *pos
		}
	}
	t.Truncated = log.takeCuts()
	return t, found, err
}

// Unnamed tells whether a file is held that nobody could open again.
func (t *Tailer) Unnamed() bool { return t.Log.Unnamed() }

// SetGone tells that nothing will be written any more (or again, that it will be).
func (t *Tailer) SetGone(gone bool) { t.gone = gone }

// SkipToEnd goes to the present end of the newest generation.
func (t *Tailer) SkipToEnd() error {
	t.giveBack()
	for older := true; older; {
		older = t.Log.advance(t.Log.Current())
	}
	t.enter(t.Log.Current())
	if t.at == nil {
		return nil
	}
	size, err := t.at.Size()
	t.seek(size)
	return err
}

func (t *Tailer) enter(f *File) {
	t.at, t.pos, t.stalled = f, position.FilePos{}, 0
	t.begun++
	if f != nil {
		t.pos.FileID, t.pos.Offset = f.ID, f.read.Load()
	}
}

// seek sets the place of the first byte that was not consumed, also for the Keeper.
func (t *Tailer) seek(offset int64) {
	t.pos.Offset, t.stalled = offset, 0
	if t.at != nil {
		t.at.read.Store(offset)
	}
}

// giveBack tells that what Fill returned last is decided on. A generation that was to
// be let go meanwhile is let go now.
func (t *Tailer) giveBack() {
	if !t.lent {
		return
	}
	t.lent = false
	if t.at.giveBack() {
		t.Log.buryLeaving(t.at)
	}
}

// Unread calls fn with every generation held and the offset of its first byte that
// was not read, and with those let go that Done has not had.
func (t *Tailer) Unread(fn func(id position.FileID, offset int64)) {
	t.Log.Each(func(f *File) { fn(f.ID, f.read.Load()) })
	for _, done := range t.Log.takeDone() {
		fn(done.FileID, done.Offset)
	}
}

// Gap tells, once, that the text that Fill returns is not the continuation of what it
// returned before: one or more generations in between were let go unread, and perhaps
// the rest of the one that was being read. To be asked after every Fill, whatever it
// returned.
func (t *Tailer) Gap() bool {
	gap := t.gap
	t.gap = false
	return gap
}

// TakeLetGo returns how many generations were let go that were not read to their end,
// and how many lines (newlines) of them had not been consumed, since the last call.
func (t *Tailer) TakeLetGo() (generations int, lines int64) { return t.Log.takeLetGo() }

// Fill returns a batch of pool whose arena holds the bytes that follow, at least one
// byte and at most max(want, ChunkSize). final tells that nothing will follow them in
// their generation. The batch is the caller's, who calls Consume or Stall before Fill
// again. A generation that was let go is passed over: see Gap and TakeLetGo. Errors:
// source.ErrIdle when there is nothing new, io.EOF when the log is gone and read,
// ctx's, or the file system's.
func (t *Tailer) Fill(ctx context.Context, pool *record.Pool, want int) (b *record.Batch, final bool, err error) {
	t.giveBack()
	for {
		if err := t.follow(ctx); err != nil {
			return nil, false, err
		}
		complete := t.Complete() // asked before the size, or a last write could be missed
		size, written, err := t.look()
		switch {
		case errors.Is(err, errLetGo):
			continue
		case errors.Is(err, errCut):
			t.startAgain()
			continue
		case err != nil:
			return nil, false, err
		}
		avail := size - t.pos.Offset
		switch {
		case avail > 0 && (complete || avail > t.stalled):
			b, final, err := t.read(ctx, pool, min(avail, int64(max(want, ChunkSize))), complete, size)
			switch {
			case errors.Is(err, errLetGo):
				continue
			case errors.Is(err, errCut):
				t.startAgain()
				continue
			case err == nil:
				t.pos.Written = written
			}
			return b, final, err
		case avail == 0 && t.Log.Superseded():
			if complete {
				done := t.Pos()
				if t.Log.advance(t.at) {
					t.Done = append(t.Done, done)
				}
			}
		default:
			fresh, err := t.Log.Look()
			if t.Log.Current() != t.at {
				continue // it was let go since it was asked for: the others are still to be read
			}
			if err != nil {
				return nil, false, err
			}
			if !fresh {
				return nil, false, t.nothing()
			}
			if !t.Log.Superseded() {
				return nil, false, source.ErrIdle
			}
		}
	}
}

// follow goes to the generation to be read now.
func (t *Tailer) follow(ctx context.Context) error {
	f, gap, err := t.Log.front(ctx)
	if err != nil {
		return err
	}
	if gap {
		t.gap = true
	}
	if f != nil && f == t.at {
		return nil
	}
	t.Done = append(t.Done, t.Log.takeDone()...)
	if f == nil {
		if _, err := t.Log.Look(); err != nil {
			return err
		}
		f = t.Log.Current()
	}
	if f == nil {
		return t.nothing()
	}
	if n := t.Log.cutAgain(f, 0); n > 0 {
		t.Truncated += n
		f = t.Log.Current()
	}
	t.enter(f)
	return nil
}

func (t *Tailer) nothing() error {
	if t.gone {
		return io.EOF
	}
	return source.ErrIdle
}

func (t *Tailer) read(ctx context.Context, pool *record.Pool, n int64, complete bool, size int64) (*record.Batch, bool, error) {
	b, err := pool.Get(ctx, int(n)+markSize)
	if err != nil {
		return nil, false, err
	}
	if !t.at.lend() { // let go while there was no memory
		b.Done(record.Delivered)
		return nil, false, errLetGo
	}
	t.lent = true
	got, err := t.readChecked(b.Arena[:n], b.Arena[n:n+markSize])
	if err != nil {
		t.giveBack()
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
	t.seek(t.pos.Offset + n)
	t.giveBack()
}

// Stall says that the n bytes that follow hold no whole record: Fill returns them
// again only when there are more, or when they are final.
func (t *Tailer) Stall(n int64) {
	t.stalled = n
	t.giveBack()
}

// Resume has Fill return what was stalled, although no more is there.
func (t *Tailer) Resume() { t.stalled = 0 }

// Complete tells that nothing will be written any more to the file that is being read.
func (t *Tailer) Complete() bool { return t.Log.Superseded() || t.gone }

// Begun counts the files that were begun. While it stays the same, what Fill returns is of
// one file.
func (t *Tailer) Begun() int { return t.begun }

// Head fills buf with the first bytes of the file that is being read, as many as it has.
func (t *Tailer) Head(buf []byte) (n int, err error) {
	if t.at == nil {
		return 0, nil
	}
	if n, err = t.at.ReadAt(buf, 0); errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Offset returns the offset of the byte that Fill returns next.
func (t *Tailer) Offset() int64 { return t.pos.Offset }

// Pos returns the place of the byte that Fill returns next.
func (t *Tailer) Pos() position.FilePos {
	if t.at == nil {
		return t.pos
	}
	seen := t.pos.Written
	t.at.Identify(&t.pos)
	pos := t.pos
	if t.pos.Written = seen; seen != 0 {
		pos.Written = seen // what was written later is not read
	}
	return pos
}

// Find searches from the given distance behind the present place on, with a function that
// tells where in a piece, of whole units of so many bytes, something is, or -1. It returns
// the distance, or found = false and how far it is not there.
func (t *Tailer) Find(from int64, unit int, where func(piece []byte) int) (at int64, found bool, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.at.ReadAt(buf, t.pos.Offset+from)
		if errors.Is(err, io.EOF) {
			return from, false, nil
		}
		if err != nil {
			return from, false, fmt.Errorf("%s: %w", t.Log.Path(), err)
		}
		n -= n % unit
		if i := where(buf[:n]); i >= 0 || n == 0 {
			return from + int64(max(i, 0)), n > 0, nil
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
		if armErr := w.Arm(f, fn); armErr != nil && !errors.Is(armErr, errLetGo) && err == nil {
			err = armErr
		}
	})
	if t.Log.Current() != t.at {
		return true, err
	}
	if t.at == nil {
		return false, err
	}
	st, statErr := t.at.stat()
	if errors.Is(statErr, errLetGo) {
		return true, err
	}
	if statErr != nil {
		return false, statErr
	}
	cut := st.Size < max(t.pos.Offset, t.pos.Mark.End)
	return cut || st.Size-t.pos.Offset > t.stalled || t.Log.Superseded(), err
}
