// Package replay knows what of a container's log was delivered, and tells which of the
// records that a reopened log brings were delivered before. It is the one cursor of all
// readers of containers: what one of them delivered, another does not repeat, and what
// one of them left, another goes on with.
//
// A Tracker has one user at a time and owns no memory but its own, which is bounded.
// It promises that, whatever place the log is read from again, each record is delivered
// once; the exceptions are listed at Tracker.
package replay

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
)

const (
	// Slack is how far, in ns, the engine may have written records out of order of their
	// timestamps. It takes the time per output before it writes, so stderr's can be later
	// in the log than a younger one of stdout's.
	Slack = int64(10 * time.Second)
	// stepBack is the difference in ns from which on an older timestamp on one output
	// means that the clock was set back. Below, it is a small correction.
	stepBack = int64(time.Second)
	// maxSeen bounds the hashes of one output.
	maxSeen = 1024
	// maxCoarse bounds them where the clock counts whole seconds (Podman): what an output
	// writes in one.
	maxCoarse = 64 << 10
	// shared is the length from which on cursors get the hashes without a copy.
	shared = 64
	second = int64(time.Second)
)

// Outputs maps the index of an output here and in position.APIPos to the output.
var Outputs = [2]record.Output{record.Stdout, record.Stderr}

// Index is the inverse of Outputs.
func Index(o record.Output) int { return int(o - record.Stdout) }

// Tracker is the progress in one container's log, per output.
//
// Asking the engine for "since T" brings, from Docker 20.10, the records with T or a
// later timestamp, and from newer engines all from the first such record on. Either way
// all records at or after T come, in log order, and perhaps some older ones. What was
// delivered is, per output, the log up to some record. So a reader asks from Slack
// before the newest delivered timestamp (or from any earlier place), and the Tracker
// per output
//   - drops what is older than the output's newest, up to the first that is not: those
//     lie before it in the log (its anchor);
//   - from there on drops what is in the output's list, which has a hash of every
//     record delivered since the anchor; each hash drops one record.
//
// While a line is incomplete, the place to ask from is the line's timestamp at the latest.
//
// Exceptions, in which records may be repeated but none is lost: the clock was set back
// by a second or more, or more than maxSeen records of one output follow in a second
// of stopped or reversed time; where timestamps have whole seconds, more than maxCoarse
// in a second. In one, records may be lost: Docker 20.10 cannot be
// asked for what it logged while nothing was read and after the clock was set back by
// more than Slack.
type Tracker struct {
	out [2]output
	// newest is the largest timestamp delivered, or what it was set back to.
	newest int64
	// floor is what is never asked before: the start that the user chose.
	floor int64
	// asked is the timestamp that the log is read from since it was opened.
	asked  int64
	recent ring
	// last is the record behind all that was delivered, and passed that it came since Reopen.
	last   place
	passed bool
	// unsure is set when the cursor may have been taken while a line was incomplete, whose
	// head then lies before what was delivered.
	unsure bool
}

// place is a record: its output and its timestamp.
type place struct {
	out  int
	time int64
}

// output is the progress on stdout or stderr.
type output struct {
	clock record.Clock
	// time is the largest timestamp delivered; 0 = none.
	time int64
	// fine is set once a timestamp had nanoseconds: no two records share one.
	fine bool
	// seen has the hashes of the records delivered since the anchor, in log order.
	seen []uint64
	// checked is the timestamp up to which nothing was left out, as a reading showed.
	checked int64
	held    held

	reading
}

// reading is what is expected of one output of a log that was opened again.
type reading struct {
	anchor  int64    // time, when the log was opened
	before  bool     // the anchor is still to come
	drop    []uint64 // what is still to be dropped
	found   bool     // a hash matched: the log surely overlaps what was delivered
	skipped int      // records dropped before the anchor
	base    int64    // the timestamp up to which nothing was left out, before it
	reached bool     // it goes back to there
}

// Reading is the state of one reading of the log, for who has two of them open.
type Reading struct {
	asked  int64
	passed bool
	out    [2]reading
}

// Save returns the state of the present reading.
func (t *Tracker) Save() Reading {
	r := Reading{asked: t.asked, passed: t.passed}
	for i := range t.out {
		r.out[i] = t.out[i].reading
		r.out[i].drop = slices.Clone(r.out[i].drop)
	}
	return r
}

// Restore goes on with a reading that was saved; nothing was delivered since.
func (t *Tracker) Restore(r Reading) {
	t.asked, t.passed = r.asked, r.passed
	for i := range t.out {
		t.out[i].reading = r.out[i]
	}
}

