package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/test/harness"
)

// message is what entry n says; with newlines, or bytes that are no text, in some.
func message(n int) (sent, want string) {
	switch n % 5 {
	case 1:
		s := fmt.Sprintf("seq=%d\n\nMESSAGE=no field\n  at line 3", n)
		return s, s
	case 2:
		return fmt.Sprintf("seq=%d \xff\x00.", n), fmt.Sprintf(`seq=%d \xff\x00.`, n)
	case 3:
		s := fmt.Sprintf("seq=%d %s", n, strings.Repeat("long ", n%400))
		return s, strings.TrimRight(s, "\n")
	}
	s := fmt.Sprintf("seq=%d", n)
	return s, s
}

// A writer, a journal that is rotated, a reader that is closed and opened, a child that is
// killed: wherever that happens, every entry comes once, in order, with a time of its own.
func TestEveryEntryComesOnceWhateverEndsTheReader(t *testing.T) {
	const entries = 5000
	j := harness.NewJournal(t)
	r := newRig(t, Choice{Directory: j.Dir(), Identifiers: []string{"counted"}})
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := range entries {
			text, _ := message(n)
			j.Send(t, "SYSLOG_IDENTIFIER", "counted", "PRIORITY", fmt.Sprint(n%7), "MESSAGE", text)
			if n%1000 == 999 {
				j.Rotate(t)
			}
		}
	}()
	defer func() { <-written }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	closed, killed := 0, 0
	last := int64(0)
	for next, seen := 0, 0; len(r.got) < entries; {
		err := r.step(ctx)
		for ; seen < len(r.got); seen++ {
			g := r.got[seen]
			if _, want := message(seen); g.text != want {
				t.Fatalf("entry %d is %.80q, want %.80q", seen, g.text, want)
			}
			if g.time <= last {
				t.Fatalf("entry %d is at %d, the one before at %d", seen, g.time, last)
			}
			last = g.time
		}
		if ctx.Err() != nil {
			t.Fatalf("%d of %d entries were read", len(r.got), entries)
		}
		if err != nil && !errors.Is(err, source.ErrIdle) && !errors.Is(err, errEnded) {
			t.Fatal(err)
		}
		if len(r.got) < next {
			continue
		}
		next = len(r.got) + rand.IntN(120)
		if rand.IntN(2) == 0 {
			r.close()
			closed++
		} else if c := r.open().child; c != nil {
			if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			killed++
		}
	}
	r.close()
	r.quiet(entries)
	if closed < 10 || killed < 10 || r.lost != 0 || r.Stats.Ended.Load() == 0 {
		t.Errorf("closed %d times, killed %d, %d ended; %d losses were told", closed, killed, r.Stats.Ended.Load(), r.lost)
	}
	t.Logf("%d entries; closed %d times, killed %d", entries, closed, killed)
}

// What was vacuumed away before it was read is lost, and that is told.
func TestACursorThatIsGoneIsTold(t *testing.T) {
	j := harness.NewJournal(t)
	r := newRig(t, Choice{Directory: j.Dir(), Identifiers: []string{"x"}})
	send := func(from, to int) {
		for n := from; n < to; n++ {
			j.Send(t, "SYSLOG_IDENTIFIER", "x", "MESSAGE", fmt.Sprint(n))
		}
	}
	send(0, 10)
	r.read(10)
	r.close()
	j.Rotate(t)
	send(10, 20)
	if r.read(20); r.lost != 0 {
		t.Fatal("a rotation alone is told as a loss")
	}
	r.close()
	send(20, 30) // nobody reads these, but to see that they are written
	newRig(t, r.Choice).read(30)
	j.Rotate(t)
	j.Vacuum(t)
	send(30, 40)
	all := r.read(30)
	if r.lost != 1 || all[19].text != "19" || all[20].text != "30" || all[29].text != "39" {
		t.Errorf("%d losses; %v", r.lost, all[18:])
	}
	r.close()
	send(40, 41)
	if r.read(31); r.lost != 1 {
		t.Errorf("it is told again: %d", r.lost)
	}
}

