package replay

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/position"
)

// rec is a record of a log: of one output, with a timestamp and a text.
type rec struct {
	out  int
	time int64
	text string
}

// drawLog makes a log as an engine writes it: times of an output that only grow, by a
// clock that counts nanoseconds or is coarse (then equal lines may share one), and that
// may be corrected a little; the outputs out of order against each other by up to Slack.
func drawLog(t *rapid.T) (log []rec, coarse bool) {
	coarse = rapid.Bool().Draw(t, "coarse")
	now := int64(1_700_000_000_000_000_000)
	var last [2]int64
	for i := range rapid.IntRange(1, 60).Draw(t, "records") {
		now += rapid.SampledFrom([]int64{0, 0, 1, 1000, 1e6, 1e9, 4e9, 30e9}).Draw(t, "passed")
		out := rapid.IntRange(0, 1).Draw(t, "output")
		at := now - rapid.SampledFrom([]int64{0, 0, 1, 1e6, 9e9}).Draw(t, "late")
		switch {
		case coarse:
			at = max(last[out], at/1000*1000)
		default:
			at = max(last[out]+1, at)
			if at%1000 == 0 {
				at++
			}
		}
		last[out] = at
		text := rapid.SampledFrom([]string{"same", "", fmt.Sprint("line ", i)}).Draw(t, "text")
		log = append(log, rec{out, at, text})
	}
	return log, coarse
}

// reader reads a log by a Tracker alone, as the readers of the engine and of files do.
type reader struct {
	t       Tracker
	got     []rec
	at      int // of the log, read so far
	perStep bool
}

// reopen starts again somewhere before the end of what was delivered: from a timestamp,
// each record or only the first of which is compared with it (Docker 20.10, and newer), or
// with the last records if that reaches back far enough.
func (r *reader) reopen(rt *rapid.T, log []rec) []rec {
	asked := r.t.Since()
	r.t.Reopen(asked)
	if tail := rapid.IntRange(0, len(log)).Draw(rt, "tail"); r.t.Distinct() && !r.t.Fresh() && tail > len(log)-r.at {
		log = log[len(log)-tail:]
	}
	var out []rec
	matched := false
	for _, rc := range log {
		if rc.time >= asked || matched && !r.perStep {
			out = append(out, rc)
			matched = true
		}
	}
	return out
}

func (r *reader) take(rc rec) bool {
	h := Hash(rc.time, []byte(rc.text))
	if r.t.Repeat(rc.out, rc.time, h) {
		return false
	}
	if _, ok := r.t.Newer(rc.out, rc.time); ok { // as a reader of files does: without a hash
		r.t.Anchor(rc.out, []byte(rc.text))
	} else {
		r.t.Delivered(rc.out, rc.time, h)
	}
	r.got = append(r.got, rc)
	return true
}

// Whatever the timestamps, wherever reading is broken off, and whether the same reader
// goes on or another one from its cursor: each record is delivered once, in the order of
// its output.
func TestEachRecordIsDeliveredOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log, _ := drawLog(rt)
		r := &reader{perStep: rapid.Bool().Draw(rt, "every record is compared with since")}
		r.t = New(position.Cursor{}, time.Time{})
		visible := 0
		for visible < len(log) {
			visible = rapid.IntRange(visible+1, len(log)).Draw(rt, "visible")
			coming := r.reopen(rt, log[:visible])
			stop := rapid.IntRange(0, len(coming)).Draw(rt, "broken off")
			if visible == len(log) {
				stop = len(coming)
			}
			turn := rapid.IntRange(-1, stop).Draw(rt, "turn at")
			for i, rc := range coming[:stop] {
				if i == turn { // a second reading, which is given up
					saved := r.t.Save()
					r.t.Reopen(r.t.Since())
					for _, rc := range log[:rapid.IntRange(0, r.at).Draw(rt, "the successor reads")] {
						_ = r.t.Repeat(rc.out, rc.time, Hash(rc.time, []byte(rc.text)))
					}
					r.t.Restore(saved)
				}
				if r.take(rc) {
					r.at++
				}
			}
			if rapid.Bool().Draw(rt, "restart of the agent") {
				r.t = New(r.t.Cursor(0), time.Time{})
			}
		}
		var want, got [2][]rec
		for _, rc := range log {
			want[rc.out] = append(want[rc.out], rc)
		}
		for _, rc := range r.got {
			got[rc.out] = append(got[rc.out], rc)
		}
		if fmt.Sprint(want) != fmt.Sprint(got) {
			rt.Fatalf("want %v\ngot  %v", want, got)
		}
	})
}

// A window of the last records that does not reach back to what was delivered is told.
func TestAGapIsTold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log, coarse := drawLog(rt)
		if coarse || len(log) < 3 {
			return
		}
		read := rapid.IntRange(1, len(log)-1).Draw(rt, "read")
		r := &reader{}
		for _, rc := range log[:read] {
			r.take(rc)
		}
		window := log[rapid.IntRange(0, len(log)-1).Draw(rt, "window from"):]
		missing := len(log)-len(window) > read
		r.t.Reopen(r.t.Since())
		for _, rc := range window {
			if !r.t.Repeat(rc.out, rc.time, Hash(rc.time, []byte(rc.text))) {
				break
			}
		}
		if overlaps := len(log)-len(window) < read; r.t.Found() && missing || !r.t.Found() && overlaps {
			rt.Fatalf("found is %v, with %d read and a window of the last %d of %d", r.t.Found(), read, len(window), len(log))
		}
	})
}

// A stream that left records out is found out when the end of the log is read again, also
// before as many were delivered as are remembered.
func TestWhatAStreamLeftOutIsFound(t *testing.T) {
	for _, remembered := range []int{64, 1000} {
		tr := New(position.Cursor{}, time.Time{})
		tr.Remember(remembered)
		const base = int64(1_700_000_000_000_000_001)
		text := func(i int) []byte { return fmt.Append(nil, "line ", i) }
		at := func(i int) int64 { return base + int64(i)*1e6 }
		for i := range 100 {
			if i < 80 || i >= 85 {
				tr.Delivered(0, at(i), Hash(at(i), text(i)))
			}
		}
		for reading, want := range []int{5, 0, 0} {
			late := 0
			tr.Reopen(tr.Since())
			for i := 10; i < 100; i++ {
				missed := tr.Missed(0, at(i))
				if !tr.Repeat(0, at(i), Hash(at(i), text(i))) {
					t.Fatalf("line %d came as a new one", i)
				}
				if missed {
					tr.Late(0, at(i))
					late++
				}
			}
			if late != want || tr.Since() != at(99)-Slack {
				t.Errorf("reading %d, %d remembered: %d lines were left out, want %d", reading, remembered, late, want)
			}
		}
	}
}
