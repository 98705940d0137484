package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/join"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Reader reads one container. See source.Reader; Update may be called at any time, the
// other methods by one caller at a time.
type Reader struct {
	source.Losses

	opener *Opener
	life   context.Context
	end    context.CancelFunc

	mu      sync.Mutex
	target  source.Target
	changed chan struct{} // holds a token after an Update

	rotations atomic.Int64

	stream  *stream        // the open one, if any
	old     *stream        // its predecessor, during a turn
	before  replay.Reading // of the predecessor
	turning bool           // one of Turns' tokens is held
	turnAt  time.Time      // when the stream is to be replaced
	follow  bool           // the last one opened followed
	window  int            // see nextWindow
	fresh   int            // lines that were new since the log was opened

	tracker replay.Tracker
	joiner  join.Joiner // of lines that belong together
	slow    [2]span     // of lines, before the entry that the joiner holds
	gap     bool        // lines are missing before the next one
	waiter  source.Waiter
	lines   lines
	piece   docker.Piece // read, and still to be joined
	again   bool
	held    line // joined, and still to be delivered
	holding bool
	late    bool  // a stream had left it out
	failure error // of the stream, kept while its last records are delivered
	// unread is the timestamp of the oldest line that was incomplete when a stream broke or
	// the cursor was taken, 0 = none. While it is set, the log is not only looked at from
	// its end. It holds until a new line is delivered behind all others: by then the log was
	// read again up to where it was, and that line is complete or incomplete once more.
	unread int64

	// unchecked is how many records streams brought since the log was last opened and found
	// to reach back to what was delivered, which was up to the timestamp checked, less Slack.
	// The next window looks for what they left out.
	unchecked int
	checked   int64

	doubt int64     // timestamp of a line of which a piece came twice
	trust time.Time // until then that is believed

	retry    retry
	polls    time.Time // until then nothing is followed, because Podman refused to
	removing time.Time // since when the engine says so
	rest     bool      // the run is over and all of it was read: what is incomplete stays so
	seeded   bool      // the log's last record was looked at
	gone     bool      // the engine has no such container
	drained  bool      // the last stream that followed was read to its end
	looked   bool      // a log that is not followed was read to its present end
	read     bool      // the container stands still and was read to its end
	run      time.Time // start of the run in which the log was opened last
	polled   bool      // a poll is through

	trouble atomic.Pointer[trouble] // nil when the log could be opened last
}

// trouble is that a log cannot be opened.
type trouble struct {
	since time.Time
	err   error
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
	return r.tracker.Cursor(r.unsent())
}

// incomplete returns the timestamp of the oldest line that was begun and not delivered,
// 0 = none.
func (r *Reader) incomplete() int64 {
	return across(r.lines.slow, r.tracker.Since(), r.begun())
}

func (r *Reader) begun() int64 {
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
	r.Leave()
}

// Leave closes what is open; the reader goes on with the next call.
func (r *Reader) Leave() {
	if r.old != nil {
		r.giveUpTurn()
	}
	r.endTurn() // after a panic
	r.closeStream()
}

// Rotations returns how often its stream was replaced; anybody may call it.
func (r *Reader) Rotations() int64 { return r.rotations.Load() }

// Trouble returns why the log could not be opened when that was tried last, and since when
// that is so; nil when it could. Anybody may call it.
func (r *Reader) Trouble() (since time.Time, err error) {
	if t := r.trouble.Load(); t != nil {
		return t.since, t.err
	}
	return time.Time{}, nil
}

// Pause returns, after Next returned source.ErrIdle, how long it is until the next call
// makes sense; 0 = not before an Update.
func (r *Reader) Pause() time.Duration {
	t := r.latest()
	if r.through(t) && !t.Container.Running {
		return 0
	}
	return max(time.Until(r.retry.at), r.pollPause(time.Millisecond))
}

// pollPause returns how long a log is left alone that was just read to its end, at least
// least: if lines are held, only until they are overdue, for more may have come.
func (r *Reader) pollPause(least time.Duration) time.Duration {
	pause := r.opener.PollInterval
	if due, ok := r.Due(); ok {
		pause = min(pause, max(due, firstPause))
	}
	return max(pause, least)
}

// Next returns the next batch. A follower waits for the container, for the engine, and
// for ctx; a poller for the engine only. The errors of a stream are counted and tried
// again, so that the only ones returned are ctx's, source.ErrIdle when there is nothing
// to do before Pause is over, and io.EOF when the container is gone. After the end of
// ctx the reader holds no stream, and goes on with the next call.
func (r *Reader) Next(ctx context.Context) (*record.Batch, error) {
	b, err := r.next(ctx)
	if err != nil {
		r.Leave()
	}
	return b, err
}

