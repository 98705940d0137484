package office

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// replay replays and returns the result of the one sink.
func (o *opened) replay(t *testing.T, f Filter, dryRun bool) SinkReplay {
	t.Helper()
	result, err := o.Replay(t.Context(), f, dryRun)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Sinks) != 1 || result.DryRun != dryRun {
		t.Fatalf("%+v; want the result of one sink", result)
	}
	return result.Sinks[0]
}

func TestAcceptedLettersAreGoneAndRefusedOnesStay(t *testing.T) {
	o := open(t, t.TempDir(), roomy, "loki")
	bury(t, o.boxes["loki"].Letters, "a", "too_old", 1, 6)
	bury(t, o.boxes["loki"].Letters, "b", "too_old", 1, 3)
	o.sinks["loki"].refuse = odd
	began := time.Now()
	got := o.replay(t, Filter{}, false)
	want := SinkReplay{Sink: "loki", Matched: 9, Accepted: 4, Refused: 5, Refusals: []Refusal{{"odd", 5, "no a 1"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the result (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{stored("a", 2), stored("a", 4), stored("a", 6), stored("b", 2)}, o.sinks["loki"].accepted); diff != "" {
		t.Errorf("what the sink has (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a 1", "a 3", "a 5", "b 1", "b 3"}, o.lines(t, Filter{})); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	shown, err := o.Show(t.Context(), Filter{Reason: "odd"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := deadletter.Parse(shown.Entries[0])
	if err != nil || l.Detail != "no a 1" || l.FirstTry.Unix() != 1000 || l.LastTry.Before(began) {
		t.Errorf("%+v, %v; want the new reason, the first try and the last", l, err)
	}
	o.sinks["loki"].refuse = nil
	if got := o.replay(t, Filter{}, false); got.Accepted != 5 || got.Refused != 0 || o.boxes["loki"].Letters.Bytes() != 0 {
		t.Errorf("%+v, %d bytes left", got, o.boxes["loki"].Letters.Bytes())
	}
	if c := o.boxes["loki"].Counts(); c != (Counts{Accepted: 9, Refused: 5}) {
		t.Errorf("%+v", c)
	}
	if result, err := o.Replay(t.Context(), Filter{}, false); err != nil || len(result.Sinks) != 0 || !result.Whole() {
		t.Errorf("with nothing left: %+v, %v", result, err)
	}
}

func TestOnlyWhatMatchesIsSent(t *testing.T) {
	o := some(t)
	if got := o.replay(t, Filter{Sink: "loki", Source: "web-?"}, true); got.Matched != 8 || got.NotSent != 8 || o.sinks["loki"].sends != 0 {
		t.Errorf("dry run: %+v after %d sends", got, o.sinks["loki"].sends)
	}
	if got := o.replay(t, Filter{Sink: "loki", Reason: "too_old", Source: "web-?"}, false); got.Matched != 5 || got.Accepted != 5 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(accepted("web-1", 1, 5), o.sinks["loki"].accepted); diff != "" {
		t.Error(diff)
	}
	want := append(texts("web-2", 1, 3), append(texts("/var/log/a/b.log", 1, 2), "web-1 7")...)
	if diff := cmp.Diff(want, o.lines(t, Filter{})); diff != "" {
		t.Error(diff)
	}
}

// More than one Send's worth, in several files, with some that do not match between.
func TestManyLettersGoInOrderAndOnce(t *testing.T) {
	o := open(t, t.TempDir(), disk{size: 4 << 20}, "loki")
	o.chunk = 50 << 10
	const n = 6_000 // of about 300 bytes: four files
	for from := 1; from <= n; from += 100 {
		bury(t, o.boxes["loki"].Letters, "a", "too_old", from, from+99)
		bury(t, o.boxes["loki"].Letters, "b", "other", from, from)
	}
	o.sinks["loki"].refuse = func(line string) string {
		if strings.HasSuffix(line, "777") {
			return "seven"
		}
		return ""
	}
	got := o.replay(t, Filter{Reason: "too_old"}, false)
	if got.Accepted != n-6 || got.Refused != 6 || got.Matched != n || o.sinks["loki"].sends < 30 {
		t.Errorf("%+v in %d sends", got, o.sinks["loki"].sends)
	}
	want := slices.DeleteFunc(accepted("a", 1, n), func(s string) bool { return strings.HasSuffix(s, "777") })
	if !slices.Equal(want, o.sinks["loki"].accepted) {
		t.Errorf("%d lines in another order, or others, arrived", len(o.sinks["loki"].accepted))
	}
	listing, err := o.List(t.Context(), Filter{})
	if diff := cmp.Diff([]string{"loki other 60", "loki seven 6"}, counts(listing.Groups)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestASinkThatIsDownLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), roomy, "loki")
		bury(t, o.boxes["loki"].Letters, "a", "too_old", 1, 5)
		s := o.sinks["loki"]
		s.err = errDown
		if got := o.replay(t, Filter{}, false); got.NotSent != 5 || got.Error != errDown.Error() || s.sends != tries {
			t.Errorf("%+v after %d sends", got, s.sends)
		}
		s.err, s.sends = &sink.RetryError{After: time.Hour, Err: errDown}, 0
		if got := o.replay(t, Filter{}, false); got.NotSent != 5 || s.sends != 1 {
			t.Errorf("%+v after %d sends; want it to end where the sink says to come back in an hour", got, s.sends)
		}
		s.err, s.sends = &sink.RejectedError{Entries: []sink.Rejection{{View: 7}}}, 0
		if got := o.replay(t, Filter{}, false); got.NotSent != 5 || !strings.Contains(got.Error, "bug") {
			t.Errorf("%+v; want a refusal of nothing to be an error", got)
		}
		if diff := cmp.Diff(texts("a", 1, 5), o.lines(t, Filter{})); diff != "" {
			t.Error(diff)
		}
		began := time.Now()
		s.err, s.sends = &sink.RetryError{After: 20 * time.Second, Err: errDown}, 0
		s.before = func() {
			if s.sends == 3 {
				s.err = nil
			}
		}
		if got := o.replay(t, Filter{}, false); got.Accepted != 5 || time.Since(began) < 40*time.Second {
			t.Errorf("%+v after %v", got, time.Since(began))
		}
	})
}

func TestAReplayEndsWithItsContext(t *testing.T) {
	o := open(t, t.TempDir(), roomy, "loki")
	bury(t, o.boxes["loki"].Letters, "a", "too_old", 1, 5)
	ctx, cancel := context.WithCancel(t.Context())
	o.sinks["loki"].err = errDown
	o.sinks["loki"].before = cancel
	result, err := o.Replay(ctx, Filter{}, false)
	if err != nil || result.Sinks[0].NotSent != 5 || o.sinks["loki"].sends != 1 {
		t.Errorf("%+v, %v after %d sends", result, err, o.sinks["loki"].sends)
	}
}

func TestOneChangeAtATime(t *testing.T) {
	o := open(t, t.TempDir(), roomy, "loki")
	bury(t, o.boxes["loki"].Letters, "a", "too_old", 1, 5)
	o.sinks["loki"].before = func() {
		if _, err := o.Replay(t.Context(), Filter{}, false); !errors.Is(err, ErrBusy) {
			t.Errorf("a second replay: %v", err)
		}
		if _, err := o.Purge(t.Context(), Filter{}, false); !errors.Is(err, ErrBusy) {
			t.Errorf("a purge beside it: %v", err)
		}
		if n := len(o.lines(t, Filter{})); n != 5 {
			t.Errorf("%d letters are listed while they are sent, want 5", n)
		}
	}
	if got := o.replay(t, Filter{}, false); got.Accepted != 5 {
		t.Errorf("%+v", got)
	}
}

// A sink that panics leaves everything as it was.
func TestASinkThatPanicsHoldsNothingBack(t *testing.T) {
	o := open(t, t.TempDir(), roomy, "loki")
	bury(t, o.boxes["loki"].Letters, "a", "too_old", 1, 5)
	o.sinks["loki"].before = func() { panic("a bug in a sink") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("there was no panic")
			}
		}()
		_, _ = o.Replay(t.Context(), Filter{}, false)
	}()
	o.sinks["loki"].before = nil
	if got := o.replay(t, Filter{}, false); got.Accepted != 5 {
		t.Errorf("%+v", got)
	}
}

