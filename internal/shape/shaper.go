// Package shape makes entries of the bytes of log files: it finds lines, decodes them,
// takes off what a runtime has put around them, reads their timestamps, and joins lines
// that belong together.
//
// It owns no file and no goroutine. A reader gives a Shaper the bytes at its place in the
// log, as many as it has, and is told how many of them became entries: up to the first
// line of what may still go on. It gives the others again, with what follows. So all state
// is a place in the log, and a reader that starts again there finds the same entries.
package shape

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/logcapturer/log_capturer/internal/charset"
	"github.com/logcapturer/log_capturer/internal/format/cri"
	"github.com/logcapturer/log_capturer/internal/format/syslog"
	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/record"
)

const (
	// MaxEntries bounds a batch of very short lines: what is beyond is given again.
	MaxEntries = 32 << 10
	// unfinished is how long a part of a line of a CRI log waits for the next one.
	unfinished = 5 * time.Second
)

// Counts is what a Shaper has met. They only grow.
type Counts struct {
	Truncated int64 // entries cut at max_line
	Untimed   int64 // lines in which no timestamp was found where one should be
	Foreign   int64 // lines that are none of the format, taken as they are
	Invalid   int64 // bytes that are no text
	NULs      int64 // bytes of gaps that were left out
}

// Shaper makes entries of one log. It has one user at a time.
type Shaper struct {
	Counts
	// Clocks keep the timestamps of each output apart; they belong to the cursor.
	Clocks [record.Outputs]record.Clock

	shape   *Shape
	decoder charset.Decoder
	held    [record.Outputs]held
	spans   []span    // of the entries of the batch
	idle    time.Time // since when something is held and nothing came, if that was asked
	torn    bool      // a line without an end is held
	now     int64     // the time of reading
}

// held is what may go on, of one output.
type held struct {
	part  gather // of a line whose last part is still to come
	entry gather // of an entry whose last line is
	state multiline.State
}

// span is where an entry's lines stand among the bytes given, and what was met in them.
type span struct {
	from, to int
	met      Counts
}

// add says that the entry goes on with a line.
func (s *span) add(line span) {
	s.to = line.to
	s.met.add(line.met)
}

func (c *Counts) add(more Counts) {
	c.Truncated += more.Truncated
	c.Untimed += more.Untimed
	c.Foreign += more.Foreign
	c.Invalid += more.Invalid
	c.NULs += more.NULs
}

// New returns a Shaper of a log.
func New(s *Shape) *Shaper { return &Shaper{shape: s, decoder: charset.Decoder{Encoding: s.encoding}} }

// Begin tells the first bytes of a file, and returns how many of them are a byte order
// mark. It is called whenever another file is begun, and before reading goes on in one.
func (s *Shaper) Begin(head []byte) (mark int) {
	s.decoder.Encoding, mark = charset.Detect(head, s.shape.encoding)
	return mark
}

// Encoding returns that of the file which was begun last.
func (s *Shaper) Encoding() charset.Encoding { return s.decoder.Encoding }

// Flush says what is taken although it might go on.
type Flush uint8

const (
	// Whole: entries whose last line may not be there yet.
	Whole Flush = 1 << iota
	// Torn: the last line, without its end.
	Torn
	// All of it, since nothing follows.
	All = Whole | Torn
)

// Take makes entries of the first n bytes of the batch's arena, which begin with a line,
// and returns how many of those bytes are through. now is the time of reading, in ns since
// the epoch. Text that is not as it stands in the file is appended to the arena. all tells
// that all n bytes were looked at: those that are not through may go on.
func (s *Shaper) Take(b *record.Batch, n int, now int64, flush Flush) (used int, all bool) {
	raw := b.Arena[:n]
	if s.shape.plain() && s.decoder.Encoding == charset.UTF8 {
		text := raw
		if flush&Torn == 0 { // the piece may end in the middle of a character
			text = raw[:bytes.LastIndexByte(raw, '\n')+1]
		}
		if utf8.Valid(text) && bytes.IndexByte(text, 0) < 0 {
			return s.plain(b, raw, now, flush)
		}
	}
	s.spans = s.spans[:0]
	for o := range s.held {
		h := &s.held[o]
		h.part.open, h.entry.open = false, false
		h.state.Reset()
	}
	s.idle, s.torn, s.now = time.Time{}, false, now
	at := 0
	for at < n && len(b.Entries) < MaxEntries {
		end, next := s.decoder.Encoding.End(raw[at:])
		if next < 0 {
			if flush&Torn == 0 {
				s.torn = true
				break
			}
			end, next = n-at, n-at
		}
		s.line(b, raw[at:at+end], span{from: at, to: at + next})
		at += next
	}
	full := at < n && len(b.Entries) >= MaxEntries
	if flush&Whole != 0 && !full {
		for o := range s.held {
			s.end(b, &s.held[o])
		}
	}
	return s.settle(b, at), !full
}

