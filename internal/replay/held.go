package replay

import (
	"slices"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
)

// held is how far an output was before the first line of an entry that may go on: that
// line and those behind it were read, and are in memory only.
type held struct {
	open  bool
	time  int64
	clock record.Clock
	seen  []uint64
	short []uint64 // memory for seen, unless it is long
}

// Hold says that the records of output i that are delivered from now on are held, until
// Release: for a Cursor they are still to come, for all else they are not.
func (t *Tracker) Hold(i int) {
	o := &t.out[i]
	h := &o.held
	h.open, h.time, h.clock = true, o.time, o.clock
	if len(o.seen) > shared {
		h.seen = o.known()
		return
	}
	h.short = append(h.short[:0], o.seen...)
	h.seen = h.short
}

// Release says that all of output i that was held has been given out.
func (t *Tracker) Release(i int) {
	t.out[i].held.open = false
	t.out[i].held.seen = nil
}

// known returns seen for a cursor; a long one is shared.
func (h *held) known() []uint64 {
	if len(h.seen) > shared {
		return h.seen
	}
	return slices.Clone(h.seen)
}

// Cursor returns the place behind what was delivered and is not held; incomplete is the
// timestamp of the oldest record that was read and is not before it, 0 = none.
func (t *Tracker) Cursor(incomplete int64) position.Cursor {
	pos := &position.APIPos{Since: t.From(incomplete)}
	c := position.Cursor{API: pos}
	for i, o := range Outputs {
		out := &t.out[i]
		if h := &out.held; h.open {
			pos.Streams[i] = position.StreamPos{Time: h.time, Seen: h.known()}
			c.Last[o] = h.clock.Last
			continue
		}
		pos.Streams[i] = position.StreamPos{Time: out.time, Seen: out.known()}
		c.Last[o] = out.clock.Last
	}
	return c
}

// From is the timestamp (ns since the epoch) to ask from that a Cursor has.
func (t *Tracker) From(incomplete int64) int64 {
	newest := int64(0) // that is not held
	for i := range t.out {
		if o := &t.out[i]; o.held.open {
			newest = max(newest, o.held.time)
		} else {
			newest = max(newest, o.time)
		}
	}
	switch {
	case newest == 0:
		return t.floor // the log is read as if it were seen for the first time
	case incomplete == 0:
		return t.Since()
	}
	// More than Slack before the newest, so that who reads the cursor can tell.
	at := min(t.Since(), incomplete, t.newest-Slack-1, newest-Slack-1)
	if at < t.floor { // what is older is not wanted
		at = t.floor
		if at == newest-Slack {
			at--
		}
	}
	return at
}
