package pool

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// within returns a context for a turn of the job's, which ends with the worker's and with the
// job. That of a file ends with the pool's too, whose the workers are; and AfterFunc would
// leave something in it, which 10,000 idle files would keep.
func (j *job) within(worker context.Context) (ctx context.Context, end func()) {
	if j.byFile {
		return j.ctx, func() {}
	}
	ctx, cancel := context.WithCancel(worker)
	stop := context.AfterFunc(j.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// turn reads a job for a while.
func (j *job) turn(ctx context.Context) again {
	ctx, end := j.within(ctx)
	defer end()
	if j.p.readers.Context().Err() != nil {
		return again{} // the pool ends; it may run again, and the job with it
	}
	if j.ctx.Err() != nil { // not wanted any more
		j.unwatch()
		j.close()
		j.done.Store(true)
		return again{ended: true}
	}
	if j.parked != nil {
		stays, gone := j.unpark()
		switch {
		case gone && j.finish():
			return again{ended: true}
		case stays:
			return again{parked: !gone, more: gone}
		}
	} else if j.toPark && j.park() {
		return again{parked: true}
	}
	if moved := j.choose(); moved || j.p.slot(j) {
		return again{more: moved, stream: !moved}
	}
	return j.read(ctx)
}

// choose settles how the job is read: through the API or its file. It tells whether
// somebody else is to give it its turn.
func (j *job) choose() (moved bool) {
	j.mu.Lock()
	file := j.target.Mode == source.File && j.fallen.reason == ""
	watch := file && j.mode != source.File
	j.mu.Unlock()
	switch {
	case !file:
		j.setMode(source.Poll)
	case watch:
		j.watch()
		j.setMode(source.File)
	}
	j.p.mu.Lock()
	defer j.p.mu.Unlock()
	moved = j.byFile != file
	j.byFile = file
	return moved
}

// read is what a turn consists of, in a worker or in the job's own goroutine.
func (j *job) read(ctx context.Context) again {
	if j.failed.Load() && j.mode != source.File && j.outstanding() == 0 {
		if !j.room(ctx) {
			return again{pause: roomPause}
		}
	}
	ready, err := j.prepare()
	if err != nil {
		if j.pause >= maxPause && j.isGone() {
			j.finish()
			return again{ended: true} // it will never open
		}
		return j.retry(ctx, "open log", err)
	}
	if !ready {
		return again{pause: settle}
	}
	began := time.Now()
	for read := 0; j.goesOn(read, began); read++ {
		if j.mode == source.File && !j.p.Dispatcher.Ready(j.id) {
			return j.yield()
		}
		j.held = 0
		err := j.step(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return again{}
		case errors.Is(err, source.ErrIdle):
			j.passed()
			j.tellExits(ctx)
			next := j.rest(read > 0)
			next.stream = read > 0 && j.mode == source.Poll && j.p.slot(j) // it talks
			return next
		case errors.Is(err, io.EOF):
			return j.end(ctx)
		case j.failed.Load():
			return again{more: true}
		default:
			return j.retry(ctx, "read log", err) // its place is an offset: nothing to close
		}
		if j.failed.Load() {
			break
		}
	}
	if l, ok := j.reader.(leaver); ok && j.mode == source.Poll {
		l.Leave() // whoever waits for a turn holds no connection
	}
	return again{more: true}
}

// leaver is what readers of the API offer: they let go of what is open, and go on later.
type leaver interface{ Leave() }

// goesOn tells whether the turn is not over yet: a poll is read to its end, if there is one.
func (j *job) goesOn(read int, began time.Time) bool {
	if j.mode == source.Poll {
		return time.Since(began) < pollTime
	}
	return read < quantum
}

// end ends a job whose reader is through with a log that is gone.
func (j *job) end(ctx context.Context) again {
	j.tellExits(ctx)
	if j.tracker != nil && !j.tracker.Settled() {
		return again{pause: endPause} // hold it until all of it is delivered, or read again
	}
	if !j.isGone() { // discovery is about to say so, or it comes back
		j.close()
		return again{pause: time.Second}
	}
	j.writeOff(ctx)
	if !j.finish() {
		return again{more: true}
	}
	return again{ended: true}
}

// yield ends the turn of a file that would have to wait for room: others may have some,
// and the worker is theirs. It looks again when room was made, or after ever longer pauses.
func (j *job) yield() again {
	j.held = min(max(2*j.held, settle), roomPause)
	return again{pause: j.held, blocked: true}
}

// room waits until what is read would find room, so that it is not asked for in vain.
// Pollers do not wait for long: others may have room.
func (j *job) room(ctx context.Context) bool {
	if j.mode == source.Poll {
		bounded, cancel := context.WithTimeout(ctx, settle)
		defer cancel()
		ctx = bounded
	}
	return j.p.Dispatcher.WaitRoom(ctx, j.id) == nil
}

// step reads one batch and hands it over.
func (j *job) step(ctx context.Context) error {
	b, err := j.reader.Next(ctx)
	// Told behind the batch: the cursor of what is told is behind it too.
	defer j.takeLosses(ctx)
	if err != nil {
		return err
	}
	return j.hand(ctx, b)
}

// hand hands a batch of the reader over.
func (j *job) hand(ctx context.Context, b *record.Batch) error {
	bytes := 0
	for i := range b.Entries {
		bytes += int(b.Entries[i].Len)
	}
	src, lines := b.Source, len(b.Entries)
	b.Filled()
	j.tracker.Track(b, j.cursor())
	if err := j.p.Dispatcher.Deliver(ctx, b); err != nil {
		return err
	}
	j.failing, j.pause = false, 0
	j.owed = max(0, j.owed-int64(lines))
	j.count(lines, bytes)
	j.p.Read(src, lines, bytes)
	j.tellExits(ctx)
	return nil
}

// rest decides how a log that has nothing more to read is woken.
func (j *job) rest(busy bool) again {
	if c := j.cursor(); c.File != nil && c.File.FileID != (position.FileID{}) || c.File == nil && j.tracker.Read().IsZero() || c.Journal != nil {
		j.tracker.Advance(c)
	}
	if r, ok := j.reader.(pausing); ok {
		pause := r.Pause()
		// A follower rests only when its container stands still; this one has just started.
		return again{pause: pause, more: pause > 0 && j.mode == source.Stream}
	}
	if busy && j.armed.Swap(false) { // it did not fire
		j.missed.Add(1)
	}
	pause := time.Duration(0)
	if busy {
		pause = j.pauseAfter(time.Now())
	} else if j.p.Watcher == nil {
		pause = settle
	}
	if pause > 0 {
		return again{pause: j.overdue(pause)}
	}
	r, ok := j.reader.(tailing)
	if !ok || j.armed.Swap(true) {
		return again{pause: j.overdue(0)}
	}
	ready, err := r.Wake(j.p.Watcher, j.heard)
	if err != nil {
		j.armed.Store(false) // the sweep comes by
		j.p.unhinted(err)
	}
	j.blind.Store(err != nil)
	return again{more: ready, pause: j.overdue(0)}
}

// waiting is what readers offer that hold the last lines of a log for a while, since more
// may belong to them.
type waiting interface {
	// Due tells when there is something to read although nothing was written; false: it will
	// not be.
	Due() (wait time.Duration, ok bool)
}

// overdue returns the pause, 0 = until a hint, or what is left until the reader gives out
// what it holds if that is less.
func (j *job) overdue(pause time.Duration) time.Duration {
	if r, ok := j.reader.(waiting); ok {
		if wait, ok := r.Due(); ok && (pause == 0 || wait < pause) {
			return wait
		}
	}
	return pause
}

// pausing is what readers offer that are not woken by hints.
type pausing interface{ Pause() time.Duration }

// retry logs the first of a row of failures, and pauses longer after each. A container
// whose file cannot be read goes on through the API.
func (j *job) retry(ctx context.Context, what string, err error) again {
	if ctx.Err() != nil {
		return again{}
	}
	if j.fall(err) {
		return again{more: true}
	}
	j.complain(what, err)
	j.pause = min(max(2*j.pause, 100*time.Millisecond), maxPause)
	return again{pause: j.pause}
}

// passed ends a row of failures.
func (j *job) passed() {
	j.mu.Lock()
	j.row.pass()
	j.mu.Unlock()
	j.failing, j.pause = false, 0
}

func (j *job) complain(what string, err error) {
	j.mu.Lock()
	name := j.target.Source.Name
	j.row.fail(err)
	j.mu.Unlock()
	if !j.failing && !(shortage(err) && j.p.saidShortage()) {
		j.p.Log.Warn(what+" failed; trying again", "source", name, "id", j.id, "error", err)
	}
	j.failing = true
}
