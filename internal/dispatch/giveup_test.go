package dispatch

import (
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/logcapturer/log_capturer/internal/record"
)

// A dead best_effort sink with its memory and its spool full holds up neither files nor
// streams nor positions; what it does not get is counted to the line.
func TestABestEffortSinkHoldsUpNobody(t *testing.T) {
	f := newFixture(t, 64*record.SmallArena, 4<<10, "must", "may")
	f.sinks["may"].set(down)
	file, stream := f.source("file", true), f.source("stream", false)
	ofFile, ofStream := &outcomes{}, &outcomes{}
	const n = 500
	for i := range n {
		if err := f.d.Deliver(t.Context(), f.batch(file, i, ofFile)); err != nil {
			t.Fatal(err)
		}
		for { // the sink that works may be late
			err := f.d.Deliver(t.Context(), f.batch(stream, i, ofStream))
			if err == nil {
				break
			}
			if !errors.Is(err, ErrFull) || f.d.WaitRoom(t.Context(), "stream") != nil {
				t.Fatal(err)
			}
		}
	}
	f.eventually("an answer for every batch", func() bool { return ofFile.count() == n && ofStream.count() == n })
	for i := range n {
		if ofFile.all[i] != record.Delivered || ofStream.all[i] != record.Delivered {
			t.Fatalf("batch %d: %v, %v", i, ofFile.all[i], ofStream.all[i])
		}
	}
	f.eventually("all lines at the required sink", func() bool { return len(f.sinks["must"].got()) == 2*n })
	f.balanced("must", 2*n)
	f.balanced("may", 2*n)
	dropped := int(testutil.ToFloat64(f.metrics.LinesDropped.WithLabelValues("may", "drop_newest")))
	if dropped == 0 || dropped == 2*n {
		t.Errorf("%d of %d lines were dropped", dropped, 2*n)
	}

	f.sinks["may"].set(nil)
	f.eventually("the rest at the sink that came back", func() bool { return len(f.sinks["may"].got()) == 2*n-dropped })
	f.balanced("may", 2*n)
	if acked, inside, _, _ := f.books("may"); acked != 2*n-dropped || inside != 0 {
		t.Errorf("%d accepted, %d inside, %d dropped of %d", acked, inside, dropped, 2*n)
	}
	for _, id := range []string{"file", "stream"} {
		if !inOrder(f.sinks["may"].got(), id, n) {
			t.Errorf("lines of %s out of order or repeated", id)
		}
	}
	f.eventually("all memory back", func() bool { return f.pool.Used() == 0 })
}

// inOrder tells whether the lines of a source, some of n, are in order, each once.
func inOrder(got []string, id string, n int) bool {
	at := -1
	for _, line := range lines(id, n) {
		switch where := slices.Index(got, line); {
		case where < 0:
		case where < at || slices.Contains(got[where+1:], line):
			return false
		default:
			at = where
		}
	}
	return true
}

// What a best_effort sink had not taken at the end is in its spool at the next start.
func TestABestEffortSinkKeepsWhatItHasAtTheEnd(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "may")
	f.sinks["may"].set(down)
	o := &outcomes{}
	for i := range 10 {
		if err := f.d.Deliver(t.Context(), f.batch(f.source("s", true), i, o)); err != nil {
			t.Fatal(err)
		}
	}
	if o.count() != 10 {
		t.Errorf("%d of 10 batches were answered while nobody waits for any sink", o.count())
	}
	if err := f.scope.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := f.reopened("may"); got != 10 {
		t.Errorf("%d lines in the spool, want 10", got)
	}
	if f.pool.Used() != 0 {
		t.Errorf("%d bytes were not returned", f.pool.Used())
	}
}

// A stream behind a dead sink with a full spool: which lines go is the policy's choice,
// how many is counted, and the rest arrives in order.
func TestStreamsThatFindNoRoomAreDroppedByPolicy(t *testing.T) {
	for _, policy := range []WhenFull{DropOldest, DropNewest} {
		t.Run(string(policy), func(t *testing.T) {
			full := func(c *Config) { c.Spool.WhenFull = policy }
			f := newFixtureWith(t, 8*record.SmallArena, 200<<10, full, "a", "b")
			f.sinks["a"].set(down)
			src, o := f.source("s", false), &outcomes{}
			n := 0
			for ; n < 6000; n++ {
				if err := f.d.Deliver(t.Context(), f.batch(src, n, o)); err != nil {
					t.Fatal(err)
				}
			}
			f.balanced("a", n)
			dropped := int(testutil.ToFloat64(f.metrics.LinesDropped.WithLabelValues("a", string(policy))))
			if dropped < n/4 || dropped > n-100 {
				t.Errorf("%d of %d lines were dropped", dropped, n)
			}
			f.sinks["a"].set(nil)
			f.eventually("the rest", func() bool { return len(f.sinks["a"].got()) == n-dropped })
			f.balanced("a", n)
			got := f.sinks["a"].got()
			if !inOrder(got, "s", n) {
				t.Error("out of order or repeated")
			}
			all := lines("s", n)
			if newest := slices.Contains(got, all[n-1]); newest != (policy == DropOldest) {
				t.Errorf("the newest line came: %v", newest)
			}
			f.balanced("b", n)
			f.eventually("an answer for every batch", func() bool { return o.count() == n })
			for i := range n {
				if o.all[i] != record.Delivered {
					t.Fatalf("batch %d is %v", i, o.all[i])
				}
			}
		})
	}
}