// plain is Take for what is nearly everything: text of which every line is an entry.
func (s *Shaper) plain(b *record.Batch, raw []byte, now int64, flush Flush) (used int, all bool) {
	s.torn = false
	clock := &s.Clocks[record.OutputNone]
	at := 0
	for at < len(raw) && len(b.Entries) < MaxEntries {
		end := bytes.IndexByte(raw[at:], '\n')
		next := at + end + 1
		if end < 0 {
			if flush&Torn == 0 {
				s.torn, s.idle = true, time.Time{}
				return at, true
			}
			end, next = len(raw)-at, len(raw)
		}
		if end > 0 && raw[at+end-1] == '\r' {
			end--
		}
		e := record.Entry{Time: clock.Next(now), Off: uint32(at), Len: uint32(end)}
		if end > s.shape.maxLine {
			e.Len, e.Flags = uint32(s.shape.maxLine), record.Truncated
			s.Truncated++
		}
		b.Entries = append(b.Entries, e)
		at = next
	}
	return at, at == len(raw)
}

// settle keeps the entries that nothing held stands before, and gives them their
// timestamps. An entry that reaches behind what is held waits as well, or it would have to
// be read a second time.
func (s *Shaper) settle(b *record.Batch, read int) (used int) {
	used = read
	for o := range s.held {
		for _, g := range []*gather{&s.held[o].part, &s.held[o].entry} {
			if g.open {
				used = min(used, g.span.from)
			}
		}
	}
	for again := true; again; {
		again = false
		for _, sp := range s.spans {
			if sp.from < used && used < sp.to {
				used, again = sp.from, true
			}
		}
	}
	kept := b.Entries[:0]
	for i, e := range b.Entries {
		if s.spans[i].to > used {
			continue
		}
		e.Time = s.Clocks[e.Output].Next(e.Time)
		s.Counts.add(s.spans[i].met)
		kept = append(kept, e)
	}
	b.Entries = kept
	return used
}

// line takes a line, which stands at where.
func (s *Shaper) line(b *record.Batch, line []byte, where span) {
	before := len(b.Arena)
	s.decoder.Invalid, s.decoder.NULs = 0, 0
	text, arena := s.decoder.Line(line, b.Arena)
	where.met.Invalid, where.met.NULs = s.decoder.Invalid, s.decoder.NULs
	off := where.from
	if b.Arena = arena; len(arena) > before {
		off = before
	} else if len(text) > 0 {
		off += cap(line) - cap(text) // text is a part of line
	}
	e := record.Entry{Time: s.now}
	more := false
	if s.shape.format == CRI {
		if l, err := cri.Parse(text); err == nil {
			e.Time, e.Output, more = l.Time, l.Output, l.Partial
			text, off = text[l.Off:], off+l.Off
		} else {
			where.met.Foreign++
		}
	}
	e.Off, e.Len = uint32(off), uint32(len(text))
	s.add(b, e, text, where, more)
}

// stamp gives an entry the time that its first line tells.
func (s *Shaper) stamp(e *record.Entry, text []byte, met *Counts) {
	switch {
	case s.shape.format == Syslog:
		m, err := syslog.Parse(text, s.shape.zone, s.now)
		if err != nil {
			met.Foreign++
		} else if !m.NoTime {
			e.Time = m.Time
		}
	case s.shape.stamps != nil:
		st, err := s.shape.stamps.Parse(text, s.now)
		if err != nil {
			met.Untimed++
			return
		}
		e.Time = st.Time
	}
}

