package dockerapi

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
)

const (
	// windowTail is how many of the last stored records are asked for first when a
	// stream is opened again: the engine finds them at once, while it reads its log
	// from the start to find a timestamp (seconds per gigabyte).
	windowTail = 256

	firstPause       = 100 * time.Millisecond
	maxPause         = 2 * time.Second
	unsupportedPause = time.Minute
	// removing is how long the engine may say that it is removing the container.
	removing = 2 * time.Second
)

// stream is an open log stream of the engine.
type stream struct {
	body   io.ReadCloser
	abort  context.CancelFunc
	dec    *docker.Decoder
	follow bool
	tty    bool
	// window: only the last records were asked for; that they overlap is to be seen.
	window bool
}

func (s *stream) isOpen() bool { return s.body != nil }

func (s *stream) buffered() int {
	if s.dec == nil {
		return 0
	}
	return s.dec.Buffered()
}

func (s *stream) close() {
	if s.body == nil {
		return
	}
	s.abort()
	_ = s.body.Close() // nothing was written to it
	s.body, s.dec = nil, nil
}

// retry paces attempts.
type retry struct {
	tries int
	at    time.Time // not before
}

func (t *retry) reset() { *t = retry{} }

func (t *retry) pause() {
	t.at = time.Now().Add(min(firstPause<<min(t.tries, 10), maxPause))
	t.tries++
}

// open waits until there is reason to read, and opens a stream. It returns nil without
// one when the situation is to be looked at again, and io.EOF when the container is
// gone and all of it was read.
func (r *Reader) open(ctx context.Context) error {
	t := r.latest()
	running := t.Container.Running && !t.Gone
	switch {
	case r.gone, r.read && t.Gone:
		return io.EOF
	case r.read && !running:
		return r.wait(ctx, 0)
	}
	// A container that was just seen to stop or to go needs no pause.
	stopped := r.follow && !running && r.retry.tries <= 1
	if pause := time.Until(r.retry.at); pause > 0 && !stopped {
		return r.wait(ctx, pause)
	}
	options := docker.LogOptions{Follow: running, Since: r.Cursor().API.Since}
	if r.window = r.incomplete() == 0 && !r.tracker.fresh() && r.tracker.distinct(); r.window {
		options.Tail = r.last
	}
	life, abort := context.WithCancel(r.life)
	stop := context.AfterFunc(ctx, abort)
	body, err := r.opener.Engine.Logs(life, t.Container.ID, options)
	stop()
	if err != nil {
		abort()
		if err := r.ended(ctx); err != nil {
			return err
		}
		return r.refused(err)
	}
	r.opener.Stats.Opens.Add(1)
	if !r.window && !r.tracker.fresh() {
		r.opener.Stats.Full.Add(1)
	}
	r.body, r.abort, r.follow, r.tty, r.read = body, abort, running, t.Container.TTY, false
	r.dec = docker.NewDecoder(body, r.tty)
	r.failure, r.again, r.holding, r.removing = nil, false, false, time.Time{}
	r.lines.forget()
	r.tracker.reopen(options.Since)
	return nil
}

// refused deals with an engine that gave no stream.
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
		// What was incomplete will not be read again: it is delivered as it is.
		r.gone, r.rest, r.window = true, true, false
		return nil
	}
	r.failed(err)
	return nil
}

// wait returns when discovery knows something new, after d (0 = never), or with an
// error when a context ends.
func (r *Reader) wait(ctx context.Context, d time.Duration) error {
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-r.changed:
	case <-timeout:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.life.Done():
		return r.life.Err()
	}
	return nil
}
