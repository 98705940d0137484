package dispatch

import (
	"context"
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
	sink sink.Sink

	mu   sync.Mutex
	next chan struct{} // closed, and made anew, when the sink was replaced
}

// set is for the first sink.
func (r *replaceable) set(s sink.Sink) {
	r.sink, r.use, r.next = s, make(chan struct{}, 1), make(chan struct{})
}

// replaced returns a channel that is closed when another sink is there.
func (r *replaceable) replaced() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// send is sink.Sink's Send. One that is cut off says that its context was cancelled.
func (r *replaceable) send(ctx context.Context, views []record.View) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.use <- struct{}{}
	defer func() { <-r.use }()
	r.cut.Store(&cancel)
	return r.sink.Send(ctx, views)
}

// replace puts s in the sink's place, which it closes. A Send that is under way may go on
// until the deadline.
func (r *replaceable) replace(s sink.Sink, deadline time.Time) error {
	late := time.AfterFunc(time.Until(deadline), func() {
		if cut := r.cut.Load(); cut != nil {
			(*cut)()
		}
	})
	r.use <- struct{}{}
	defer func() { <-r.use }()
	late.Stop()
	err := r.sink.Close() // before the new one is used: they may write to the same files
	r.sink = s
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.next)
	r.next = make(chan struct{})
	return err
}

func (r *replaceable) close() error { return r.sink.Close() }

// How a pause ends.
type paused int

const (
	pauseOver  paused = iota // it was as long as it should be
	pauseCut                 // the sink was replaced
	pauseEnded               // ctx has ended
)

// pause waits for d, or until the sink is another one.
func (l *Lane) pause(ctx context.Context, replaced <-chan struct{}, d time.Duration) paused {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return pauseOver
	case <-replaced:
		return pauseCut
	case <-ctx.Done():
		return pauseEnded
	}
}
