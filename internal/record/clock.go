package record

import "time"

// Clock makes the timestamps of one output of one source strictly increasing, so
// that two entries never share one: Loki silently drops the second of two equal
// lines with one timestamp. Reading again from the same last timestamp gives the
// same results, so a position keeps Last.
//
// The zero Clock has seen nothing. It has one user at a time.
type Clock struct {
	// Last is the timestamp that Next returned last, ns since the epoch.
	Last int64
}

// maxNudge is how far back in time a timestamp may lie and still be moved behind
// the last one. One that lies further back means that the host's clock was set back.
const maxNudge = int64(time.Second)

// Next returns ts, in ns since the epoch, or the nanosecond after the last result
// when ts is not later than that, by less than a second.
func (c *Clock) Next(ts int64) int64 {
	if ts <= c.Last && c.Last-ts < maxNudge {
		ts = c.Last + 1
	}
	c.Last = ts
	return ts
}
