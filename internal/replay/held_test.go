package replay

import (
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
)

// After a restart a line that is new on one output may lie before what the other one had
// delivered: to have passed it again is not to have passed all of that.
func TestANewLineMayLieBeforeWhatWasDelivered(t *testing.T) {
	const first, second = int64(1_700_000_000_000_000_001), int64(1_700_000_001_000_000_001)
	line := []byte("line")
	tr := New(position.Cursor{}, time.Time{})
	tr.Hold(1)
	tr.Delivered(1, first, Hash(first, line))
	tr.Delivered(0, second, Hash(second, line))
	c := tr.Cursor(first)
	if c.API.Streams[1].Time != 0 || c.API.Streams[0].Time != second || c.API.Since > first {
		t.Fatalf("%+v", c.API)
	}

	tr = New(c, time.Time{})
	if !tr.Unsure() {
		t.Error("who reads the cursor cannot tell that there was more")
	}
	tr.Reopen(tr.Since())
	if tr.Repeat(1, first, Hash(first, line)) || tr.Caught(1, first) {
		t.Error("the line that was held is new, and lies before what was delivered")
	}
	tr.Delivered(1, first, Hash(first, line)) // and the stream breaks
	tr.Reopen(tr.Since())
	if !tr.Repeat(1, first, Hash(first, line)) || tr.Passed() {
		t.Error("all that was delivered is passed, after the first line of it")
	}
	if !tr.Repeat(0, second, Hash(second, line)) || !tr.Passed() {
		t.Error("it is not passed after the last one")
	}
	third := second + 1001
	if !tr.Caught(1, third) {
		t.Error("a line behind all is not known to be")
	}
}

// A record of the other output that is not read again, since it is older than what is asked
// for, or not in the log any more, is not waited for.
func TestWhatDoesNotComeAgainIsNotWaitedFor(t *testing.T) {
	const old, now = int64(1_700_000_000_000_000_001), int64(1_700_000_100_000_000_001)
	tr := New(position.Cursor{}, time.Time{})
	tr.Delivered(0, old, 1)
	tr.Delivered(1, now, 2)
	tr.Reopen(tr.Since())
	if !tr.Caught(1, now+1) {
		t.Error("what is older than since is waited for")
	}
	tr.Reopen(old)
	if tr.Caught(1, old+1) || !tr.Caught(1, now+1) {
		t.Error("what is not in the log is waited for, or what may be is not")
	}
}
