package dockerapi

import (
	"bytes"

	"github.com/logcapturer/log_capturer/internal/docker"
)

// keepBuffer is the size in bytes up to which the memory of a joined line is kept.
const keepBuffer = 64 << 10

// line is a whole line as the container wrote it, without its newline.
type line struct {
	out  int // 0 stdout, 1 stderr
	time int64
	data []byte // valid until the next piece is joined
	cut  bool
	last int64 // its last piece's own time, where pieces have one
}

// lines joins pieces to lines, per output.
type lines struct {
	max   int
	parts [2]part
	slow  [2]span
}

// span has the times of the first and the last piece of an output's last line, if they
// differ (Podman), together with lines before it that ended in the second that it began in.
type span struct{ first, last int64 }

// part is a line that is still incomplete.
type part struct {
	open bool
	time int64
	data []byte
	cut  bool
}

// add joins a piece and returns the line that it ends, if any. again means that it ended
// an earlier line by not being part of it, and is to be added once more.
func (l *lines) add(p docker.Piece) (ln line, ok, again bool) {
	i := 0
	if p.Stderr {
		i = 1
	}
	part := &l.parts[i]
	if part.open && part.time != p.Time {
		return l.end(i), true, true
	}
	if !part.open && p.End {
		data, cut := p.Data, len(p.Data) > l.max
		if cut {
			data = data[:l.max]
		}
		return line{i, p.Time, data, cut, p.Own}, true, false
	}
	if !part.open {
		part.open, part.time, part.cut = true, p.Time, false
		if cap(part.data) > keepBuffer {
			part.data = nil
		}
		part.data = part.data[:0]
	}
	room := l.max - len(part.data)
	if len(p.Data) > room {
		p.Data, part.cut = p.Data[:room], true
	}
	part.data = append(part.data, p.Data...)
	if !p.End {
		return line{}, false, false
	}
	ln = l.end(i)
	ln.last = p.Own
	return ln, true, false
}

// doubled tells whether a piece is the same as the one before it of an incomplete line: the
// container wrote it twice, or the engine, which sends the last record of a json-file
// again when it rotates it.
func (l *lines) doubled(p docker.Piece) bool {
	i := 0
	if p.Stderr {
		i = 1
	}
	part := &l.parts[i]
	return part.open && part.time == p.Time && !part.cut && len(p.Data) == docker.PieceSize && bytes.HasSuffix(part.data, p.Data)
}

func (l *lines) end(i int) line {
	part := &l.parts[i]
	part.open = false
	return line{i, part.time, part.data, part.cut, 0}
}

// flush returns one line that was left incomplete, as it is.
func (l *lines) flush() (line, bool) {
	for i := range l.parts {
		if l.parts[i].open {
			return l.end(i), true
		}
	}
	return line{}, false
}

// forget gives up what is incomplete: it will be read again.
func (l *lines) forget() {
	for i := range l.parts {
		l.parts[i].open = false
	}
}

// passed notes a line that was delivered, now or before.
func (l *lines) passed(ln *line) {
	s := &l.slow[ln.out]
	if ln.time > s.last {
		*s = span{}
	}
	if ln.last <= ln.time {
		return
	}
	s.first, s.last = older(s.first, ln.time), max(s.last, ln.last)
}

// across returns from when to read if it was to be from since, or from at if that is
// earlier and not 0: at, or when a line that was delivered began which would otherwise
// be read again from its middle. slow are the last lines that were delivered.
func across(slow [2]span, since, at int64) int64 {
	for range slow { // to go back for one output may cut the other's
		for _, s := range slow {
			from := since
			if at != 0 {
				from = min(since, at)
			}
			if s.first != 0 && s.first < from && s.last >= from {
				at = s.first
			}
		}
	}
	return at
}

// oldest returns the timestamp of the oldest incomplete line, 0 = none.
func (l *lines) oldest() int64 {
	var at int64
	for _, p := range l.parts {
		if p.open {
			at = older(at, p.time)
		}
	}
	return at
}
