package join

import (
	"fmt"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/replay"
)

const noon = int64(1_700_000_000_000_000_001)

func joiner(t testing.TB, change func(*multiline.Config)) *Joiner {
	t.Helper()
	c := multiline.DefaultConfig()
	change(&c)
	m, err := multiline.New(c, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	j := &Joiner{}
	j.Set(m)
	return j
}

func tracker() *replay.Tracker {
	t := replay.New(position.Cursor{}, time.Time{})
	return &t
}

func TestOutputsAreJoinedApart(t *testing.T) {
	j, tr := joiner(t, func(c *multiline.Config) { c.Start, c.Continue = "^a", "^b" }), tracker()
	var got []string
	note := func(e Entry) {
		if e.OK {
			got = append(got, fmt.Sprintf("%d %s", e.Time-noon, e.Text))
		}
	}
	for n, ln := range []struct {
		out  int
		text string
	}{{0, "a1"}, {1, "c"}, {1, "a2"}, {0, "b1"}, {0, "c"}, {1, "b2"}, {1, "b3"}, {0, "a3"}} {
		before, alone := j.Take(tr, ln.out, noon+int64(n), []byte(ln.text), false)
		note(before)
		note(alone)
	}
	if at := j.Oldest(); at != noon+2 {
		t.Errorf("the oldest is %d", at-noon)
	}
	note(j.End(tr, 0))
	note(j.End(tr, 1))
	if fmt.Sprintf("%q", got) != `["1 c" "0 a1\nb1" "4 c" "7 a3" "2 a2\nb2\nb3"]` || j.Holding() {
		t.Errorf("%q", got)
	}
}

// The cursor stays before what is held, for its output alone, and moves behind it when it is
// given out.
func TestTheCursorStaysBeforeWhatIsHeld(t *testing.T) {
	j, tr := joiner(t, func(c *multiline.Config) { c.Start = "^a" }), tracker()
	times := func() (at [2]int64, since int64) {
		c := tr.Cursor(j.Oldest())
		for i, s := range c.API.Streams {
			at[i] = max(0, s.Time-noon)
		}
		return at, c.API.Since
	}
	for n, ln := range []struct {
		out  int
		text string
		want [2]int64
	}{{0, "a1", [2]int64{}}, {0, "a2", [2]int64{}}, {0, "b", [2]int64{}}, {1, "a", [2]int64{}}, {0, "a3", [2]int64{2, 0}}, {1, "a", [2]int64{2, 3}}} {
		j.Take(tr, ln.out, noon+int64(n), []byte(ln.text), false)
		at, since := times()
		if n == 1 {
			ln.want[0] = 0 // the first line of the log, at noon
		}
		if at != ln.want || since > j.Oldest() {
			t.Errorf("after line %d the cursor is at %v since %d, want %v", n, at, since, ln.want)
		}
	}
	j.End(tr, 0)
	j.End(tr, 1)
	if at, _ := times(); at != [2]int64{4, 5} {
		t.Errorf("at the end the cursor is at %v", at)
	}
}

func TestWhatWaitsForLongEnoughIsOverdue(t *testing.T) {
	j, tr := joiner(t, func(c *multiline.Config) { c.Start = "^a" }), tracker()
	now := time.Unix(0, noon)
	if _, ok := j.Due(now); ok {
		t.Error("nothing is held")
	}
	j.Take(tr, 0, noon, []byte("a"), false)
	if wait, ok := j.Due(now); !ok || wait != time.Second {
		t.Errorf("due in %v, %v", wait, ok)
	}
	j.Take(tr, 1, noon+1, []byte("a"), false)
	now = now.Add(600 * time.Millisecond)
	if wait, _ := j.Due(now); wait != 400*time.Millisecond {
		t.Errorf("due in %v", wait)
	}
	now = now.Add(400 * time.Millisecond)
	if !j.Overdue(0, now) || j.Overdue(1, now) {
		t.Error("the first one is overdue, and no other")
	}
}

func TestNoAllocationForALine(t *testing.T) {
	j, tr := joiner(t, func(c *multiline.Config) { c.Presets = []string{"java"} }), tracker()
	text := [][]byte{[]byte("ready"), []byte("java.lang.Oops: no"), []byte("\tat x"), []byte("\tat y"), []byte("java.lang.Oops: again"), []byte("done")}
	at := noon
	pass := func() {
		for i, line := range text {
			at += 1001
			j.Take(tr, i%2, at, line, false)
			at += 1001
			j.Take(tr, 0, at, line, false)
		}
	}
	pass()
	if n := testing.AllocsPerRun(100, pass); n > 0 {
		t.Errorf("%v allocations for %d lines", n, 2*len(text))
	}
}