// A reader that is held up, by a sink that is down, while the journal is vacuumed: its child
// goes on behind the gap without a word.
func TestAGapBeforeAReaderThatIsHeldUpIsTold(t *testing.T) {
	j := harness.NewJournal(t)
	choice := Choice{Directory: j.Dir(), Identifiers: []string{"x"}}
	r := newRig(t, choice)
	sent := 0
	send := func(n int) {
		for range n {
			j.Send(t, "SYSLOG_IDENTIFIER", "x", "MESSAGE", fmt.Sprintf("%d %s", sent, strings.Repeat("x", 1000)))
			sent++
		}
		newRig(t, choice).read(sent) // it is written
	}
	send(1000) // more than the pipe and the buffers take
	r.open().behind = 0
	r.read(1)
	r.reader.looked = time.Time{}
	if err := r.step(t.Context()); err != nil || r.lost != 0 {
		t.Fatalf("%v, %d losses", err, r.lost)
	}
	j.Rotate(t)
	send(100)
	j.Rotate(t)
	j.Vacuum(t)
	j.Send(t, "SYSLOG_IDENTIFIER", "x", "MESSAGE", "the end")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for r.got[len(r.got)-1].text != "the end" {
		r.reader.looked = time.Time{} // each time, and it is told once
		if err := r.step(ctx); err != nil && !errors.Is(err, source.ErrIdle) {
			t.Fatal(err)
		}
	}
	for n, g := range r.got[:len(r.got)-1] {
		if !strings.HasPrefix(g.text, fmt.Sprint(n, " ")) {
			t.Fatalf("entry %d is %.20q", n, g.text)
		}
	}
	if len(r.got) > 1001 || r.lost != 1 {
		t.Errorf("%d entries, %d losses", len(r.got), r.lost)
	}
	t.Logf("%d of the first 1,000 entries were read", len(r.got)-1)
}

// By other settings the entry at the cursor may be left out: that is no loss.
func TestOtherSettingsAreNoLoss(t *testing.T) {
	j := harness.NewJournal(t)
	r := newRig(t, Choice{Directory: j.Dir(), Identifiers: []string{"x"}})
	j.Send(t, "SYSLOG_IDENTIFIER", "x", "MESSAGE", "one")
	r.read(1)
	r.close()
	r.Choice.Identifiers = []string{"y"}
	j.Send(t, "SYSLOG_IDENTIFIER", "y", "MESSAGE", "two")
	if all := r.read(2); r.lost != 0 || all[1].text != "two" {
		t.Errorf("%d losses; %v", r.lost, all)
	}
}

// Without history the first reader begins now, and a second one where that would have gone
// on, though there was nothing to read.
func TestWithoutHistoryReadingBeginsAtTheFirstStart(t *testing.T) {
	j := harness.NewJournal(t)
	r := newRig(t, Choice{Directory: j.Dir(), Matches: []string{"SYSLOG_IDENTIFIER=x", "MARK=1", "+", "MARK=2"}})
	j.Send(t, "SYSLOG_IDENTIFIER", "x", "MARK", "1", "MESSAGE", "before")
	history := newRig(t, r.Choice)
	history.read(1)
	r.since = time.Now()
	if err := r.step(t.Context()); !errors.Is(err, source.ErrIdle) || r.at.IsZero() {
		t.Fatalf("where it begins is not told: %v, %+v", err, r.at)
	}
	r.close()
	r.since = time.Now().Add(time.Hour) // of another life, to which the first one's goes before
	j.Send(t, "SYSLOG_IDENTIFIER", "x", "MARK", "1", "MESSAGE", "while it was closed")
	j.Send(t, "SYSLOG_IDENTIFIER", "x", "MARK", "3", "MESSAGE", "no match")
	j.Send(t, "SYSLOG_IDENTIFIER", "y", "MARK", "2", "MESSAGE", "a match")
	all := r.read(2)
	r.quiet(2)
	if all[0].text != "while it was closed" || all[1].text != "a match" || r.lost != 0 {
		t.Errorf("%v, %d losses", all, r.lost)
	}
}
