package pool

import (
	"container/list"
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// state of a job, under the pool's lock.
type state int

const (
	idle      state = iota // waits for a hint
	queued                 // has something to do
	running                // has its turn
	runAgain               // was woken during its turn
	settling               // waits until it is due
	following              // has a goroutine of its own
	ended                  // gone and read to its end
)

// job is one target and its reader, which is used by the worker whose turn it is, or by
// the job's own goroutine while it follows.
type job struct {
	p  *Pool
	id string

	// Under the pool's lock:
	state   state
	due     time.Time          // when settling
	urgent  bool               // what woke it in its turn does not wait for its pause
	byFile  bool               // which crew gives it turns
	stop    context.CancelFunc // ends its goroutine while it follows
	evicted bool               // its goroutine is to end
	blocked bool               // it is among the pool's blocked
	number  int                // each has its own
	resting *list.Element      // of the pool's, while it holds a file open and there is nothing to do
	toPark  bool               // in its next turn, which alone looks at it
	keep    bool               // it could not be parked
	alarmed bool               // it is to be flushed
	left    bool               // not wanted any more, but perhaps not gone
	leftAt  time.Time          // since when
	back    bool               // announced again after its end
	unread  bool               // it ended because it was not wanted: its position is kept
	volume  volume

	// baton is had by who uses the reader of one that follows, and what belongs to it,
	// while it is waiting for its stream.
	baton   sync.Mutex
	waiting bool

	mu      sync.Mutex
	target  source.Target // as discovery knows it
	told    source.Target // as the reader was told
	mode    source.Mode   // how it is read now
	changed bool          // target was replaced since the reader was told
	reader  source.Reader
	row     row
	fallen  fallen

	tracker *position.Tracker // of the reader, or of the last one; written under mu by its only user
	failed  atomic.Bool       // a batch was not delivered: read again from the acknowledged cursor
	armed   atomic.Bool
	blind   atomic.Bool  // no hint tells of a write
	unnamed atomic.Bool  // no hint tells of a new generation
	missed  atomic.Int32 // what hints should have told of since the last one
	// lastBusy is when a file had something to read last, and gap how long that was after the
	// time before; its turn's, and the pool's while it rests.
	lastBusy time.Time
	gap      time.Duration
	parked   *parked     // its file was closed; its turn's alone
	replaced bool        // what it reads next is another file than the one that was parked
	done     atomic.Bool // read to its end
	pause    time.Duration
	held     time.Duration // the last pause for want of room
	owed     int64         // lines that were not delivered and are to be read again
	failing  bool          // the last attempt failed, and was logged
	begun    bool          // its goroutine runs, or panicked
	exits    exits
	ctx      context.Context
	cancel   context.CancelFunc
}

func newJob(p *Pool, t source.Target) *job {
	j := &job{p: p, id: t.Source.ID, target: t, state: running, byFile: t.Mode == source.File} // until start is through
	j.ctx, j.cancel = context.WithCancel(p.readers.Context())                                  //nolint:gosec // cancelled by close of the pool's scope at the latest
	j.setMode(modeOf(t))
	j.exits.begin(p.Store.Get(j.id), p.born)
	j.noteExit(t.Container)
	return j
}

// modeOf is how a target is read that has no slot.
func modeOf(t source.Target) source.Mode {
	if t.Mode == source.File {
		return source.File
	}
	return source.Poll
}

// start opens a file at once; a container that is read through the API has its first turn.
func (j *job) start() {
	if j.mode == source.File && j.ctx.Err() == nil {
		j.watch()
		if j.reader == nil && j.parked == nil && !j.failed.Load() && !j.p.crowded() {
			if err := j.open(); err != nil {
				j.complain("open log", err)
			}
		}
	}
	j.p.put(j, again{more: true})
}

// again readies a job for a pool that runs again. The caller holds the pool's lock.
func (j *job) again() {
	j.state, j.urgent, j.blocked, j.alarmed, j.stop, j.evicted, j.begun = running, false, false, false, nil, false, false
	j.resting, j.toPark = nil, false
	if !j.left {
		j.ctx, j.cancel = context.WithCancel(j.p.readers.Context())
	}
}

// release lets go of the log when the pool ends, unless it could not be opened again.
func (j *job) release() {
	j.unwatch()
	j.mu.Lock()
	r, ok := j.reader.(irreplaceable)
	j.mu.Unlock()
	if ok && r.Unnamed() {
		return
	}
	j.close()
}

// irreplaceable is what readers of files offer: they tell whether they hold one that has no
// name any more.
type irreplaceable interface{ Unnamed() bool }

func (j *job) watch() {
	path := j.path()
	if j.p.Watcher == nil || path == "" {
		return
	}
	dir, name := filepath.Split(path)
	err := j.p.Watcher.WatchName(filepath.Clean(dir), name, j.appeared)
	if j.unnamed.Store(err != nil); err != nil {
		j.p.Log.Debug("no hints for this log; it is looked at every few seconds", "path", path, "error", err)
	}
}

func (j *job) unwatch() {
	if path := j.path(); j.p.Watcher != nil && path != "" {
		dir, name := filepath.Split(path)
		j.p.Watcher.UnwatchName(filepath.Clean(dir), name)
	}
}

func (j *job) path() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.target.Path
}

// appeared opens a new generation at once, in the watcher's goroutine.
func (j *job) appeared() {
	j.mu.Lock()
	r, ok := j.reader.(tailing)
	j.mu.Unlock()
	if ok {
		_, _ = r.Look()      // an error shows again when the log is read
		j.armed.Store(false) // the new generation is not
	}
	j.p.wake(j)
}

