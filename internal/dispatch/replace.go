package dispatch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// replaceable is a sink in whose place another can be put between two Sends, so that a
// lane keeps its queue, its spool and what is being delivered when its sink changes.
type replaceable struct {
	cut atomic.Pointer[context.CancelFunc] // ends the Send that is under way

	use  chan struct{} // has a token during a Send
	sink sink.Sink     // who has the token uses it; it changes under mu as well

	mu    sync.Mutex
	next  sink.Sink     // takes the sink's place after the Send that is under way
	fresh chan struct{} // closed, and made anew, when the sink was replaced
}

// set is for the first sink.
func (r *replaceable) set(s sink.Sink) {
	r.sink, r.use, r.fresh = s, make(chan struct{}, 1), make(chan struct{})
}

// replaced returns a channel that is closed when another sink is there.
func (r *replaceable) replaced() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fresh
}

// present returns the sink, to be asked about and not to be used.
func (r *replaceable) present() sink.Sink {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sink
}

// send is sink.Sink's Send. One that is cut off says that its context was cancelled.
func (r *replaceable) send(ctx context.Context, views []record.View) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.use <- struct{}{}
	defer func() { <-r.use }()
	_ = r.exchange() // of what replace could not wait for; it said so
	r.cut.Store(&cancel)
	return r.sink.Send(ctx, views)
}

// errBusy means that a sink is still in use, although its Send was cut off.
var errBusy = errors.New("a request that was cut off has not ended; the new sink is used from the next one on")

// replace puts s in the sink's place, which it closes. A Send that is under way may go on
// until ctx ends, and is cut off then. One that does not end by that either is waited for
// by the next.
func (r *replaceable) replace(ctx context.Context, s sink.Sink) error {
	r.mu.Lock()
	old := r.next
	r.next = s
	r.mu.Unlock()
	if old != nil {
		_ = old.Close() // it was never used
	}
	select {
	case r.use <- struct{}{}:
	default:
		stop := context.AfterFunc(ctx, func() {
			if cut := r.cut.Load(); cut != nil {
				(*cut)()
			}
		})
		defer stop()
		select {
		case r.use <- struct{}{}:
		case <-after(ctx, closeWait):
			return errBusy
		}
	}
	defer func() { <-r.use }()
	return r.exchange()
}

// after returns a channel that has something d after the end of ctx.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(d, func() { close(c) }) })
	return c
}

// exchange puts the next sink, if there is one, in the place of the present one, which is
// closed before: they may write to the same files. The caller has the token.
func (r *replaceable) exchange() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		return nil
	}
	err := r.sink.Close()
	r.sink, r.next = r.next, nil
	close(r.fresh)
	r.fresh = make(chan struct{})
	return err
}

func (r *replaceable) close() error { return errors.Join(r.exchange(), r.sink.Close()) }

// How a pause ends.
type paused int

const (
	pauseOver  paused = iota // it was as long as it should be
	pauseCut                 // the sink was replaced
	pauseEnded               // the lane is to end
)

// pause waits for d, or until the sink is another one, or is not to be tried any more.
func (l *Lane) pause(ctx context.Context, replaced <-chan struct{}, d time.Duration) paused {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return pauseOver
	case <-replaced:
		return pauseCut
	case <-l.leave.Done():
	case <-ctx.Done():
	}
	return pauseEnded
}
