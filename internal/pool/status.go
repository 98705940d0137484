package pool

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
)

// row is what is known of a job besides its target, under its lock.
type row struct {
	since        time.Time // of its mode
	lines, bytes int64
	lost         map[string]int64
	failure      string
	failed       time.Time // the first of a row of failures
	failedLast   time.Time
}

// fail and pass note how an attempt to open or read ended. The caller holds the lock.
func (r *row) fail(err error) {
	r.failure, r.failedLast = err.Error(), time.Now()
	if r.failed.IsZero() {
		r.failed = r.failedLast
	}
}

func (r *row) pass() { r.failure, r.failed = "", time.Time{} }

// fails tells whether attempts have been failing for a while and go on to: a stream that
// was opened again, and is silent, does not say that it passed.
func (r *row) fails(now time.Time) bool {
	return !r.failed.IsZero() && now.Sub(r.failed) > failingAfter && now.Sub(r.failedLast) < 2*maxPause
}

// count notes what was read.
func (j *job) count(lines, bytes int) {
	j.mu.Lock()
	j.row.lines += int64(lines)
	j.row.bytes += int64(bytes)
	j.row.pass()
	j.mu.Unlock()
	j.p.mu.Lock()
	j.volume.add(bytes, time.Now())
	j.p.mu.Unlock()
}

// rotating, holding and troubled are what readers offer that have something to show.
type (
	rotating interface{ Rotations() int64 }
	holding  interface {
		Held() (files int, bytes int64)
	}
	open     interface{ Open() int }
	troubled interface {
		Trouble() (since time.Time, err error)
	}
)

// Statuses returns how each target is being read, by name.
func (p *Pool) Statuses() []source.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	out := make([]source.Status, 0, len(p.jobs))
	if p.closed {
		return out
	}
	for _, j := range p.jobs {
		s := j.status()
		s.Rate, s.LastRead = j.volume.at(now)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b source.Status) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (j *job) status() source.Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.target
	s := source.Status{
		ID: strings.TrimPrefix(j.id, "container:"), Name: t.Source.Name, Gone: t.Gone, Mode: j.mode, Reason: t.Reason, Since: j.row.since,
		Lines: j.row.lines, Bytes: j.row.bytes, Lost: maps.Clone(j.row.lost), Error: j.row.failure,
	}
	if c := t.Container; c != nil {
		s.Image, s.Driver, s.Running = c.Image, c.Driver, c.Running
	}
	switch {
	case j.fallen.reason != "":
		s.Reason = j.fallen.reason
	case t.Mode == source.Stream && j.mode == source.Poll && s.Running:
		s.Reason += "; polled, since streams.max others are busier"
	}
	if r, ok := j.reader.(rotating); ok {
		s.Rotations = r.Rotations()
	}
	if _, err := j.trouble(); err != nil {
		s.Error = err.Error()
	}
	if h, ok := j.reader.(holding); ok {
		s.Held, s.HeldBytes = h.Held()
	}
	return s
}

// trouble is what the reader mends by itself, if it can be. The caller holds the lock.
func (j *job) trouble() (since time.Time, err error) {
	if r, ok := j.reader.(troubled); ok {
		return r.Trouble()
	}
	return time.Time{}, nil
}

// Figures are the pool's, for metrics.
type Figures struct {
	// Targets are counted by how they are read now.
	Targets map[source.Mode]int
	// Slots are taken of MaxSlots.
	Slots, MaxSlots int
	// Evictions are streams that were ended for another container, by reason.
	Evictions map[string]int64
	// Jobs are all there are, and Wanted how many there should be: one for each target, and
	// those of former ones that end. Open are the files that their readers hold open.
	Jobs, Wanted, Open int
	// Blind are files of which no hint tells when they are written to: the sweep looks.
	Blind int
	// Fallen are containers whose file cannot be read any more.
	Fallen int
	// Failing are targets that could not be opened or read for failingAfter; Failure is the
	// error of one of them, with its name.
	Failing int
	Failure string
}

// failingAfter is for how long attempts fail before that is more than a moment's.
const failingAfter = 5 * time.Second

// Figures returns them.
func (p *Pool) Figures() Figures {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := Figures{
		Wanted: p.wanted, Targets: map[source.Mode]int{}, Slots: len(p.slots.holders), MaxSlots: p.slots.max,
		Evictions: map[string]int64{"idle": p.slots.idle, "volume": p.slots.volume},
	}
	if p.closed { // nothing is read
		return f
	}
	now := time.Now()
	for _, j := range p.jobs {
		j.mu.Lock()
		f.Targets[j.mode]++
		f.Jobs++
		if j.left && j.leaving(now) {
			f.Wanted++
		}
		if r, ok := j.reader.(open); ok {
			f.Open += r.Open()
		}
		if j.fallen.reason != "" {
			f.Fallen++
		}
		if j.blind.Load() && j.mode == source.File {
			f.Blind++
		}
		if failure := j.failure(now); failure != "" {
			f.Failing++
			if f.Failure == "" || failure < f.Failure {
				f.Failure = failure // the same one each time
			}
		}
		j.mu.Unlock()
	}
	return f
}

// lingers is how long a log that is not wanted any more may take to end, once it has its
// turn and all that was read of it is delivered.
const lingers = 15 * time.Second

// leaving tells of a log that is not wanted any more whether it is on its way. One that is
// not, and is still there, is held by mistake. The caller holds both locks.
func (j *job) leaving(now time.Time) bool {
	return j.state == queued || j.tracker != nil && j.tracker.Outstanding() > 0 || now.Sub(j.leftAt) < lingers
}

// failure returns the target's name and why it cannot be read, if that lasts. The caller
// holds the lock.
func (j *job) failure(now time.Time) string {
	name := j.target.Source.Name + ": "
	since, err := j.trouble()
	switch {
	case j.target.Gone:
		return ""
	case err != nil && now.Sub(since) > failingAfter:
		return name + err.Error()
	case j.row.fails(now):
		return name + j.row.failure
	}
	return ""
}
