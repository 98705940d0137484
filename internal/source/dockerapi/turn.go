package dockerapi

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
)

// A turn replaces a follow stream by a successor, make before break. The successor is
// opened on the log's last records and read until one comes that was delivered already:
// then it began before the end of what the old stream brought, nothing lies between the
// two, and the old one is closed. What both bring is told apart by the cursor, as after
// any reopening. A successor that does not get so far in turnTimeout is given up, and the
// old stream goes on.
//
// The engine leaves lines out of a stream when it rotates its json-file at a bad moment.
// The successor's first records go back to where the last turn was, so that those lines
// are found, and delivered late. When the stream shows that there was a rotation, its turn
// comes early.
//
// The agent does not wait for a frame of the container to match the two by: one
// that says nothing has its stream replaced as well. Its stream, in whose reading the
// caller sits, is ended when the turn is overdue, and opened again from the cursor.
const (
	turnTimeout = 10 * time.Second
	// overdue is how long a turn waits for the stream to bring something, at most.
	overdue = 5 * time.Second
	// turnPause is the least time until a turn is tried again that could not be done.
	turnPause = time.Second
	// early is how long after a rotation a stream is replaced, and leastTurn the least time
	// that it then has been open.
	early     = time.Second
	leastTurn = 10 * time.Second
	// turnsAtOnce bounds how many streams are replaced at the same time.
	turnsAtOnce = 2
)

// Turns says when streams are replaced. It is shared by the readers of one monitor.
type Turns struct {
	// Random replaces the source of chance of the intervals: numbers of [0, 1).
	Random   func() float64
	interval time.Duration
	free     chan struct{} // holds a token for each turn that may begin
}

// NewTurns has every stream replaced after about interval, which is above 0.
func NewTurns(interval time.Duration) *Turns {
	t := &Turns{Random: rand.Float64, interval: interval, free: make(chan struct{}, turnsAtOnce)}
	for range turnsAtOnce {
		t.free <- struct{}{}
	}
	return t
}

// next returns how long until a stream is replaced: a tenth more or less than the
// interval, so that streams that were opened together do not stay together.
func (t *Turns) next() time.Duration {
	return time.Duration(float64(t.interval) * (0.9 + 0.2*t.Random()))
}

// planTurn sets when a stream that was just opened is replaced.
func (r *Reader) planTurn(s *stream) {
	turns := r.opener.Turns
	if turns == nil {
		return
	}
	after := turns.next()
	r.turnAt = time.Now().Add(after)
	abort := s.abort
	s.silent = time.AfterFunc(after+min(overdue, turns.interval/2), func() {
		s.turned.Store(true)
		abort()
	})
}

// hasten has a stream replaced soon that brought again what it had brought of output i: its
// json-file was rotated.
func (r *Reader) hasten(i int) {
	s := r.stream
	if r.opener.Turns == nil || !s.follow || !s.proved || r.old != nil || r.tracker.Replaying(i) {
		return
	}
	at := time.Now().Add(early)
	if least := s.opened.Add(leastTurn); at.Before(least) {
		at = least
	}
	if at.Before(r.turnAt) {
		r.turnAt = at
	}
}

// turn opens a successor of the open stream if it is time and nothing is in the way.
func (r *Reader) turn(ctx context.Context) {
	s, t := r.stream, r.latest()
	switch {
	case r.opener.Turns == nil, s == nil, !s.follow, r.old != nil, time.Now().Before(r.turnAt),
		!t.Container.Running, t.Gone, t.Mode == source.Poll,
		r.failure != nil, r.incomplete() != 0, s.window > 0 && !s.proved:
		return
	}
	select {
	case <-r.opener.Turns.free:
		r.turning = true
	default:
		r.turnAt = time.Now().Add(turnPause)
		return
	}
	before := r.tracker.Save()
	r.window = min(r.window, maxWindow) // a stream that is so far behind goes on; no log is searched for a turn
	bounded, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	successor, err := r.connect(bounded, t, true)
	if err != nil {
		r.endTurn()
		if r.ended(ctx) == nil {
			r.opener.Stats.errors[rotation].Add(1)
		}
		return
	}
	s.silent.Stop() // it goes on if the successor is given up
	r.old, r.stream, r.before = s, successor, before
	successor.silent = time.AfterFunc(turnTimeout, successor.abort)
	if r.tracker.Fresh() { // nothing was delivered: the successor brings all there is
		r.turned()
	}
}

// turned closes the old stream: the successor was seen to overlap it.
func (r *Reader) turned() {
	r.aged(r.old)
	r.release(r.old)
	r.old = nil
	if !r.stream.silent.Stop() {
		r.stream.abort() // it is being aborted at this moment: let that not go unnoticed
	}
	r.rotated()
	r.endTurn()
	r.planTurn(r.stream)
}

func (r *Reader) rotated() {
	r.rotations.Add(1)
	r.opener.Stats.Rotations.Add(1)
}

// giveUpTurn closes the successor; the old stream goes on from where it was.
func (r *Reader) giveUpTurn() {
	r.release(r.stream)
	r.stream, r.old = r.old, nil
	r.again, r.holding, r.failure = false, false, nil
	r.piece, r.held = docker.Piece{}, line{}
	r.lines.forget()
	r.tracker.Restore(r.before)
	r.endTurn()
	r.stream.silent.Reset(time.Until(r.turnAt) + overdue)
}

// endTurn lets another reader turn.
func (r *Reader) endTurn() {
	if !r.turning {
		return
	}
	r.turning = false
	r.opener.Turns.free <- struct{}{}
	r.turnAt = time.Now().Add(max(turnPause, r.opener.Turns.interval/10))
}
