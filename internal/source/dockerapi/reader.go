package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Reader reads one container. See source.Reader; Update may be called at any time, the
// other methods by one caller at a time.
type Reader struct {
	opener *Opener
	last   int // records that a window has
	life   context.Context
	end    context.CancelFunc

	mu      sync.Mutex
	target  source.Target
	changed chan struct{} // holds a token after an Update

	stream // the open one, if any

	tracker tracker
	lines   lines
	piece   docker.Piece // read, and still to be joined
	again   bool
	held    line // joined, and still to be delivered
	holding bool
	failure error // of the stream, kept while its last records are delivered
	// unread is the timestamp of the oldest line that was incomplete when a stream broke or
	// the cursor was taken, 0 = none. While it is set, the log is not only looked at from
	// its end. It holds until a new line is delivered: by then the log was read again
	// up to where it was, and that line is complete or incomplete once more.
	unread int64

	retry    retry
	removing time.Time // since when the engine says so
	rest     bool      // the run is over and all of it was read: what is incomplete stays so
	gone     bool      // the engine has no such container
	read     bool      // the container stands still and was read to its end
}

var _ source.Reader = (*Reader)(nil)

// Update takes what discovery knows now.
func (r *Reader) Update(t source.Target) {
	if t.Container == nil || t.Source == nil {
		return
	}
	r.mu.Lock()
	r.target = t
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *Reader) latest() source.Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.target
}

// Cursor returns the place behind the last batch.
func (r *Reader) Cursor() position.Cursor {
	return r.tracker.cursor(r.incomplete())
}

// incomplete returns the timestamp of the oldest line that was begun and not delivered,
// 0 = none.
func (r *Reader) incomplete() int64 {
	at := older(r.unread, r.lines.oldest())
	if r.holding {
		at = older(at, r.held.time)
	}
	if r.again {
		at = older(at, r.piece.Time)
	}
	return at
}

// older returns the smaller of two timestamps of which 0 means none.
func older(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Close ends the stream.
func (r *Reader) Close() {
	r.end()
	r.stream.close()
}

// Next returns the next batch. It waits for the container, for the engine, and for
// ctx; the errors of a stream are counted and tried again, so that the only ones
// returned are ctx's and io.EOF, when the container is gone.
func (r *Reader) Next(ctx context.Context) (*record.Batch, error) {
	for {
		if err := r.ended(ctx); err != nil {
			return nil, err
		}
		if !r.stream.isOpen() && !r.rest {
			if err := r.open(ctx); err != nil {
				return nil, err
			}
			continue
		}
		b, err := r.guarded(ctx)
		if b != nil {
			return b, nil
		}
		r.stream.close()
		if err := r.ended(ctx); err != nil {
			return nil, err
		}
		r.after(err)
	}
}

// guarded calls batch; the end of ctx breaks the stream that it waits for.
func (r *Reader) guarded(ctx context.Context) (*record.Batch, error) {
	if r.stream.isOpen() {
		defer context.AfterFunc(ctx, r.stream.abort)()
	}
	return r.batch()
}

func (r *Reader) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.life.Err()
}

// batch returns what can be had without waiting, after having waited for the first
// record. The error is the stream's.
func (r *Reader) batch() (*record.Batch, error) {
	var b *record.Batch
	for {
		for !r.holding {
			if b != nil && !r.again && !r.rest && !r.dec.Ready() {
				return b, nil
			}
			err := r.failure
			if err == nil {
				err = r.step()
			}
			if err != nil && b != nil {
				r.failure = err
				return b, nil
			}
			if err != nil {
				r.failure = nil
				return nil, err
			}
		}
		size := len(r.held.data)
		switch {
		case b == nil:
			b = r.opener.Pool.Force(max(size, min(r.buffered(), maxBatch)))
			b.Source = r.latest().Source
		case len(b.Arena)+size > min(cap(b.Arena), maxBatch):
			return b, nil
		}
		r.deliver(b)
	}
}

// maxBatch bounds the bytes of a batch, unless one line is longer.
const maxBatch = 64 << 10

func (r *Reader) deliver(b *record.Batch) {
	ln := &r.held
	at := r.tracker.delivered(ln.out, ln.time, hash(ln.time, ln.data))
	b.Append(at, outputs[ln.out], ln.data)
	if ln.cut {
		b.Entries[len(b.Entries)-1].Flags |= record.Truncated
		r.opener.Stats.Truncated.Add(1)
	}
	r.holding, r.unread = false, 0
	r.retry.reset()
}

// errGap: the last records of the log do not reach back to what was delivered.
var errGap = errors.New("more was logged than the last records")

// step reads and joins one piece. A line that it ends and that was not delivered
// before is held.
func (r *Reader) step() error {
	var ln line
	var ok bool
	if r.rest {
		if ln, ok = r.lines.flush(); !ok {
			return io.EOF
		}
	} else {
		if !r.again {
			piece, err := r.dec.Next()
			if err != nil {
				return err
			}
			r.piece = piece
		}
		ln, ok, r.again = r.lines.add(r.piece)
	}
	if !ok {
		return nil
	}
	if len(ln.data) > 0 && ln.data[len(ln.data)-1] == '\r' && !ln.cut {
		ln.data = ln.data[:len(ln.data)-1] // the terminal's, not the program's
	}
	if r.tracker.repeat(ln.out, ln.time, hash(ln.time, ln.data)) {
		r.opener.Stats.Repeats.Add(1)
		if r.window && r.tracker.out[ln.out].skipped > r.last {
			r.unread = older(r.unread, ln.time)
			return errGap
		}
		return nil
	}
	if r.window && !r.tracker.overlaps(ln.out, ln.time) {
		r.unread = older(r.unread, ln.time)
		return errGap
	}
	r.held, r.holding = ln, true
	return nil
}

// after decides what a stream's end means.
func (r *Reader) after(err error) {
	r.unread = r.incomplete()
	r.again = false
	switch {
	case errors.Is(err, errGap):
		r.rest = false
	case r.rest: // nothing is left of what was incomplete
		r.rest, r.read = false, true
	case errors.Is(err, io.EOF) && r.follow:
		// The container stopped, as its die event is about to tell, or the engine ended
		// the stream for reasons of its own: a restart, a log rotation.
		r.retry.pause()
	case errors.Is(err, io.EOF):
		r.rest = true
	default:
		if !errors.Is(err, docker.ErrInBand) && !errors.Is(err, docker.ErrGarbage) {
			err = fmt.Errorf("%w: %w", errStream, err)
		}
		r.failed(err)
	}
}

// errStream: the connection broke in the middle of a stream.
var errStream = errors.New("the log stream broke")

// failed counts an error and lets the next attempt wait.
func (r *Reader) failed(err error) {
	why := reasonOf(err)
	r.opener.Stats.errors[why].Add(1)
	log := r.opener.Log.Warn
	if r.retry.tries > 0 || why == unreachable || why == conflict {
		log = r.opener.Log.Debug // said before, or said by discovery
	}
	name := r.latest().Source.Name
	log("the log stream of a container failed; it is opened again from where it was", "container", name, "error", err)
	r.retry.pause()
	if why == unsupported {
		r.retry.at = time.Now().Add(unsupportedPause)
	}
}