func (r *Reader) next(ctx context.Context) (*record.Batch, error) {
	for {
		if err := r.ended(ctx); err != nil {
			return nil, err
		}
		if r.polled {
			r.polled = false
			return nil, source.ErrIdle
		}
		if b := r.rematch(); b != nil {
			return b, nil
		}
		if r.stream == nil && !r.rest {
			if err := r.open(ctx); err != nil {
				return nil, err
			}
			continue
		}
		r.turn(ctx)
		b, err := r.guarded(ctx)
		if b != nil {
			return b, nil
		}
		if err := r.ended(ctx); err != nil {
			return nil, err
		}
		r.after(err)
		if b := r.overdue(); b != nil {
			return b, nil
		}
	}
}

// guarded calls batch; the end of ctx breaks the streams that it waits for.
func (r *Reader) guarded(ctx context.Context) (*record.Batch, error) {
	if s := r.stream; s != nil {
		defer context.AfterFunc(ctx, s.abort)()
		if !s.follow {
			s.silent.Reset(s.patience())
		}
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
			if b != nil && !r.again && !r.rest && !r.stream.dec.Ready() {
				if b = filled(b); b != nil {
					return b, nil
				}
			}
			err := r.failure
			if err == nil {
				err = r.step()
			}
			if err == nil {
				continue
			}
			if b = filled(b); b == nil && r.rest { // nothing follows
				b = r.giveOut()
			}
			if r.failure = err; b == nil {
				r.failure = nil
				return nil, err
			}
			return b, nil
		}
		size := len(r.held.data) + r.joiner.Size(r.held.out)
		if b != nil && len(b.Arena)+size > min(cap(b.Arena), maxBatch) {
			if b = filled(b); b != nil {
				return b, nil
			}
		}
		if b == nil {
			b = r.empty(max(size, min(r.buffered(), maxBatch)))
		}
		r.deliver(b)
	}
}

// maxBatch bounds the bytes of a batch, unless one line is longer.
const maxBatch = 64 << 10

func (r *Reader) buffered() int {
	if r.stream == nil {
		return 0
	}
	return r.stream.dec.Buffered()
}

func (r *Reader) deliver(b *record.Batch) {
	ln := &r.held
	if !r.late && r.tracker.Caught(ln.out, ln.time) {
		r.unread = 0 // what was begun has come again
	}
	switch {
	case r.late:
		r.add(b, ln.out, r.tracker.Late(ln.out, ln.time), ln.data, ln.cut)
		r.opener.Stats.Late.Add(1)
	case r.joiner.On():
		r.join(b, ln)
	default:
		r.add(b, ln.out, r.tracker.Delivered(ln.out, ln.time, replay.Hash(ln.time, ln.data)), ln.data, ln.cut)
	}
	r.holding = false
	r.lines.passed(ln)
	r.fresh++
	r.retry.reset()
}

// errGap: the last records of the log do not reach back to what was delivered.
var errGap = errors.New("more was logged than the last records")

// errUnchecked: the last records of the log do not reach back to where the log was checked
// last for what streams left out.
var errUnchecked = errors.New("more was logged since the last check than the last records")

// errDoubled: a piece of a line came twice in a row, and is to be read again.
var errDoubled = errors.New("a piece of a line came twice")

// trustTime is how long pieces that come twice are believed, once one was right.
const trustTime = time.Minute

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
			piece, err := r.pull()
			if err != nil {
				return err
			}
			if r.stream.follow && r.lines.doubled(piece) && !r.trusted(piece.Time) {
				return errDoubled
			}
			r.piece = piece
			if r.stream.follow {
				r.unchecked++
			}
		}
		ln, ok, r.again = r.lines.add(r.piece)
	}
	if !ok {
		return nil
	}
	if len(ln.data) > 0 && ln.data[len(ln.data)-1] == '\r' && !ln.cut {
		ln.data = ln.data[:len(ln.data)-1] // the terminal's, not the program's
	}
	late := r.tracker.Missed(ln.out, ln.time)
	repeated := r.tracker.Repeat(ln.out, ln.time, replay.Hash(ln.time, ln.data))
	if r.rest {
		r.held, r.holding, r.late = ln, !repeated, false
		return nil
	}
	window := r.stream.window
	switch {
	case repeated && window > 0 && r.tracker.Skipped(ln.out) > window,
		!repeated && window > 0 && !r.tracker.Found():
		return errGap
	case !r.stream.proved && window > 0 && window < maxWindow && r.unchecked > 0 && r.tracker.Found() && !r.tracker.Reached():
		return errUnchecked
	}
	r.prove(&ln, repeated)
	if r.old != nil && (r.tracker.Found() || !repeated) {
		r.turned()
	}
	if !repeated && r.stream.whole && r.tracker.Distinct() && r.tracker.Passed() {
		r.tracker.Resume() // it lies behind all that was delivered, and so does what follows
	}
	if repeated && !late {
		r.lines.passed(&ln)
		r.opener.Stats.Repeats.Add(1)
		r.hasten(ln.out)
		return nil
	}
	r.held, r.holding, r.late = ln, true, late
	return nil
}

