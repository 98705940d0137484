package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// exits are the ends of a container's runs that are to be told.
type exits struct {
	pending []exit // under the job's lock
	// last is the time (ns since the epoch) of the last one that was told.
	last  int64
	clock record.Clock // of the container's event stream
	// first: the container was never seen; what ended before the agent began is not told.
	first bool
	born  time.Time
}

const (
	// maxExits bounds the ends of runs that wait to be told; older ones go first.
	maxExits = 16
	// killed is the exit code of a process that was killed by SIGKILL, by whomever.
	killed = 137
	// oomPatience is how long it may take to be known that the kernel killed it for want of
	// memory.
	oomPatience = 7 * time.Second
)

// exit is one that waits to be told.
type exit struct {
	source.Exit
	noted time.Time
}

func (e *exits) begin(from position.Cursor, born time.Time) {
	e.last, e.clock.Last = from.Ended, from.Last[record.OutputNone]
	e.first, e.born = from.IsZero(), born
}

// noteExit keeps the end of a run, in case the next one begins before it can be told. The
// caller holds the job's lock.
func (j *job) noteExit(c *source.Container) {
	if c == nil || c.Exit == nil {
		return
	}
	at, e := c.Exit.Time.UnixNano(), &j.exits
	for i := range e.pending {
		if e.pending[i].Time.Equal(c.Exit.Time) { // more is known of it now
			e.pending[i].Exit = *c.Exit
			return
		}
	}
	// The same end has other times, by milliseconds, in an event and in an inspection.
	told := e.last >= at || !c.Started.IsZero() && e.last >= c.Started.UnixNano()
	old := e.first && c.Exit.Time.Before(e.born)
	if told || old {
		return
	}
	e.last = at
	e.pending = append(e.pending, exit{*c.Exit, time.Now()})
	if len(e.pending) > maxExits {
		e.pending = e.pending[1:]
	}
}

// tellExits delivers an entry for each run that ended, in order.
func (j *job) tellExits(ctx context.Context) {
	for {
		j.mu.Lock()
		if len(j.exits.pending) == 0 {
			j.mu.Unlock()
			return
		}
		e := j.exits.pending[0]
		if e.Code == killed && !e.OOM && !j.target.Gone && time.Since(e.noted) < oomPatience {
			j.mu.Unlock()
			return
		}
		j.exits.pending = j.exits.pending[1:] // the cursor of its entry is behind it
		j.mu.Unlock()
		j.tell(ctx, e.Time, fmt.Sprintf("event=exit exit_code=%d oom_killed=%t", e.Code, e.OOM))
	}
}

// exited tells whether there is an end to be told.
func (j *job) exited() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.exits.pending) > 0
}

// takeLosses counts what the reader lost, and tells of it where that is wanted.
func (j *job) takeLosses(ctx context.Context) {
	l, ok := j.reader.(source.Loser)
	if !ok {
		return
	}
	if losses := l.TakeLosses(); len(losses) > 0 {
		j.lost(ctx, losses)
	}
}

func (j *job) lost(ctx context.Context, losses []source.Loss) {
	j.mu.Lock()
	if j.row.lost == nil {
		j.row.lost = map[string]int64{}
	}
	for _, l := range losses {
		j.row.lost[l.Reason] += l.Lines
	}
	t := j.target
	j.mu.Unlock()
	for _, l := range losses {
		j.p.Lost(l.Reason, l.Lines)
		j.p.Log.Warn("lines were lost before they could be read", "source", t.Source.Name, "reason", l.Reason, "lines", l.Lines)
		if t.LossMarkers {
			j.tell(ctx, time.Now(), fmt.Sprintf("event=lost reason=%s lines=%d", l.Reason, l.Lines))
		}
	}
}

// writeOff counts what was not delivered of a container that was removed before it could
// be read again.
func (j *job) writeOff(ctx context.Context) {
	if j.owed > 0 && j.mode != source.File {
		j.lost(ctx, []source.Loss{{Reason: source.LostRemoved, Lines: j.owed}})
	}
	j.owed = 0
}

// tell delivers an entry of the agent's own in the container's event stream.
func (j *job) tell(ctx context.Context, at time.Time, text string) {
	j.mu.Lock()
	src := j.as(j.target, j.mode).Source
	j.mu.Unlock()
	if src.Streams[record.OutputNone] == nil || j.tracker == nil || j.reader == nil {
		return
	}
	b := j.p.Arena.Force(len(text))
	b.Source = src
	b.Append(j.exits.clock.Next(at.UnixNano()), record.OutputNone, []byte(text))
	b.Filled()
	j.tracker.Track(b, j.cursor())
	if j.p.Dispatcher.Deliver(ctx, b) == nil {
		j.p.Read(src, 1, len(text))
	}
}

// cursor returns the place behind what was handed over.
func (j *job) cursor() position.Cursor {
	c := j.reader.Cursor()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.target.Container == nil {
		return c
	}
	c.Last[record.OutputNone] = j.exits.clock.Last
	if len(j.exits.pending) == 0 {
		c.Ended = j.exits.last
	} else {
		c.Ended = j.exits.pending[0].Time.UnixNano() - 1
	}
	return c
}
