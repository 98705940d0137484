package replay

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
)

// secondOf is a timestamp as Podman gives it.
const secondOf = int64(1_700_000_000) * second

func number(i int) []byte { return fmt.Append(nil, "line ", i) }

// deliver delivers lines from…to-1 of one second, and tells how many were new.
func deliver(tr *Tracker, time int64, from, to int) (fresh int) {
	for i := from; i < to; i++ {
		h := Hash(time, number(i))
		if !tr.Repeat(0, time, h) {
			tr.Delivered(0, time, h)
			fresh++
		}
	}
	return fresh
}

func TestAllLinesOfASecondAreKnownAgain(t *testing.T) {
	const lines = 50_000
	tr := New(position.Cursor{}, time.Time{})
	deliver(&tr, secondOf, 0, lines)
	for _, name := range []string{"the same reader", "one that goes on from its cursor"} {
		tr.Reopen(tr.Since())
		if n := deliver(&tr, secondOf, 0, lines); n != 0 {
			t.Errorf("%s: %d lines were delivered again", name, n)
		}
		if !tr.Found() {
			t.Error(name, "did not find what was delivered")
		}
		if n := deliver(&tr, secondOf, lines, lines+10); n != 10 {
			t.Errorf("%s: %d of 10 more lines of that second were new", name, n)
		}
		tr = New(tr.Cursor(0), time.Time{})
		tr.Reopen(tr.Since())
		deliver(&tr, secondOf, 0, lines+10)
		tr = New(position.Cursor{}, time.Time{})
		deliver(&tr, secondOf, 0, lines)
	}
}

// Whoever begins in the middle of a second is not told of it by whole seconds.
func TestAStartWithinASecondLosesNothingOfIt(t *testing.T) {
	tr := New(position.Cursor{}, time.Unix(0, secondOf+second/2))
	tr.Reopen(0)
	if n := deliver(&tr, secondOf, 0, 3); n != 3 {
		t.Fatalf("%d of 3 lines", n)
	}
	tr.Reopen(0)
	if n := deliver(&tr, secondOf, 0, 5); n != 2 {
		t.Errorf("%d lines were new, want 2", n)
	}
}

// The clock may be corrected by a little, which is a second when it is read in seconds.
func TestASmallCorrectionOfACoarseClockRepeatsNothing(t *testing.T) {
	log := []int64{secondOf, secondOf + second, secondOf, secondOf + second}
	tr := New(position.Cursor{}, time.Time{})
	for again := range 3 {
		tr.Reopen(tr.Since())
		fresh := 0
		for i, at := range log {
			fresh += deliver(&tr, at, i, i+1)
		}
		if want := []int{len(log), 0, 0}[again]; fresh != want {
			t.Errorf("reading %d: %d lines were new, want %d", again, fresh, want)
		}
		tr = New(tr.Cursor(0), time.Time{})
	}
}

func TestACursorDoesNotChangeAfterItWasTaken(t *testing.T) {
	tr := New(position.Cursor{}, time.Time{})
	var cursors []position.Cursor
	var want [][]uint64
	for i := range 3000 {
		at := secondOf + int64(i/1000)*second
		tr.Delivered(0, at, Hash(at, number(i)))
		if i%7 == 0 {
			c := tr.Cursor(0)
			cursors, want = append(cursors, c), append(want, slices.Clone(c.API.Streams[0].Seen))
		}
	}
	for i, c := range cursors {
		if !slices.Equal(c.API.Streams[0].Seen, want[i]) {
			t.Fatalf("cursor %d has other hashes than when it was taken", i)
		}
	}
}

// BenchmarkRepeat is one record of a second with 20,000 of them that comes again.
func BenchmarkRepeat(b *testing.B) {
	const lines = 20_000
	tr := New(position.Cursor{}, time.Time{})
	hashes := make([]uint64, lines)
	for i := range lines {
		hashes[i] = Hash(secondOf, number(i))
		tr.Delivered(0, secondOf, hashes[i])
	}
	for name, lost := range map[string]int{"in order": 0, "after a tenth was rotated away": lines / 10} {
		b.Run(name, func(b *testing.B) {
			for i := range b.N {
				if i%(lines-lost) == 0 {
					tr.Reopen(tr.Since())
				}
				if !tr.Repeat(0, secondOf, hashes[lost+i%(lines-lost)]) {
					b.Fatal("delivered again")
				}
			}
		})
	}
}
