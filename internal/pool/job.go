package pool

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/task"
)

// state of a file job, under the pool's lock.
type state int

const (
	idle     state = iota // waits for a hint
	queued                // has something to do
	running               // has its turn
	runAgain              // was woken during its turn
	settling              // waits until it is due
	ended                 // gone and read to its end
)

// again is what a job wants after its turn.
type again struct {
	more, ended bool
	pause       time.Duration
}

// tailing is what readers of files offer besides source.Reader.
type tailing interface {
	Look() (bool, error)
	Wake(w *tail.Watcher, fn func()) (ready bool, err error)
}

// job is one target and its reader. A file job's reader is used by the worker whose
// turn it is; a stream job's by its goroutine.
type job struct {
	p    *Pool
	id   string
	mode source.Mode
	path string // of a file job

	state state     // file jobs; under the pool's lock
	due   time.Time // when settling

	mu      sync.Mutex
	target  source.Target
	changed bool // target was replaced since the reader was told
	reader  source.Reader

	tracker *position.Tracker // of the reader, or of the last one; written under mu by its only user
	failed  atomic.Bool       // a batch was not delivered: read again from the acknowledged cursor
	armed   atomic.Bool
	done    atomic.Bool // read to its end
	pause   time.Duration
	failing bool // the last attempt failed, and was logged
	left    bool // not wanted any more, but perhaps not gone; under the pool's lock
	back    bool // announced again after its end; under the pool's lock
	ctx     context.Context
	cancel  context.CancelFunc
}

func newJob(p *Pool, t source.Target) *job {
	j := &job{p: p, id: t.Source.ID, mode: t.Mode, path: t.Path, target: t, state: running} // until start is through
	j.ctx, j.cancel = context.WithCancel(p.readers.Context())                               //nolint:gosec // cancelled by close of the pool's scope at the latest
	return j
}

// start opens a file job's log at once, and a stream job's goroutine.
func (j *job) start() {
	if j.mode != source.File {
		j.p.readers.Go("stream", j.follow)
		return
	}
	if j.p.Watcher != nil {
		dir, name := filepath.Split(j.path)
		if err := j.p.Watcher.WatchName(filepath.Clean(dir), name, j.appeared); err != nil {
			j.p.Log.Debug("no hints for this log; it is looked at every few seconds", "path", j.path, "error", err)
		}
	}
	if err := j.open(j.ctx); err != nil {
		j.complain("open log", err)
	}
	j.p.put(j, again{more: true})
}

// appeared opens a new generation at once, in the watcher's goroutine.
func (j *job) appeared() {
	j.mu.Lock()
	r, ok := j.reader.(tailing)
	j.mu.Unlock()
	if ok {
		_, _ = r.Look() // an error shows again when the log is read
	}
	j.armed.Store(false) // the new generation is not
	j.p.wake(j)
}

// update tells the job what discovery now knows of its target. The caller holds the
// pool's lock.
func (j *job) update(t source.Target) {
	j.mu.Lock()
	t.Mode, t.Path = j.mode, j.path // fixed while it is read
	same := j.target.Source == t.Source && j.target.Gone == t.Gone && sameContainer(j.target.Container, t.Container)
	j.target, j.changed = t, j.changed || !same
	j.back = !t.Gone && j.done.Load()
	r := j.reader
	j.mu.Unlock()
	j.left = false
	if same {
		return
	}
	if j.mode == source.File {
		j.p.wakeLocked(j)
		return
	}
	if r != nil {
		r.Update(t)
	}
}

// mistaken tells whether the job reads a target in a way that turned out wrong before
// anything was read: a container was presumed to have a json-file, and has none.
func (j *job) mistaken(t source.Target) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return t.Mode != j.mode && j.p.Store.Get(j.id).IsZero() && (j.tracker == nil || j.tracker.Read().IsZero())
}

func sameContainer(a, b *source.Container) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Running == b.Running && a.Started.Equal(b.Started)
}

// open opens the reader where the last one's entries were acknowledged.
func (j *job) open(ctx context.Context) error {
	from := j.p.Store.Get(j.id)
	j.mu.Lock()
	t := j.target
	j.changed = false
	j.mu.Unlock()
	r, err := j.p.Openers[j.mode].Open(ctx, t, from)
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.tracker = position.NewTracker(from, j.moved, func() { j.failed.Store(true); j.p.wake(j) })
	j.reader = r
	t, changed := j.target, j.changed
	j.mu.Unlock()
	if changed { // while it was being opened
		r.Update(t)
	}
	j.failing, j.pause = false, 0
	return nil
}

func (j *job) moved(c position.Cursor) { j.p.Store.Set(j.id, c) }

func (j *job) close() {
	j.mu.Lock()
	r := j.reader
	j.reader = nil
	j.mu.Unlock()
	j.armed.Store(false)
	if r != nil {
		r.Close()
	}
}

// prepare makes the reader ready for reading: opened, told of changes. While an
// earlier one's batches are out, after a failure, it is not opened.
func (j *job) prepare(ctx context.Context) (ready bool, err error) {
	if j.failed.Load() {
		if j.outstanding() > 0 {
			return false, nil // and what is held stays held
		}
		j.close()
		j.failed.Store(false)
		j.p.Log.Warn("entries were not delivered; reading them again", "source", j.id)
	}
	j.mu.Lock()
	r, t, changed := j.reader, j.target, j.changed
	j.changed = false
	j.mu.Unlock()
	if r == nil {
		if j.outstanding() > 0 {
			return false, nil // or they would be read, and sent, twice
		}
		return true, j.open(ctx)
	}
	if changed {
		r.Update(t)
	}
	return true, nil
}

