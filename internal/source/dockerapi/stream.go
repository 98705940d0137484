package dockerapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
)

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
	// absentPause is the longest pause while nobody answers: that costs little to find out,
	// and an engine that comes back may soon remove containers.
	absentPause      = 500 * time.Millisecond
	unsupportedPause = time.Minute
	// followed is how many records of a stream are remembered, for what the engine repeats
	// and leaves out when it rotates a json-file.
	followed = 2048
	// removing is how long the engine may say that it is removing the container.
	removing = 2 * time.Second
)

// stream is an open log of the engine.
type stream struct {
	body   io.ReadCloser
	abort  context.CancelFunc
	dec    *docker.Decoder
	follow bool
	// window is how many of the last records were asked for, 0 = all: that they reach back
	// to what was delivered is to be seen.
	window int
	proved bool // it was seen
	known  bool // something had been delivered when it was opened
	opened time.Time
	live   bool // the container ran when it was opened
	whole  bool // no line was incomplete then
	// silent ends a stream that is due to be replaced and brings nothing, and a poll whose
	// answer does not come.
	silent *time.Timer
	turned atomic.Bool // it did
}

func (s *stream) close() {
	if s.silent != nil {
		s.silent.Stop()
	}
	s.abort()
	_ = s.body.Close() // nothing was written to it
}

// patience is how long a poll's answer may take: seconds, or minutes where the engine
// searches its log.
func (s *stream) patience() time.Duration {
	if s.window > 0 {
		return 30 * time.Second
	}
	return 10 * time.Minute
}

// retry paces attempts.
type retry struct {
	tries int
	at    time.Time // not before
}

func (t *retry) reset() { *t = retry{} }

func (t *retry) pause(most time.Duration) {
	t.at = time.Now().Add(min(firstPause<<min(t.tries, 10), most))
	t.tries++
}

// open waits until there is reason to read, and opens the log. It returns nil without
// having done so when the situation is to be looked at again, source.ErrIdle when there
// is nothing to do before Pause is over, and io.EOF when the container is gone and all
// of it was read.
func (r *Reader) open(ctx context.Context) error {
	t := r.latest()
	running := t.Container.Running && !t.Gone
	switch {
	case r.gone, r.through(t) && t.Gone:
		return io.EOF
	case r.through(t) && !running:
		return source.ErrIdle
	}
	// A container that was just seen to stop or to go needs no pause.
	stopped := r.follow && !running && r.retry.tries <= 1
	if pause := time.Until(r.retry.at); pause > 0 && !stopped {
		if t.Mode == source.Poll {
			return source.ErrIdle
		}
		return r.wait(ctx, pause)
	}
	if r.tracker.Fresh() && r.tracker.Since() > 0 && !r.seeded && !podman(r.opener.Engine) {
		r.seed(ctx, t)
	}
	s, err := r.connect(ctx, t, running && t.Mode != source.Poll && !time.Now().Before(r.polls))
	if err != nil {
		if err := r.ended(ctx); err != nil {
			return err
		}
		return r.refused(err)
	}
	r.stream, r.follow, r.read, r.run = s, s.follow, false, t.Container.Started
	// A look at what stands still, behind a stream that was read to its end, finds no more.
	r.drained = r.drained && !s.follow
	r.failure, r.removing = nil, time.Time{}
	r.trouble.Store(nil)
	if s.follow {
		r.planTurn(s)
	} else {
		s.silent = time.AfterFunc(s.patience(), s.abort)
	}
	return nil
}

// through tells whether the container stands still as it did when its log was read to the
// end. A run may have begun and ended between two looks at it.
func (r *Reader) through(t source.Target) bool {
	return r.read && r.run.Equal(t.Container.Started)
}

