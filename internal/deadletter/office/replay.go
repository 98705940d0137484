package office

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
)

// Bounds of a replay.
const (
	// chunkBytes is how much of a file goes with one Send, and what a replay that is
	// killed may send again.
	chunkBytes = 1 << 20
	// tries is how often one Send is tried before the sink counts as not working.
	tries      = 4
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
)

// Replayed is what became of a replay.
type Replayed struct {
	DryRun bool         `json:"dry_run"`
	Sinks  []SinkReplay `json:"sinks"`
}

// SinkReplay is what became of one sink's letters. Matched is the sum of Accepted, which
// are not dead letters any more, Refused and NotSent, which still are.
type SinkReplay struct {
	Sink     string `json:"sink"`
	Matched  int64  `json:"matched"`
	Accepted int64  `json:"accepted"`
	Refused  int64  `json:"refused"`
	NotSent  int64  `json:"not_sent"`
	// Refusals say why, by reason.
	Refusals []Refusal `json:"refusals"`
	// Error is why the rest was not sent.
	Error string `json:"error,omitempty"`
}

// Refusal is a reason for which letters were refused again.
type Refusal struct {
	Reason  string `json:"reason"`
	Entries int64  `json:"entries"`
	// Detail is what the sink said of the first of them.
	Detail string `json:"detail"`
}

// Whole tells that every letter was accepted.
func (r Replayed) Whole() bool {
	return !slices.ContainsFunc(r.Sinks, func(s SinkReplay) bool { return s.Accepted < s.Matched })
}

// Replay implements Desk. What was accepted is taken out of its file after each Send;
// what is refused again stays with the new reason. It ends early with ctx.
func (o *Office) Replay(ctx context.Context, f Filter, dryRun bool) (Replayed, error) {
	if !o.change.TryLock() {
		return Replayed{}, ErrBusy
	}
	defer o.change.Unlock()
	boxes, err := o.chosen(f)
	if err != nil {
		return Replayed{}, err
	}
	all := Replayed{DryRun: dryRun, Sinks: []SinkReplay{}}
	for _, b := range boxes {
		r := replay{box: b, filter: f, size: o.chunk, result: SinkReplay{Sink: b.Name}, streams: map[string]*record.Source{}, refusals: map[string]*Refusal{}}
		r.run(ctx, dryRun)
		if r.result.Matched == 0 && r.result.Error == "" {
			continue
		}
		all.Sinks = append(all.Sinks, r.result)
		if !dryRun {
			o.log.Info("dead letters were sent again", "sink", b.Name, "accepted", r.result.Accepted, "refused", r.result.Refused, "not_sent", r.result.NotSent, "error", r.result.Error)
		}
	}
	return all, nil
}

// replay is the replay of one box.
type replay struct {
	box     *Box
	filter  Filter
	size    int // of a chunk
	streams map[string]*record.Source
	result  SinkReplay
	// refusals are those of the result, by reason.
	refusals map[string]*Refusal
}

// run sends file after file. After a failure it only counts what is left.
func (r *replay) run(ctx context.Context, dryRun bool) {
	fail := func(err error) {
		if err != nil && r.result.Error == "" {
			r.result.Error = err.Error()
		}
	}
	ids, err := r.box.Letters.Seal()
	fail(err)
	for _, id := range ids {
		if edit := r.box.Letters.Edit(id); edit != nil {
			fail(r.file(ctx, edit, dryRun || r.box.Send == nil || r.result.Error != ""))
		}
	}
	if r.box.Send == nil && !dryRun && r.result.NotSent > 0 {
		fail(errors.New("there is no such sink in the configuration any more; add it, or purge its dead letters"))
	}
	r.result.Matched = r.result.Accepted + r.result.Refused + r.result.NotSent
	r.result.Refusals = []Refusal{} // and not null when there are none
	for _, reason := range slices.Sorted(maps.Keys(r.refusals)) {
		r.result.Refusals = append(r.result.Refusals, *r.refusals[reason])
	}
}

// file sends what is in a file, and counts what is left of it.
func (r *replay) file(ctx context.Context, edit *deadletter.Edit, countOnly bool) (err error) {
	defer edit.Close()
	from := 0
	for more := !countOnly; more && err == nil; {
		from, more, err = r.chunk(ctx, edit, from)
	}
	return errors.Join(err, r.rest(edit, from))
}