// The agent goes on burying while a replay runs: nothing of that is lost or sent.
func TestLettersThatComeInMeanwhileStay(t *testing.T) {
	o := open(t, t.TempDir(), roomy, "loki")
	o.chunk = 256 << 10
	letters := o.boxes["loki"].Letters
	const old, sends = 4000, 5 // in the file that is written to
	for from := 1; from <= old; from += 500 {
		bury(t, letters, "old", "too_old", from, from+499)
	}
	fresh, stop := 0, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // a lane
		for {
			select {
			case <-stop:
				return
			default:
			}
			fresh++
			if err := tryBury(letters, "fresh", "too_old", fresh, fresh); err != nil {
				t.Error(err)
				return
			}
		}
	})
	o.sinks["loki"].refuse = odd
	got := o.replay(t, Filter{}, false)
	close(stop)
	wg.Wait()
	if o.sinks["loki"].sends < sends || fresh < sends {
		t.Errorf("%d sends and %d fresh letters: too few to show anything", o.sinks["loki"].sends, fresh)
	}
	all := times(o.lines(t, Filter{}))
	for n := 1; n <= fresh; n++ {
		if all[text("fresh", n)] != 1 {
			// Those that were there when the replay began were sent, too.
			if at := times(o.sinks["loki"].accepted)[stored("fresh", n)]; all[text("fresh", n)]+at != 1 {
				t.Fatalf("fresh letter %d is there %d times and was accepted %d times", n, all[text("fresh", n)], at)
			}
		}
	}
	for n := 1; n <= old; n++ {
		if want := n % 2; all[text("old", n)] != want {
			t.Fatalf("old letter %d is there %d times, want %d", n, all[text("old", n)], want)
		}
	}
	st := letters.Stats()
	if int64(len(o.lines(t, Filter{}))) != st.Lines || st.Dropped != 0 || got.Matched != got.Accepted+got.Refused {
		t.Errorf("%+v, %+v, %d lines", got, st, len(o.lines(t, Filter{})))
	}
	t.Logf("%d old letters, %d sends, %d fresh letters beside them", old, o.sinks["loki"].sends, fresh)
}