// add takes a line, or a part of one when more is to come.
func (s *Shaper) add(b *record.Batch, e record.Entry, text []byte, where span, more bool) {
	h := &s.held[e.Output]
	switch {
	case !h.part.open && !more:
		s.match(b, h, e, text, where)
		return
	case !h.part.open:
		h.part.begin(e, where)
	default:
		h.part.add(b.Arena, e, where, false, s.shape.maxLine)
	}
	if !more {
		s.join(b, h)
	}
}

// join takes a line that came in parts.
func (s *Shaper) join(b *record.Batch, h *held) {
	e := h.part.end(b)
	s.match(b, h, e, b.Arena[e.Off:e.Off+e.Len], h.part.span)
}

// match takes a whole line.
func (s *Shaper) match(b *record.Batch, h *held, e record.Entry, text []byte, where span) {
	verdict := s.shape.matcher.Next(&h.state, text)
	if verdict == multiline.Continues {
		h.entry.add(b.Arena, e, where, true, s.shape.maxLine)
		return
	}
	if h.entry.open {
		s.emit(b, h.entry.end(b), h.entry.span)
	}
	s.stamp(&e, text, &where.met)
	if verdict == multiline.Starts {
		h.entry.begin(e, where)
		return
	}
	s.emit(b, e, where)
}

// end takes what is held of an output as it is.
func (s *Shaper) end(b *record.Batch, h *held) {
	if h.part.open {
		s.join(b, h)
	}
	if h.entry.open {
		s.emit(b, h.entry.end(b), h.entry.span)
		h.state.Reset()
	}
}

func (s *Shaper) emit(b *record.Batch, e record.Entry, where span) {
	if int(e.Len) > s.shape.maxLine {
		e.Len = uint32(s.shape.maxLine)
		e.Flags |= record.Truncated
		where.met.Truncated++
	}
	b.Entries = append(b.Entries, e)
	s.spans = append(s.spans, where)
}

// Due tells, when the log has nothing more, after what time what is held is to be taken
// although it might go on, and what: none when nothing is. The time runs from the first
// time that it is asked after a Take, so that a reader that is kept from reading tears
// nothing apart.
func (s *Shaper) Due(now time.Time) (wait time.Duration, flush Flush) {
	if s.idle.IsZero() {
		s.idle = now
	}
	due := func(d time.Duration, f Flush) {
		if left := s.idle.Add(d).Sub(now); flush == 0 || left < wait {
			wait = left
			flush = f
		}
	}
	for o := range s.held {
		h := &s.held[o]
		if h.part.open {
			due(unfinished, Whole)
		} else if h.entry.open {
			left := s.shape.matcher.Wait(&h.state, now)
			due(left+now.Sub(s.idle), Whole)
		}
	}
	if s.torn && s.shape.partial > 0 {
		due(s.shape.partial, All)
	}
	return wait, flush
}

// gather is a text that comes in pieces. While they stand in the arena as they are to
// stand in the entry, nothing is copied.
type gather struct {
	open   bool
	entry  record.Entry
	span   span
	copied bool
	text   []byte
}

func (g *gather) begin(e record.Entry, where span) {
	g.open, g.entry, g.span, g.copied = true, e, where, false
}

// add adds what e has, which stands at where, as a line of its own or as more of the same.
// What is beyond most bytes is not kept, but for one.
func (g *gather) add(arena []byte, e record.Entry, where span, line bool, most int) {
	g.span.add(where)
	end := g.entry.Off + g.entry.Len
	if line && !g.copied && e.Off == end+1 && arena[end] == '\n' {
		g.entry.Len += 1 + e.Len
		return
	}
	if !g.copied {
		g.copied, g.text = true, append(g.text[:0], arena[g.entry.Off:end]...)
	}
	if line {
		g.text = append(g.text, '\n')
	}
	piece := arena[e.Off : e.Off+e.Len]
	if room := max(0, most+1-len(g.text)); len(piece) > room {
		piece = piece[:room]
	}
	g.text = append(g.text, piece...)
}

// end returns the entry, whose text is in the batch's arena.
func (g *gather) end(b *record.Batch) record.Entry {
	g.open = false
	if g.copied {
		g.entry.Off, g.entry.Len = uint32(len(b.Arena)), uint32(len(g.text))
		b.Arena = append(b.Arena, g.text...)
		if cap(g.text) > keptText {
			g.text = nil
		}
	}
	return g.entry
}

// keptText is how much memory a gather keeps for its next text, in bytes.
const keptText = 64 << 10