// trusted tells whether a piece that came twice in a row was written twice: when it comes
// so again from the log. That is believed of others too, for a while: who writes such
// lines writes many.
func (r *Reader) trusted(at int64) bool {
	if now := time.Now(); r.doubt == at {
		r.trust = now.Add(trustTime)
	} else if now.After(r.trust) {
		r.doubt = at
		return false
	}
	return true
}

// prove looks, once for each opening, whether the log overlaps what was delivered.
func (r *Reader) prove(ln *line, repeated bool) {
	s := r.stream
	found := r.tracker.Found()
	if s.proved || !found && repeated {
		return
	}
	s.proved = true
	if s.follow {
		r.window = 0
	}
	if !found && s.known {
		r.Add(source.LostGap, 1)
		r.gap = true
	}
	r.unchecked, r.checked = 0, r.tracker.Since()
	if repeated {
		r.tracker.Checked(ln.out, 0)
		return
	}
	r.tracker.Checked(ln.out, ln.time)
	r.unchecked = 1
}

// after decides what the end of a stream, or of what is left of one, means.
func (r *Reader) after(err error) {
	s := r.stream
	if errors.Is(err, io.EOF) && s != nil && !s.follow && s.window > 0 && !r.tracker.Found() && r.tracker.Skipped(0)+r.tracker.Skipped(1) > 0 {
		err = errGap // all of it is older than what was delivered: the clock was set back
	}
	switch {
	case errors.Is(err, errGap):
		r.missed(s.window)
	case errors.Is(err, errUnchecked): // no log is searched for a check
		r.window = min(s.window*widen, maxWindow)
	}
	if r.old != nil {
		r.unread = 0 // the old stream has it
		r.giveUpTurn()
		r.opener.Stats.errors[rotation].Add(1)
		if short(err) && r.window <= maxWindow { // the next one reaches back further
			r.turnAt = time.Now().Add(turnPause)
		}
		return
	}
	if s == nil { // nothing is left of what was incomplete
		r.rest, r.read, r.unread = false, true, 0
		return
	}
	r.closeStream()
	switch {
	case short(err), errors.Is(err, errDoubled):
	case s.turned.Load():
		r.rotated()
	case errors.Is(err, io.EOF) && s.follow:
		// The container stopped, as its die event is about to tell, or the engine ended
		// the stream for reasons of its own: a restart, a log rotation.
		r.drained = true
		r.retry.pause(maxPause)
	case errors.Is(err, io.EOF):
		r.drained, r.looked = true, true
		r.reached(r.fresh)
		r.retry.reset()
		t := r.latest()
		running := t.Container.Running && !t.Gone // then a line that is incomplete may still be ended
		r.rest, r.polled = !running && !s.live, running && t.Mode == source.Poll
		if running && t.Mode != source.Poll { // it could not be followed
			r.retry.at = time.Now().Add(r.pollPause(firstPause))
		}
	default:
		if !errors.Is(err, docker.ErrInBand) && !errors.Is(err, docker.ErrGarbage) {
			err = fmt.Errorf("%w: %w", errStream, err)
		}
		r.failed(err)
	}
}

// short tells whether a window did not reach back far enough.
func short(err error) bool { return errors.Is(err, errGap) || errors.Is(err, errUnchecked) }

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
	since, _ := r.Trouble()
	if since.IsZero() {
		since = time.Now()
	}
	r.trouble.Store(&trouble{since, err})
	switch why {
	case unsupported:
		r.retry.pause(maxPause)
		r.retry.at = time.Now().Add(unsupportedPause)
	case unreachable:
		r.retry.pause(absentPause)
	default:
		r.retry.pause(maxPause)
	}
}
