package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of what is kept of an entry; the message's is max_line.
const (
	maxName  = 256
	maxValue = 1024 // of a field that becomes a label, or is a cursor
)

// errFormat: journalctl does not write the export format.
var errFormat = errors.New("what journalctl writes is not the journal's export format")

// entry is one of the journal, its fields in memory that is used again.
type entry struct {
	cursor, message        []byte
	unit, about, pid       []byte // _SYSTEMD_UNIT, UNIT, _PID
	identifier, host, misc []byte
	time                   int64 // ns since the epoch
	level                  int8  // -1 = it has none
	said                   bool  // it has a message
	cut                    bool  // which was longer than it may be
}

// aboutUnit returns the unit that the entry is about: the one that wrote it, or, of systemd
// itself, the one that it tells of.
func (e *entry) aboutUnit() []byte {
	if len(e.about) > 0 && string(e.pid) == "1" {
		return e.about
	}
	return e.unit
}

func (e *entry) reset() {
	*e = entry{
		cursor: e.cursor[:0], message: e.message[:0], unit: e.unit[:0], about: e.about[:0], pid: e.pid[:0],
		identifier: e.identifier[:0], host: e.host[:0], misc: e.misc[:0], level: -1,
	}
}

// field returns where a field's value belongs and how much of it is kept, nil for one that
// is not wanted. Of a field with several values the first one counts.
func (e *entry) field(name []byte, maxLine int) (to *[]byte, most int) {
	switch string(name) {
	case "MESSAGE":
		if e.said {
			return nil, 0
		}
		e.said = true
		return &e.message, maxLine
	case "__CURSOR":
		to = &e.cursor
	case "__REALTIME_TIMESTAMP", "PRIORITY":
		e.misc = e.misc[:0]
		return &e.misc, maxValue
	case "_SYSTEMD_UNIT":
		to = &e.unit
	case "UNIT":
		to = &e.about
	case "_PID":
		to = &e.pid
	case "SYSLOG_IDENTIFIER":
		to = &e.identifier
	case "_HOSTNAME":
		to = &e.host
	default:
		return nil, 0
	}
	if len(*to) > 0 {
		return nil, 0
	}
	return to, maxValue
}

// exported reads entries in the journal's export format: fields NAME=value, each on a line,
// or, where the value has newlines or is no text, NAME on a line, the value's length as 64
// bits, little-endian, the value and a newline. An empty line ends the entry.
// See https://systemd.io/JOURNAL_EXPORT_FORMATS.
type exported struct {
	r       *bufio.Reader
	maxLine int
	name    [maxName]byte
}

// next reads an entry. An error leaves it half read: io.EOF between two entries,
// io.ErrUnexpectedEOF within one.
func (x *exported) next(e *entry) error {
	e.reset()
	for begun := false; ; begun = true {
		end, err := x.readField(e)
		switch {
		case err == io.EOF && begun: //nolint:errorlint // bufio's own
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case !end:
		case len(e.cursor) == 0 || e.time == 0:
			return fmt.Errorf("%w: an entry has no cursor or no time", errFormat)
		default:
			return nil
		}
	}
}

// ready tells whether a whole entry can be had without waiting; false of one that is longer
// than the buffer.
func (x *exported) ready() bool {
	rest, err := x.r.Peek(x.r.Buffered())
	for err == nil {
		end := bytes.IndexByte(rest, '\n')
		if end <= 0 {
			return end == 0
		}
		text := bytes.IndexByte(rest[:end], '=') >= 0
		if rest = rest[end+1:]; text {
			continue
		}
		if len(rest) < 8 {
			return false
		}
		size := binary.LittleEndian.Uint64(rest)
		if rest = rest[8:]; size >= uint64(len(rest)) {
			return false
		}
		rest = rest[size+1:]
	}
	return false
}

// readField reads one field, or the end of the entry.
func (x *exported) readField(e *entry) (end bool, err error) {
	piece, err := x.r.ReadSlice('\n')
	whole := err == nil
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
	case err != nil && len(piece) > 0 && errors.Is(err, io.EOF):
		return false, io.ErrUnexpectedEOF
	case err != nil:
		return false, err
	}
	if len(piece) == 1 {
		return true, nil
	}
	if whole {
		piece = piece[:len(piece)-1]
	}
	name, value, text := bytes.Cut(piece, []byte{'='})
	if !isName(name) || !text && !whole {
		return false, fmt.Errorf("%w: a line begins with %.40q", errFormat, piece)
	}
	name = x.name[:copy(x.name[:], name)] // what follows overwrites it
	to, most := e.field(name, x.maxLine)
	if text {
		err = x.text(e, to, most, value, whole)
	} else {
		err = x.binary(e, to, most)
	}
	if err != nil || to != &e.misc {
		return false, err
	}
	return false, e.number(name)
}

// isName tells the names of fields, so that no other line is taken for one.
func isName(name []byte) bool {
	for _, c := range name {
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0 && len(name) <= maxName
}

// text reads the rest of a value that ends with its line.
func (x *exported) text(e *entry, to *[]byte, most int, value []byte, whole bool) error {
	for {
		e.keep(to, most, value)
		if whole {
			return nil
		}
		piece, err := x.r.ReadSlice('\n')
		if whole = err == nil; whole {
			piece = piece[:len(piece)-1]
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return unexpected(err)
		}
		value = piece
	}
}

// binary reads a value with its length before it.
func (x *exported) binary(e *entry, to *[]byte, most int) error {
	size, err := x.r.Peek(8)
	if err != nil {
		return unexpected(err)
	}
	left := binary.LittleEndian.Uint64(size)
	_, _ = x.r.Discard(8) // was peeked at
	for left > 0 {
		if _, err := x.r.Peek(1); err != nil { // fills the buffer
			return unexpected(err)
		}
		piece, _ := x.r.Peek(int(min(left, uint64(x.r.Buffered())))) //nolint:gosec // at most the buffer's size
		e.keep(to, most, piece)
		left -= uint64(len(piece))
		_, _ = x.r.Discard(len(piece))
	}
	c, err := x.r.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if c != '\n' {
		return fmt.Errorf("%w: no newline after a field's value", errFormat)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// keep adds to a field's value what there is room for.
func (e *entry) keep(to *[]byte, most int, piece []byte) {
	if to == nil {
		return
	}
	if room := most - len(*to); len(piece) > room {
		piece = piece[:room]
		e.cut = e.cut || to == &e.message
	}
	*to = append(*to, piece...)
}

// number takes in the field that is one.
func (e *entry) number(name []byte) error {
	n := int64(0)
	for _, c := range e.misc {
		if c < '0' || c > '9' || n > 1<<53 {
			n = -1
			break
		}
		n = 10*n + int64(c-'0')
	}
	const perMicro = 1000
	switch {
	case string(name) != "PRIORITY":
		if n <= 0 || n > 1<<53 {
			return fmt.Errorf("%w: the time of an entry is %.40q", errFormat, e.misc)
		}
		e.time = n * perMicro
	case len(e.misc) > 0 && n >= 0 && n < int64(len(levels)) && e.level < 0:
		e.level = int8(n)
	}
	return nil
}