// New returns a Tracker that goes on from a cursor, or from since if the container was
// never seen (zero = from the start).
func New(c position.Cursor, since time.Time) Tracker {
	var t Tracker
	if !since.IsZero() {
		t.floor = since.UnixNano()
	}
	for i, o := range Outputs {
		t.out[i].clock.Last = c.Last[o]
	}
	if c.API == nil {
		return t
	}
	t.floor = c.API.Since
	for i, s := range c.API.Streams {
		t.out[i].time, t.out[i].seen, t.out[i].fine = s.Time, slices.Clone(s.Seen), fine(s.Time)
		if s.Time >= t.newest {
			t.newest, t.last = s.Time, place{i, s.Time}
		}
	}
	t.unsure = t.floor != t.newest-Slack
	t.newest = min(t.newest, t.floor+Slack) // lower after the clock was set back
	return t
}

// Hash identifies a record among those of its output: by its timestamp and its line as
// it was delivered.
func Hash(time int64, line []byte) uint64 {
	return xxhash.Sum64(line) ^ uint64(time)*0x9e3779b97f4a7c15
}

// Fresh tells that nothing was delivered yet.
func (t *Tracker) Fresh() bool { return t.newest == 0 }

// Seed says that a record of output i is the last one before what is wanted, of a log of
// which nothing was delivered: it counts as delivered.
func (t *Tracker) Seed(i int, time int64, h uint64) {
	o := &t.out[i]
	o.time, o.seen, o.fine = time, []uint64{h}, fine(time)
	t.newest, t.floor = time, 0
}

// Unsure tells that a line may have been incomplete when the cursor was taken: the log
// is then to be read from Since, and not only its end.
func (t *Tracker) Unsure() bool { return t.unsure }

// Distinct tells whether records can be known by their timestamp and text alone. Where
// the clock counts nanoseconds, no two records of an output share a timestamp; where it
// is coarser, equal lines may.
func (t *Tracker) Distinct() bool {
	for i := range t.out {
		if o := &t.out[i]; o.time != 0 && !o.fine {
			return false
		}
	}
	return true
}

// Since is the timestamp (ns since the epoch) to ask from when no line is incomplete.
func (t *Tracker) Since() int64 { return max(t.floor, t.newest-Slack) }

// Reopen prepares for a log that is read again from the timestamp asked on; 0 if its
// records may have less exact timestamps than that, and each piece of a line its own.
func (t *Tracker) Reopen(asked int64) {
	t.asked, t.passed = asked, false
	for i := range t.out {
		o := &t.out[i]
		o.anchor, o.before = o.time, o.time != 0
		o.drop = append(o.drop[:0], o.seen...)
		o.found, o.skipped, o.reached = false, 0, false
		o.base = o.checked
	}
}

// Passed tells whether the record that was delivered last came since Reopen: what follows
// it in the log was never delivered.
func (t *Tracker) Passed() bool { return t.passed }

// Resume is the opposite of Reopen: what comes now was never delivered.
func (t *Tracker) Resume() {
	for i := range t.out {
		o := &t.out[i]
		o.before, o.drop = false, o.drop[:0]
	}
}

// Replaying tells whether records of output i may come that were delivered.
func (t *Tracker) Replaying(i int) bool { return t.out[i].before || len(t.out[i].drop) > 0 }

// Caught tells, of a record of output i that was not delivered, whether it lies behind all
// that was: the other output had been read further when the log was opened again, and is
// not there yet, if not.
func (t *Tracker) Caught(i int, time int64) bool {
	o := &t.out[1-i]
	return !t.Replaying(1-i) || o.anchor < t.asked || time > o.anchor+Slack
}

// Skipped returns how many records of output i came before its anchor since Reopen.
func (t *Tracker) Skipped(i int) int { return t.out[i].skipped }

// Found tells whether a record came since Reopen that was surely delivered. If no line
// was incomplete by then, the log was read from before the end of what was delivered:
// nothing is missing, whatever place it was read from.
func (t *Tracker) Found() bool { return t.out[0].found || t.out[1].found }

// Repeat tells whether a record of output i was delivered before, and takes note.
func (t *Tracker) Repeat(i int, time int64, h uint64) bool {
	o := &t.out[i]
	t.passed = t.passed || t.last == place{i, time}
	if !o.before && len(o.drop) == 0 {
		return t.twice(i, time)
	}
	anchor := o.before
	if o.before {
		if time < o.anchor {
			o.skipped++
			return true
		}
		o.before = false
		if time > o.anchor {
			o.drop = o.drop[:0] // the anchor is not there any more, nor what followed it
			return false
		}
		// Older than what was asked for, and yet it came, first of all: the rest of a long
		// line whose head lies before the place where the engine began.
		if time < t.asked {
			return true
		}
	}
	if time > o.anchor {
		return t.twice(i, time) // what is to be dropped is not younger
	}
	at := slices.Index(o.drop, h)
	if at < 0 && anchor && o.fine {
		// The anchor by its time, though not by its text: the rest of a long line whose head
		// lies before the place where the reading began.
		o.found = true
		return true
	}
	if at < 0 {
		return t.twice(i, time)
	}
	copy(o.drop[1:at+1], o.drop[:at]) // as a rule none, because they come in order
	o.drop, o.found = o.drop[1:], true
	return true
}