// rest counts what matches from a line on.
func (r *replay) rest(edit *deadletter.Edit, from int) error {
	return edit.Read(func(n int, line []byte) bool {
		if l, ok := r.filter.parse(line); ok && n >= from && l.Line != nil {
			r.result.NotSent++
		}
		return true
	})
}

// chunk sends the next letters of a file, from a line on, and takes out what was
// accepted. It returns the line to go on from, and whether there may be more.
func (r *replay) chunk(ctx context.Context, edit *deadletter.Edit, from int) (next int, more bool, err error) {
	var letters []deadletter.Letter
	var at []int
	bytes := 0
	err = edit.Read(func(n int, line []byte) bool {
		if n < from {
			return true
		}
		if bytes > 0 && bytes+len(line) > r.size {
			more = true
			return false
		}
		if l, ok := r.filter.parse(line); ok && l.Line != nil {
			letters, at, bytes = append(letters, l), append(at, n), bytes+len(line)
		}
		return true
	})
	if err != nil || len(letters) == 0 {
		return from, false, err
	}
	refused, err := r.send(ctx, letters)
	if err != nil {
		return from, false, err
	}
	r.count(refused)
	i, gone := 0, 0
	err = edit.Rewrite(func(n int, line []byte) []byte {
		if i == len(at) || n != at[i] {
			return line
		}
		l, why := &letters[i], refused[i]
		i++
		if why == nil {
			gone++
			return nil
		}
		l.Refused(why.Reason, why.Detail, time.Now())
		return trim(l.Append(nil))
	})
	if err != nil {
		return at[len(at)-1] + 1, false, fmt.Errorf("take out what sink %s has accepted: %w; it will be sent again", r.box.Name, err)
	}
	return at[len(at)-1] + 1 - gone, more, nil
}

func (r *replay) count(refused []*sink.Rejection) {
	for _, why := range refused {
		if why == nil {
			r.result.Accepted++
			r.box.accepted.Add(1)
			continue
		}
		r.result.Refused++
		r.box.refused.Add(1)
		known := r.refusals[why.Reason]
		if known == nil {
			known = &Refusal{Reason: why.Reason, Detail: why.Detail}
			r.refusals[why.Reason] = known
		}
		known.Entries++
	}
}

// send sends letters and returns, for each, why it was refused, or nil. An error means
// that none is known to be accepted.
func (r *replay) send(ctx context.Context, letters []deadletter.Letter) ([]*sink.Rejection, error) {
	views, at := deadletter.Batches(letters, r.streams)
	if len(r.streams) > maxStreams {
		clear(r.streams)
	}
	pause := firstPause
	for try := 1; ; try++ {
		err := r.box.Send(ctx, views)
		var rejected *sink.RejectedError
		if err == nil || errors.As(err, &rejected) {
			return r.verdicts(rejected, views, at)
		}
		wait := pause
		if later := (*sink.RetryError)(nil); errors.As(err, &later) {
			wait = max(wait, later.After)
		}
		if try == tries || wait > maxPause || !task.Sleep(ctx, wait) {
			return nil, err
		}
		pause *= 2
	}
}

// maxStreams bounds what is remembered of label sets.
const maxStreams = 1000

// verdicts returns what was said of each letter; at is where it is in the views.
func (r *replay) verdicts(rejected *sink.RejectedError, views []record.View, at []sink.Rejection) ([]*sink.Rejection, error) {
	out := make([]*sink.Rejection, len(at))
	if rejected == nil {
		return out, nil
	}
	type place struct {
		batch *record.Batch
		entry int
	}
	letters := map[place]int{}
	for i, where := range at {
		letters[place{views[where.View].Batch, where.Entry}] = i
	}
	for i := range rejected.Entries {
		why := &rejected.Entries[i]
		n, ok := -1, false
		if why.View >= 0 && why.View < len(views) {
			n, ok = letters[place{views[why.View].Batch, why.Entry}]
		}
		if !ok {
			return nil, fmt.Errorf("sink %s refused entry %d of view %d, which it was not given; this is a bug", r.box.Name, why.Entry, why.View)
		}
		out[n] = why
	}
	return out, nil
}