// turn reads a file job for a while.
func (j *job) turn(ctx context.Context) again {
	ready, err := j.prepare(ctx)
	if err != nil {
		if j.pause >= maxPause && j.isGone() {
			j.finish()
			return again{ended: true} // it will never open
		}
		return j.retry("open log", err)
	}
	if !ready {
		return again{pause: settle}
	}
	for read := range quantum {
		err := j.step(ctx)
		switch {
		case err == nil:
		case errors.Is(err, source.ErrIdle):
			if c := j.reader.Cursor(); c.File != nil && c.File.FileID != (position.FileID{}) {
				j.tracker.Advance(c)
			}
			return j.rest(read > 0)
		case errors.Is(err, io.EOF):
			if !j.tracker.Settled() {
				return again{pause: endPause} // hold it until all of it is delivered, or read again
			}
			if !j.finish() {
				return again{more: true}
			}
			return again{ended: true}
		case ctx.Err() != nil:
			return again{}
		default:
			return j.retry("read log", err) // its place is an offset: nothing to close
		}
		if j.failed.Load() {
			break
		}
	}
	return again{more: true}
}

// step reads one batch and hands it over.
func (j *job) step(ctx context.Context) error {
	b, err := j.reader.Next(ctx)
	if err != nil {
		return err
	}
	bytes := 0
	for i := range b.Entries {
		bytes += int(b.Entries[i].Len)
	}
	src, lines := b.Source, len(b.Entries)
	b.Filled()
	j.tracker.Track(b, j.reader.Cursor())
	if err := j.p.Dispatcher.Deliver(ctx, b); err != nil {
		return err
	}
	j.failing, j.pause = false, 0
	j.p.Read(src, lines, bytes)
	return nil
}

// rest decides how a log that has nothing more to read is woken.
func (j *job) rest(busy bool) again {
	if busy {
		j.armed.Store(false) // it fired, or there was nothing to be armed
	}
	if busy || j.p.Watcher == nil {
		return again{pause: settle}
	}
	r, ok := j.reader.(tailing)
	if !ok || j.armed.Swap(true) {
		return again{}
	}
	ready, err := r.Wake(j.p.Watcher, func() { j.armed.Store(false); j.p.wake(j) })
	if err != nil {
		j.armed.Store(false) // the sweep comes by
	}
	return again{more: ready}
}

// retry logs the first of a row of failures, and pauses longer after each.
func (j *job) retry(what string, err error) again {
	j.complain(what, err)
	j.pause = min(max(2*j.pause, 100*time.Millisecond), maxPause)
	return again{pause: j.pause}
}

func (j *job) complain(what string, err error) {
	if !j.failing {
		j.mu.Lock()
		name := j.target.Source.Name
		j.mu.Unlock()
		j.p.Log.Warn(what+" failed; trying again", "source", name, "id", j.id, "error", err)
	}
	j.failing = true
}

// finish frees a file job that was read to its end and delivered. It returns false
// when the target came back meanwhile.
func (j *job) finish() bool {
	j.mu.Lock()
	if j.changed && !j.target.Gone {
		j.mu.Unlock()
		return false
	}
	j.done.Store(true)
	j.mu.Unlock()
	j.unwatch()
	j.close()
	return true
}

func (j *job) isGone() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.target.Gone
}

// outstanding returns how many batches of the reader, or of the last one, nobody has
// answered for.
func (j *job) outstanding() int {
	j.mu.Lock()
	t := j.tracker
	j.mu.Unlock()
	if t == nil {
		return 0
	}
	return t.Outstanding()
}

// finished tells whether nothing of a gone target is left to be done.
func (j *job) finished() bool {
	return j.done.Load() && j.outstanding() == 0
}

// leave lets go of a target that is not wanted any more: a file is read to its
// present end. The caller holds the pool's lock.
func (j *job) leave() {
	if j.left {
		return
	}
	j.left = true
	if j.mode != source.File {
		j.cancel()
		return
	}
	j.mu.Lock()
	j.target.Gone, j.changed = true, true
	j.mu.Unlock()
	j.p.wakeLocked(j)
}

func (j *job) unwatch() {
	if j.p.Watcher != nil && j.mode == source.File {
		dir, name := filepath.Split(j.path)
		j.p.Watcher.UnwatchName(filepath.Clean(dir), name)
	}
}

// follow is a stream job's goroutine: open, read, hand over, close, and again.
func (j *job) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(j.ctx, cancel)()
	if j.reader != nil { // a panic brought us here
		j.failed.Store(true)
	}
	for ctx.Err() == nil {
		err := j.stream(ctx)
		j.close()
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF):
			j.done.Store(true)
			return
		case err != nil:
			next := j.retry("read container log", err)
			task.Sleep(ctx, next.pause)
		}
	}
	j.done.Store(true)
}

// stream reads until something fails. A dispatcher without room is no failure: what
// was read too much is asked for again when there is room.
func (j *job) stream(ctx context.Context) error {
	if err := j.settle(ctx); err != nil {
		return err
	}
	if ready, err := j.prepare(ctx); err != nil {
		return err
	} else if !ready {
		task.Sleep(ctx, settle)
		return nil
	}
	for !j.failed.Load() {
		if err := j.step(ctx); err != nil {
			if j.failed.Load() && ctx.Err() == nil {
				return nil
			}
			return err
		}
	}
	return nil
}

// settle waits, after a failed batch, until there is room and the fate of all
// others is known.
func (j *job) settle(ctx context.Context) error {
	if !j.failed.Load() {
		return nil
	}
	if err := j.p.Dispatcher.WaitRoom(ctx, j.id); err != nil {
		return err
	}
	for j.outstanding() > 0 {
		if !task.Sleep(ctx, settle) {
			return ctx.Err()
		}
	}
	return nil
}