// seed looks at the last record of a log whose history is not wanted. If that is older, it
// is where reading begins, and the engine need not search for the time; if not, or if it
// cannot be had, the engine searches.
func (r *Reader) seed(ctx context.Context, t source.Target) {
	life, abort := context.WithTimeout(ledger.For(r.life, ctx), 30*time.Second)
	defer abort()
	defer context.AfterFunc(ctx, abort)()
	body, err := r.opener.Engine.Logs(life, t.Container.ID, docker.LogOptions{Tail: 1})
	if err != nil {
		return // opening the log will say why
	}
	defer body.Close()
	dec := r.opener.decoder(body, t.Container.TTY)
	defer r.opener.recycle(dec)
	var all lines
	all.max = r.lines.max
	var last line
	for {
		piece, err := dec.Next()
		if err != nil {
			break
		}
		ln, ok, _ := all.add(piece)
		if ok {
			last = line{out: ln.out, time: ln.time, data: slices.Clone(ln.data)}
		}
	}
	r.seeded = true
	if last.time > 0 && last.time < r.tracker.Since() {
		r.tracker.Seed(last.out, last.time, replay.Hash(last.time, bytes.TrimSuffix(last.data, []byte("\r"))))
	}
}

// connect opens the log from where it was read to, and prepares for what comes again.
func (r *Reader) connect(ctx context.Context, t source.Target, follow bool) (*stream, error) {
	s := &stream{
		follow: follow, opened: time.Now(), known: !r.tracker.Fresh(), live: t.Container.Running && !t.Gone, whole: r.incomplete() == 0,
	}
	options := docker.LogOptions{Follow: follow, Since: r.Cursor().API.Since}
	if !r.tracker.Fresh() && r.incomplete() == 0 && r.tracker.Distinct() && !podman(r.opener.Engine) {
		s.window = r.nextWindow(follow)
		options.Tail = s.window
		if r.unchecked > 0 {
			options.Since = min(options.Since, r.checked)
		}
	}
	life, abort := context.WithCancel(ledger.For(r.life, ctx))
	stop := context.AfterFunc(ctx, abort)
	body, err := r.opener.Engine.Logs(life, t.Container.ID, options)
	stop()
	if err != nil {
		abort()
		return nil, err
	}
	s.body, s.abort, s.dec = body, abort, r.opener.decoder(body, t.Container.TTY)
	if follow {
		r.tracker.Remember(followed)
	}
	stats := r.opener.Stats
	stats.Opens.Add(1)
	if !follow {
		stats.Polls.Add(1)
	}
	if s.window == 0 && options.Since > 0 {
		stats.Full.Add(1)
	}
	r.again, r.holding, r.fresh = false, false, 0
	r.lines.forget()
	if podman(r.opener.Engine) {
		options.Since = 0
	}
	r.tracker.Reopen(options.Since)
	return s, nil
}

// refused deals with an engine that did not open the log.
func (r *Reader) refused(err error) error {
	switch {
	case !errors.Is(err, docker.ErrConflict):
		r.removing = time.Time{}
	case r.removing.IsZero():
		r.removing = time.Now()
	case time.Since(r.removing) > removing:
		err = docker.ErrNotFound
	}
	if errors.Is(err, docker.ErrNotFound) {
		if t := r.latest(); !r.read && !r.gone && !t.Container.Started.IsZero() && (t.Mode == source.Poll || !r.drained) {
			r.Add(source.LostRemoved, 1) // what it wrote since the last poll, or since its stream broke, if anything
		}
		// What was incomplete will not be read again: it is delivered as it is.
		r.gone, r.rest = true, true
		return nil
	}
	if reasonOf(err) == other && podman(r.opener.Engine) {
		// It does not follow journald unless its events are there as well.
		r.polls = time.Now().Add(unsupportedPause)
	}
	r.failed(err)
	return nil
}

// closeStream ends the open stream, if any. What was begun and not delivered will be
// read again.
func (r *Reader) closeStream() {
	if r.stream == nil {
		return
	}
	r.unread = r.incomplete()
	r.again, r.holding = false, false
	r.piece, r.held = docker.Piece{}, line{}
	r.aged(r.stream)
	r.release(r.stream)
	r.stream = nil
}

// release closes a stream. What was read of it and not delivered is not valid any more.
func (r *Reader) release(s *stream) {
	s.close()
	r.opener.recycle(s.dec)
	s.dec = nil
}

func (r *Reader) aged(s *stream) {
	if s.follow && r.opener.Stats.Aged != nil {
		r.opener.Stats.Aged(time.Since(s.opened))
	}
}

// wait returns when discovery knows something new, after d, or with an error when a
// context ends.
func (r *Reader) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.life.Done():
		return r.life.Err()
	}
	return nil
}
