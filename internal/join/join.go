// Package join makes entries of the lines of a container, for all who read containers:
// lines that belong together, of one output, become one.
//
// A Joiner owns the text of the entries that may go on, at most one for each output and
// not longer than multiline.Config allows. Its lines were delivered as far as the
// replay.Tracker of the log is concerned, which holds its cursor before the first of them:
// who goes on in the same reader goes on behind them, and who starts again from the cursor
// reads them again and finds the same entries.
package join

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/replay"
)

// keptText is how much memory is kept for the text of an output's next entry, in bytes.
const keptText = 16 << 10

// Entry is one that is complete. The zero Entry is none.
type Entry struct {
	// Time is the entry's timestamp, ns since the epoch: that of its first line.
	Time int64
	// Text is valid until the next line of its output is taken.
	Text []byte
	// Cut: it is longer than what is kept of a line.
	Cut bool
	// OK: there is one.
	OK bool
}

// Joiner makes entries of one container's lines. It has one user at a time. The zero
// Joiner is not On: every line is an entry, and nobody needs to ask it.
type Joiner struct {
	matcher *multiline.Matcher
	held    [2]held
}

// held is the entry of one output that may go on.
type held struct {
	open  bool
	entry Entry
	first int64 // the timestamp of its first line, as the engine gave it
	state multiline.State
	texts [2][]byte // memory: of the entry, and of the one before or after it
	at    int       // which of them is the entry's
}

// On tells whether there are lines that belong together.
func (j *Joiner) On() bool { return j.matcher != nil }

// Is tells whether m is the matcher.
func (j *Joiner) Is(m *multiline.Matcher) bool { return j.matcher == m }

// Set changes the matcher, nil = every line is an entry. Nothing may be held.
func (j *Joiner) Set(m *multiline.Matcher) { *j = Joiner{matcher: m} }

// Take takes the next line of output i, which had the given timestamp and was never
// delivered: it is now. What was held before and is complete now is the first result; the
// second is the line itself if nothing can follow it.
func (j *Joiner) Take(t *replay.Tracker, i int, at int64, line []byte, cut bool) (before, alone Entry) {
	h := &j.held[i]
	verdict := j.matcher.Next(&h.state, line)
	if verdict == multiline.Continues {
		t.Delivered(i, at, replay.Hash(at, line))
		h.texts[h.at] = append(append(h.texts[h.at], '\n'), line...)
		h.entry.Cut = h.entry.Cut || cut
		return Entry{}, Entry{}
	}
	before = j.release(t, i)
	if verdict == multiline.Starts {
		t.Hold(i)
	}
	e := Entry{Time: t.Delivered(i, at, replay.Hash(at, line)), Text: line, Cut: cut, OK: true}
	if verdict == multiline.Alone {
		return before, e
	}
	h.at = 1 - h.at // where before is not
	h.texts[h.at] = append(h.texts[h.at][:0], line...)
	h.open, h.first, h.entry = true, at, Entry{Time: e.Time, Cut: cut, OK: true}
	return before, Entry{}
}

// release takes out what is held of output i.
func (j *Joiner) release(t *replay.Tracker, i int) Entry {
	h := &j.held[i]
	if !h.open {
		return Entry{}
	}
	t.Release(i)
	e := h.entry
	e.Text = h.texts[h.at]
	h.open, h.entry = false, Entry{}
	if cap(e.Text) > keptText {
		h.texts[h.at] = nil
	}
	return e
}

// End takes out what is held of output i: nothing follows that belongs to it.
func (j *Joiner) End(t *replay.Tracker, i int) Entry {
	j.held[i].state.Reset()
	return j.release(t, i)
}

// Overdue tells whether what is held of output i waited long enough for its next line.
func (j *Joiner) Overdue(i int, now time.Time) bool {
	h := &j.held[i]
	return h.open && j.matcher.Wait(&h.state, now) <= 0
}

// Due tells, when there is nothing more to read, how long it is until something is Overdue;
// false: nothing is held. The time runs from the first time that it is asked after a line.
func (j *Joiner) Due(now time.Time) (wait time.Duration, ok bool) {
	for i := range j.held {
		if h := &j.held[i]; h.open {
			left := j.matcher.Wait(&h.state, now)
			if !ok || left < wait {
				wait, ok = left, true
			}
		}
	}
	return max(wait, 0), ok
}

// Holds tells whether something of output i is held.
func (j *Joiner) Holds(i int) bool { return j.held[i].open }

// Holding tells whether anything is.
func (j *Joiner) Holding() bool { return j.held[0].open || j.held[1].open }

// Size is how long what is held of output i is, in bytes.
func (j *Joiner) Size(i int) int {
	if h := &j.held[i]; h.open {
		return len(h.texts[h.at])
	}
	return 0
}

// Oldest returns the timestamp of the oldest line that is held, as the engine gave it; 0 =
// none.
func (j *Joiner) Oldest() (at int64) {
	for i := range j.held {
		if h := &j.held[i]; h.open && (at == 0 || h.first < at) {
			at = h.first
		}
	}
	return at
}