// twice tells whether a record came just before: when the engine rotates a json-file, it
// may send what it had sent of the new one again, and of a long line perhaps the last
// piece alone. Only where the clock counts nanoseconds, so that the time tells a line from
// all others of its output.
func (t *Tracker) twice(i int, time int64) bool {
	o := &t.out[i]
	return o.fine && time <= o.time && t.recent.has(i, time)
}

// Remember has the last n records remembered from now on, for what streams repeat and leave
// out.
func (t *Tracker) Remember(n int) {
	if t.recent.most > 0 {
		return
	}
	t.recent.most = n
	for i := range t.out {
		t.out[i].checked = max(t.out[i].time, t.floor)
	}
}

// Missed tells, before Repeat is asked, whether a record of output i was left out by the
// stream that should have brought it: it was not delivered, but is older than what was,
// and younger than what is not remembered any more, or was checked. Only where the clock
// counts nanoseconds. The first record of a reading is never taken for one: it may be the
// rest of a line.
func (t *Tracker) Missed(i int, time int64) bool {
	o := &t.out[i]
	if time <= max(o.base, t.recent.forgotten) {
		o.reached = true
		return false
	}
	return o.before && o.skipped > 0 && time < o.anchor && o.fine && t.recent.most > 0 && !t.recent.has(i, time)
}

// Reached tells whether the log is read from so far back that all that may have been left
// out comes.
func (t *Tracker) Reached() bool { return t.out[0].reached || t.out[1].reached }

// Checked says that what comes since Reopen goes so far back as it has to: what was
// delivered before is not looked for again. first is the timestamp of the first record of
// output i, if it was never read before.
func (t *Tracker) Checked(i int, first int64) {
	for i := range t.out {
		t.out[i].checked = t.out[i].anchor
	}
	t.out[i].checked = max(t.out[i].checked, first)
}

// Late notes a record that was Missed and is delivered after all, and returns the
// timestamp of its entry. The cursor stays where it is: it lies behind it.
func (t *Tracker) Late(i int, time int64) int64 {
	t.recent.add(i, time)
	return time
}

// known returns seen as it is now, for a cursor. A long one is shared: what is in it is
// not changed any more, only more is appended.
func (o *output) known() []uint64 {
	if len(o.seen) > shared {
		return o.seen[:len(o.seen):len(o.seen)]
	}
	return slices.Clone(o.seen)
}

// unseen returns an empty list, in the memory of the last one if no cursor has that.
func (o *output) unseen() []uint64 {
	if cap(o.seen) > shared {
		return nil
	}
	return o.seen[:0]
}

// Newer is Delivered for the usual case, without a hash: it tells whether time is later
// than all of output i, and if so takes note and returns the timestamp of the entry. The
// caller then says with Anchor what the record was, before it takes a Cursor or
// delivers another one.
func (t *Tracker) Newer(i int, time int64) (at int64, ok bool) {
	o := &t.out[i]
	if time <= o.time {
		return 0, false
	}
	o.time, o.seen, o.fine = time, o.unseen(), o.fine || fine(time)
	t.newest = max(t.newest, time)
	return o.clock.Next(time), true
}

// Anchor gives the line of the last record for which Newer was true.
func (t *Tracker) Anchor(i int, line []byte) {
	o := &t.out[i]
	o.seen = append(o.unseen(), Hash(o.time, line))
}

// Delivered notes a record of output i and returns the timestamp of its entry.
func (t *Tracker) Delivered(i int, time int64, h uint64) int64 {
	o := &t.out[i]
	step, most := stepBack, maxSeen
	if time%second == 0 {
		step, most = stepBack+second, maxCoarse
	}
	switch {
	case time > o.time:
		o.time, o.seen = time, append(o.unseen(), h)
	case o.time-time >= step || len(o.seen) >= most:
		if o.time-time >= step {
			t.newest, t.floor = time, min(t.floor, time-Slack)
		}
		o.time, o.seen = time, append(o.unseen(), h)
	default:
		o.seen = append(o.seen, h)
	}
	t.recent.add(i, time)
	if t.Caught(i, time) {
		t.last = place{i, time}
	}
	o.fine = o.fine || fine(time)
	t.newest = max(t.newest, time)
	return o.clock.Next(time)
}

// fine tells whether a timestamp counts nanoseconds; of those that do, one in a thousand
// does not look so.
func fine(time int64) bool { return time%1000 != 0 }
