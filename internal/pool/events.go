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
	pending []source.Exit // under the job's lock
	// last is the time (ns since the epoch) of the last one that was told.
	last  int64
	clock record.Clock // of the container's event stream
	// first: the container was never seen; what ended before the agent began is not told.
	first bool
	born  time.Time
}

// maxExits bounds the ends of runs that wait to be told; older ones go first.
const maxExits = 16

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
	// The same end has other times, by milliseconds, in an event and in an inspection.
	told := e.last >= at || !c.Started.IsZero() && e.last >= c.Started.UnixNano()
	old := e.first && c.Exit.Time.Before(e.born)
	if told || old {
		return
	}
	e.last = at
	e.pending = append(e.pending, *c.Exit)
	if len(e.pending) > maxExits {
		e.pending = e.pending[1:]
	}
}

// tellExits delivers an entry for each run that ended.
func (j *job) tellExits(ctx context.Context) {
	j.mu.Lock()
	pending := j.exits.pending
	j.exits.pending = nil
	j.mu.Unlock()
	for _, e := range pending {
		j.tell(ctx, e.Time, fmt.Sprintf("event=exit exit_code=%d oom_killed=%t", e.Code, e.OOM))
	}
}

// lost counts losses, and tells of them where that is wanted.
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
	}
	return c
}
