package dockerapi

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
)

const (
	// slack is how far, in ns, the engine may have written records out of order of their
	// timestamps. It takes the time per output before it writes, so stderr's can be later
	// in the log than a younger one of stdout's.
	slack = int64(10 * time.Second)
	// stepBack is the difference in ns from which on an older timestamp on one output
	// means that the clock was set back. Below, it is a small correction.
	stepBack = int64(time.Second)
	// maxSeen bounds the hashes of one output.
	maxSeen = 1024
)

// tracker knows what of a container's log was delivered, and tells after a reopening
// what comes again.
//
// Asking for "since T" brings, from Docker 20.10, the records with T or a later
// timestamp, and from newer engines all from the first such record on. Either way all
// records at or after T come, in log order, and perhaps some older ones. What was
// delivered is, per output, the log up to some record. So the tracker asks from slack
// before the newest delivered timestamp, and per output
//   - drops what is older than the output's newest, up to the first that is not: those
//     lie before it in the log (its anchor);
//   - from there on drops what is in the output's list, which has a hash of every
//     record delivered since the anchor; each hash drops one record.
//
// While a line is incomplete, it asks from the line's timestamp at the latest.
//
// Exceptions, in which records may be repeated but none is lost: the clock was set back
// by a second or more, or more than maxSeen records of one output follow in a second
// of stopped or reversed time. In one, records may be lost: Docker 20.10 cannot be
// asked for what it logged while the stream was broken and after the clock was set
// back by more than slack.
type tracker struct {
	out [2]output
	// newest is the largest timestamp delivered, or what it was set back to.
	newest int64
	// floor is what is never asked before: the start that the user chose.
	floor int64
	// asked is the timestamp that the open stream starts from, reached is newest at that time.
	asked, reached int64
	// unsure is set when the cursor may have been taken while a line was incomplete, whose
	// head then lies before what was delivered.
	unsure bool
}

// output is the progress on stdout or stderr.
type output struct {
	clock record.Clock
	// time is the largest timestamp delivered; 0 = none.
	time int64
	// seen has the hashes of the records delivered since the anchor, in log order.
	seen []uint64
	// recent are the hashes of the last records, whatever their time.
	recent [64]uint64
	next   int
	// loose is set when the cursor came from a file reader, which keeps no hashes: a
	// record with exactly the newest timestamp then counts as delivered.
	loose bool

	// After a reopening, until replay ends:
	anchor  int64    // time, when the stream was opened
	before  bool     // the anchor is still to come
	drop    []uint64 // what is still to be dropped
	found   bool     // a hash matched: the stream surely overlaps what was delivered
	skipped int      // records dropped before the anchor
}

func newTracker(c position.Cursor, since time.Time) tracker {
	var t tracker
	if !since.IsZero() {
		t.floor = since.UnixNano()
	}
	for i := range t.out {
		t.out[i].clock.Last = c.Last[outputs[i]]
	}
	switch {
	case c.API != nil && c.File == nil:
		t.floor = c.API.Since
		for i, s := range c.API.Streams {
			t.out[i].time, t.out[i].seen = s.Time, slices.Clone(s.Seen)
			t.newest = max(t.newest, s.Time)
		}
		t.unsure = t.floor != t.newest-slack
		t.newest = min(t.newest, t.floor+slack) // lower after the clock was set back
	case c.File != nil:
		t.floor, t.unsure = 0, true
		for i := range t.out {
			t.out[i].time, t.out[i].loose = t.out[i].clock.Last, true
			t.newest = max(t.newest, t.out[i].time)
		}
	}
	return t
}

// outputs maps the index of a stream in a cursor to its output.
var outputs = [2]record.Output{record.Stdout, record.Stderr}

// fresh tells that nothing was delivered yet.
func (t *tracker) fresh() bool { return t.newest == 0 }

// distinct tells whether records can be known by their timestamp and text alone. Where
// the clock counts nanoseconds, no two records of an output share a timestamp; where it
// is coarser, equal lines may.
func (t *tracker) distinct() bool {
	for i := range t.out {
		if at := t.out[i].time; at != 0 && at%1000 == 0 {
			return false
		}
	}
	return true
}

// since is the timestamp to ask from when no line is incomplete.
func (t *tracker) since() int64 { return max(t.floor, t.newest-slack) }

// reopen prepares for a stream from asked on.
func (t *tracker) reopen(asked int64) {
	t.asked, t.reached = asked, t.newest
	for i := range t.out {
		o := &t.out[i]
		o.anchor, o.before = o.time, o.time != 0
		o.drop = append(o.drop[:0], o.seen...)
		o.found, o.skipped = false, 0
	}
}

// hash identifies a record among those of its output.
func hash(time int64, line []byte) uint64 {
	return xxhash.Sum64(line) ^ uint64(time)*0x9e3779b97f4a7c15
}

// repeat tells whether a record of output i was delivered before, and takes note.
func (t *tracker) repeat(i int, time int64, h uint64) bool {
	o := &t.out[i]
	if !o.before && len(o.drop) == 0 {
		return o.twice(time, h)
	}
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
		if o.loose || time < t.asked {
			return true
		}
	}
	at := slices.Index(o.drop, h)
	if at < 0 {
		return o.twice(time, h)
	}
	o.drop = slices.Delete(o.drop, at, at+1)
	o.found = true
	return true
}

// twice tells whether a record came just before: when the engine rotates a json-file, it
// sends the last record of the old file again, or the last few. Only where the clock counts
// nanoseconds, because an equal line may have the same time elsewhere.
func (o *output) twice(time int64, h uint64) bool {
	return time <= o.time && time%1000 != 0 && slices.Contains(o.recent[:], h)
}

// overlaps tells whether a stream that was opened on the log's last records surely
// reaches back to what was delivered, now that a new record of output i came.
func (t *tracker) overlaps(i int, time int64) bool {
	o := &t.out[i]
	// If only the other output proves it, this record could be the rest of a line whose
	// head lies before the last records; not if it is much younger than all delivered.
	o.found = o.found || t.out[1-i].found && time > t.reached+slack
	return o.found
}

// delivered notes a record of output i and returns the timestamp of its entry.
func (t *tracker) delivered(i int, time int64, h uint64) int64 {
	o := &t.out[i]
	switch {
	case time > o.time:
		o.time, o.seen = time, append(o.seen[:0], h)
	case o.time-time >= stepBack || len(o.seen) >= maxSeen:
		if o.time-time >= stepBack {
			t.newest, t.floor = time, min(t.floor, time-slack)
		}
		o.time, o.seen = time, append(o.seen[:0], h)
	default:
		o.seen = append(o.seen, h)
	}
	o.loose = false
	o.recent[o.next] = h
	o.next = (o.next + 1) % len(o.recent)
	t.newest = max(t.newest, time)
	return o.clock.Next(time)
}

// cursor returns the place behind what was delivered; incomplete is the timestamp of
// the oldest record that was read and not delivered, 0 = none.
func (t *tracker) cursor(incomplete int64) position.Cursor {
	pos := &position.APIPos{Since: t.since()}
	if incomplete != 0 {
		// More than slack before the newest, so that who reads the cursor can tell.
		pos.Since = min(pos.Since, incomplete, t.newest-slack-1)
	}
	c := position.Cursor{API: pos}
	for i := range t.out {
		o := &t.out[i]
		pos.Streams[i] = position.StreamPos{Time: o.time, Seen: slices.Clone(o.seen)}
		c.Last[outputs[i]] = o.clock.Last
	}
	return c
}