// tells whether a hint is to be expected of whatever happens to the log.
func (j *job) tells() bool {
	return j.armed.Load() && !j.unnamed.Load() && j.missed.Load() < unheard
}

// heard is what a hint calls, in the watcher's goroutine.
func (j *job) heard() {
	j.missed.Store(0)
	j.armed.Store(false)
	j.p.wake(j)
}

// tailing is what readers of files offer besides source.Reader.
type tailing interface {
	Look() (bool, error)
	Wake(w *tail.Watcher, fn func()) (ready bool, err error)
}

// update tells the job what discovery now knows of its target. The caller holds the
// pool's lock.
func (j *job) update(t source.Target) {
	j.mu.Lock()
	old := j.target
	same := old.Source == t.Source && old.Gone == t.Gone && old.Mode == t.Mode && old.Path == t.Path && old.Multiline == t.Multiline && old.Shape == t.Shape && sameContainer(old.Container, t.Container)
	j.target, j.changed = t, j.changed || !same
	j.back = !t.Gone && j.done.Load()
	j.noteExit(t.Container)
	r, mode := j.reader, j.mode
	j.mu.Unlock()
	j.left = false
	switch {
	case same:
	case j.state == following && t.Mode != source.Stream:
		j.unstream() // its next turn is with those who read in the new way
	case j.state == following && r != nil:
		r.Update(j.as(t, mode))
	default:
		j.urgent = true
		j.p.wakeLocked(j)
	}
}

func sameContainer(a, b *source.Container) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Running == b.Running && a.Started.Equal(b.Started) && a.Exit == b.Exit && a.Name == b.Name
}

// as returns a target as it is told to a reader of the given mode. A container's log that is
// read through the API cannot be held up, whatever its source says.
func (j *job) as(t source.Target, mode source.Mode) source.Target {
	if t.Source.CanWait && mode != source.File && t.Container != nil {
		s := *t.Source
		s.CanWait = false
		t.Source = &s
	}
	t.Mode = mode
	return t
}

// open opens the reader where the last one was, or where its entries were acknowledged
// if some were not delivered.
func (j *job) open() error {
	from := j.p.Store.Get(j.id)
	if j.tracker != nil {
		from = j.tracker.Read()
	}
	j.mu.Lock()
	t, mode := j.as(j.target, j.mode), j.mode
	j.changed, j.told = false, t
	j.mu.Unlock()
	opener := j.p.Openers[source.File]
	if mode != source.File {
		opener = j.p.Openers[source.Stream]
	}
	r, err := opener.Open(j.ctx, t, from) // it outlives the turn
	if err != nil {
		return err
	}
	if h, ok := r.(source.Holder); ok {
		h.Waits(j)
	}
	j.mu.Lock()
	if j.tracker == nil {
		j.exits.clock.Last = max(j.exits.clock.Last, from.Last[record.OutputNone])
		j.tracker = position.NewTracker(from, j.moved, func() { j.failed.Store(true); j.p.wake(j) })
	}
	j.reader = r
	j.row.pass()
	j.mu.Unlock()
	j.failing, j.pause = false, 0
	if mode == source.File {
		j.p.open.Add(1)
	}
	if l, ok := r.(source.Loser); ok && j.replaced {
		l.TakeLosses() // the file that is not found was read to its end
	}
	j.replaced = false
	return nil
}

func (j *job) moved(c position.Cursor) { j.p.Store.Set(j.id, c) }

func (j *job) close() {
	j.closeReader()
	j.armed.Store(false)
}

func (j *job) closeReader() {
	j.mu.Lock()
	r, mode := j.reader, j.told.Mode
	j.reader = nil
	j.mu.Unlock()
	if r == nil {
		return
	}
	r.Close()
	if mode == source.File {
		j.p.open.Add(-1)
	}
}

// prepare makes the reader ready for reading: of the right kind, opened, told of
// changes. While batches of one are out that failed, it is not opened.
func (j *job) prepare() (ready bool, err error) {
	if j.failed.Load() {
		if j.outstanding() > 0 {
			return false, nil // or they would be sent twice; and what is held stays held
		}
		j.close()
		j.mu.Lock()
		if j.tracker != nil {
			j.owed = j.tracker.Owed()
		}
		j.exits.last = j.p.Store.Get(j.id).Ended // an end that was told and not delivered is told again
		j.noteExit(j.target.Container)
		j.tracker = nil
		j.mu.Unlock()
		j.failed.Store(false)
		j.p.Log.Warn("entries were not delivered; reading them again", "source", j.id)
	}
	j.mu.Lock()
	r, wrong := j.reader, j.reader != nil && (j.told.Mode == source.File) != (j.mode == source.File)
	j.mu.Unlock()
	if wrong { // it goes on where this one was
		j.close()
		r = nil
	}
	if r == nil {
		if err := j.open(); err != nil {
			return true, err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock() // or an older state could be told after a newer one
	if t := j.as(j.target, j.mode); j.changed || j.told.Mode != t.Mode {
		j.changed, j.told = false, t
		j.reader.Update(t)
	}
	return true, nil
}

// setMode notes how the job is read from now on.
func (j *job) setMode(m source.Mode) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mode != m {
		j.mode, j.row.since = m, time.Now()
	}
}

// finish frees a job that was read to its end and delivered. It returns false when the
// target came back meanwhile.
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

// leave lets go of a target that is not wanted any more, at once: its position is kept. The
// caller holds the pool's lock.
func (j *job) leave() {
	if j.left {
		return
	}
	j.left, j.leftAt, j.unread = true, time.Now(), true
	j.cancel()
	j.urgent = true
	j.p.wakeLocked(j)
}
