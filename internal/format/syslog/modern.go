package syslog

import (
	"bytes"
	"iter"

	"github.com/logcapturer/log_capturer/internal/format/timestamp"
)

// bom marks the message of RFC 5424 as UTF-8. It is no part of the text.
var bom = []byte("\uFEFF")

// modern reads what follows the version in a line of RFC 5424.
func (m Message) modern(line []byte) (Message, error) {
	rest := line[m.Off:]
	var n int
	if bytes.HasPrefix(rest, []byte("- ")) {
		m.NoTime, n = true, 1
	} else {
		m.Time, n = timestamp.RFC3339(rest)
	}
	if n == 0 || n >= len(rest) || rest[n] != ' ' {
		return Message{}, ErrTime
	}
	m.Off += n + 1
	for _, field := range [...]*[]byte{&m.Host, &m.App, &m.PID, &m.MsgID} {
		text, n := word(line[m.Off:])
		if n == 0 {
			return Message{}, ErrHeader
		}
		m.Off += n
		if len(text) != 1 || text[0] != '-' {
			*field = text
		}
	}
	rest = line[m.Off:]
	switch {
	case len(rest) == 0:
		return Message{}, ErrHeader
	case rest[0] == '-':
		m.Off++
	default:
		n := structured(rest)
		if n == 0 {
			return Message{}, ErrStructured
		}
		m.Structured = rest[:n:n]
		m.Off += n
	}
	if m.Off == len(line) {
		return m, nil // the message may be missing
	}
	if line[m.Off] != ' ' {
		return Message{}, ErrStructured
	}
	m.Off++
	if bytes.HasPrefix(line[m.Off:], bom) {
		m.Off += len(bom)
	}
	return m, nil
}

// structured returns the length of the elements that b begins with; 0 when the first is
// missing or any is damaged.
func structured(b []byte) (n int) {
	for n < len(b) && b[n] == '[' {
		n++
		size := sdName(b[n:])
		if size == 0 {
			return 0
		}
		n += size
		for n < len(b) && b[n] == ' ' {
			_, _, size := param(b[n+1:])
			if size == 0 {
				return 0
			}
			n += 1 + size
		}
		if n >= len(b) || b[n] != ']' {
			return 0
		}
		n++
	}
	return n
}

// sdName returns the length of an element's or a parameter's name.
func sdName(b []byte) (n int) {
	for n < len(b) && b[n] > ' ' && b[n] < 0x7f && b[n] != '=' && b[n] != ']' && b[n] != '"' {
		n++
	}
	return n
}

// param reads name="value" and returns its length; 0 when there is none.
func param(b []byte) (name, value []byte, n int) {
	n = sdName(b)
	if n == 0 || len(b) < n+3 || b[n] != '=' || b[n+1] != '"' {
		return nil, nil, 0
	}
	name = b[:n]
	n += 2
	for from := n; n < len(b); n++ {
		switch b[n] {
		case '\\':
			n++ // whatever it is, it does not end the value
		case '"':
			return name, b[from:n], n + 1
		case ']':
			return nil, nil, 0 // only with a backslash
		}
	}
	return nil, nil, 0
}

// Param is a parameter of an element of structured data.
type Param struct {
	ID, Name []byte
	Value    []byte // with its escapes: see Unescape
}

// Params walks over the parameters of a message's structured data.
func (m *Message) Params() iter.Seq[Param] {
	return func(yield func(Param) bool) {
		for b := m.Structured; len(b) > 0; b = b[1:] { // behind its ]
			b = b[1:]
			id := sdName(b)
			p := Param{ID: b[:id]}
			for b = b[id:]; len(b) > 0 && b[0] == ' '; {
				var n int
				if p.Name, p.Value, n = param(b[1:]); n == 0 || !yield(p) {
					return
				}
				b = b[1+n:]
			}
			if len(b) == 0 {
				return
			}
		}
	}
}

// Unescape appends a value to dst without the backslashes before quotes, backslashes and
// brackets. Before anything else a backslash is an ordinary character.
func Unescape(dst, value []byte) []byte {
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			if c := value[i+1]; c == '"' || c == '\\' || c == ']' {
				i++
			}
		}
		dst = append(dst, value[i])
	}
	return dst
}
