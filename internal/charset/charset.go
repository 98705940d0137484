// Package charset turns the bytes of log files into UTF-8, line by line.
//
// Positions are offsets in the file, so lines are split in the file's own bytes and each
// is decoded afterwards: a reader asks End where the next line ends, whatever the
// encoding, consumes that many bytes, and gives the line to a Decoder. UTF-8 that is valid,
// nearly everything, stays where it is: it is looked at and not copied.
//
// What is no text stays visible, so that nobody wonders what is missing and the bytes can
// be told: a byte that is not valid stands as \xNN, half a surrogate pair as \uNNNN, both
// in lower-case hexadecimal. The replacement character U+FFFD would say only that there was
// something. Text that has such a sequence itself looks the same; Invalid counts the real
// ones.
//
// NUL bytes are what a file is filled with where nothing was written: after a truncation
// under a writer that goes on at its old offset, or after a power cut. They are left out
// and counted.
package charset

import (
	"bytes"
	"fmt"
	"strings"
)

// Encoding is how a file's text is written.
type Encoding uint8

// The encodings. Latin1 is ISO 8859-1 with its control characters.
const (
	UTF8 Encoding = iota
	UTF16LE
	UTF16BE
	Latin1
	Windows1252
)

var names = [...]string{UTF8: "utf-8", UTF16LE: "utf-16le", UTF16BE: "utf-16be", Latin1: "latin1", Windows1252: "windows-1252"}

// String returns the encoding's name, as ByName takes it.
func (e Encoding) String() string { return names[e] }

// ByName returns the encoding that users call so, in any case: utf-8, utf-16le, utf-16be,
// latin1 or iso-8859-1, windows-1252 or cp1252.
func ByName(name string) (Encoding, error) {
	switch low := strings.ToLower(name); low {
	case "utf8":
		return UTF8, nil
	case "iso-8859-1", "iso8859-1", "latin-1":
		return Latin1, nil
	case "cp1252":
		return Windows1252, nil
	default:
		for e, known := range names {
			if low == known {
				return Encoding(e), nil
			}
		}
	}
	return UTF8, fmt.Errorf("encoding %q is not known; there are %s", name, strings.Join(names[:], ", "))
}

// boms are the marks that files begin with.
var boms = [...]struct {
	mark string
	e    Encoding
}{{"\xef\xbb\xbf", UTF8}, {"\xff\xfe", UTF16LE}, {"\xfe\xff", UTF16BE}}

// Detect returns the encoding that a file's byte order mark tells and the mark's length;
// without one, otherwise and 0. It needs the file's first three bytes, if it has as many.
func Detect(head []byte, otherwise Encoding) (e Encoding, mark int) {
	for _, b := range boms {
		if len(head) >= len(b.mark) && string(head[:len(b.mark)]) == b.mark {
			return b.e, len(b.mark)
		}
	}
	return otherwise, 0
}

// Unit is the size of what the text consists of, in bytes: every line begins at a multiple
// of it, counted from the file's start.
func (e Encoding) Unit() int {
	if e == UTF16LE || e == UTF16BE {
		return 2
	}
	return 1
}

// End finds the end of the first line in raw, which begins on a unit: the line is raw[:end],
// without its newline, and the next one begins at next. Both are -1 when there is no
// newline.
func (e Encoding) End(raw []byte) (end, next int) {
	if e.Unit() == 1 {
		if end = bytes.IndexByte(raw, '\n'); end < 0 {
			return -1, -1
		}
		return end, end + 1
	}
	low := e.low()
	for at := 0; at < len(raw); {
		i := bytes.IndexByte(raw[at:], '\n')
		if i < 0 {
			break
		}
		i += at
		at = i + 1
		unit := i &^ 1
		if i&1 == low && unit+1 < len(raw) && raw[i^1] == 0 {
			return unit, unit + 2
		}
	}
	return -1, -1
}

// Whole returns how many of raw's bytes are whole lines with their newlines; raw begins on
// a unit.
func (e Encoding) Whole(raw []byte) int {
	if e.Unit() == 1 {
		return bytes.LastIndexByte(raw, '\n') + 1
	}
	low := e.low()
	raw = raw[:len(raw)&^1]
	for n := len(raw); n > 0; {
		i := bytes.LastIndexByte(raw[:n], '\n')
		if i < 0 {
			break
		}
		if i&1 == low && raw[i^1] == 0 {
			return i&^1 + 2
		}
		n = i
	}
	return 0
}

// low is which of a unit's two bytes is the low one.
func (e Encoding) low() int {
	if e == UTF16BE {
		return 1
	}
	return 0
}

// Gap returns how many bytes of NULs raw begins with, in whole units, so that a hole of
// gigabytes need not be taken for a line.
func (e Encoding) Gap(raw []byte) int {
	n := 0
	for len(raw)-n >= len(zeros) && bytes.Equal(raw[n:n+len(zeros)], zeros[:]) {
		n += len(zeros)
	}
	for n < len(raw) && raw[n] == 0 {
		n++
	}
	return n - n%e.Unit()
}

var zeros [4096]byte
