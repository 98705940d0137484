package cri

import "github.com/logcapturer/log_capturer/internal/record"

// keptBuffer is how much memory an output keeps for its next long line, in bytes.
const keptBuffer = 64 << 10

// Joiner puts the parts of long lines together, for one log. P is a place in the log, as
// its reader notes places. Full lines pass through without being copied, so the reader's
// arena stays where their bytes are; the parts of others are kept here until the last one
// is read. While there are some, Start is where the log has to be read from again, and the
// cursor must not be behind it.
//
// The parts of a line have a time each; the joined line has the first one's. A line whose
// end was never written, because the container or the runtime was killed, is ended by
// Flush: the reader calls it when the log goes on with another file or has ended.
//
// The zero value cuts nothing; it has one user at a time.
type Joiner[P any] struct {
	Max   int // bytes; longer lines are cut. 0: no bound
	parts [record.Outputs]parts[P]
	first record.Output // of two outputs with parts, the one whose line began earlier
}

type parts[P any] struct {
	text      []byte
	time      int64
	start     P
	pending   bool
	truncated bool
}

// Joined is a whole line.
type Joined struct {
	Time      int64 // ns since the epoch, of its first part
	Output    record.Output
	Text      []byte
	Own       bool // Text is the joiner's, until the next call; else it is the caller's content
	Truncated bool // it was cut at Max
}

// Add takes a line, its content and the place where the line begins. ok is false while
// the end is not there yet.
func (j *Joiner[P]) Add(l Line, content []byte, at P) (whole Joined, ok bool) {
	p := &j.parts[l.Output]
	if !p.pending && !l.Partial {
		whole = Joined{Time: l.Time, Output: l.Output, Text: content}
		if j.Max > 0 && len(content) > j.Max {
			whole.Text, whole.Truncated = content[:j.Max], true
		}
		return whole, true
	}
	if !p.pending {
		if _, other := j.Start(); !other {
			j.first = l.Output
		}
		*p = parts[P]{text: p.text[:0], time: l.Time, start: at, pending: true}
	}
	if room := j.Max - len(p.text); j.Max > 0 && len(content) > room {
		content, p.truncated = content[:room], true
	}
	p.text = append(p.text, content...)
	if l.Partial {
		return Joined{}, false
	}
	return j.Flush(l.Output)
}

// Flush ends the line of an output whose end will not be read; ok is false when there is
// none.
func (j *Joiner[P]) Flush(o record.Output) (whole Joined, ok bool) {
	p := &j.parts[o]
	if !p.pending {
		return Joined{}, false
	}
	whole = Joined{Time: p.time, Output: o, Text: p.text, Own: true, Truncated: p.truncated}
	p.pending = false
	if cap(p.text) > keptBuffer { // long lines are rare: their memory is not kept
		p.text = nil
	}
	if j.first == o {
		j.first = record.Stdout + record.Stderr - o
	}
	return whole, true
}

// Start returns where the oldest unfinished line begins; ok is false when there is none.
func (j *Joiner[P]) Start() (at P, ok bool) {
	return j.StartOf(j.first)
}

// StartOf returns where the unfinished line of an output begins; ok is false when there
// is none.
func (j *Joiner[P]) StartOf(o record.Output) (at P, ok bool) {
	p := &j.parts[o]
	return p.start, p.pending
}

// Bytes returns the memory that parts take.
func (j *Joiner[P]) Bytes() (n int) {
	for i := range j.parts {
		n += cap(j.parts[i].text)
	}
	return n
}
