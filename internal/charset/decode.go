package charset

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// Decoder decodes the lines of one file. It keeps nothing from line to line but its
// counts, and has one user at a time.
type Decoder struct {
	Encoding Encoding
	Invalid  int64 // bytes, or halves of surrogate pairs, that are no text
	NULs     int64 // bytes of NULs that were left out
	// ShowNULs has them shown as \x00, as bytes that are no text: for lines that are not a file's.
	ShowNULs bool
}

// Line decodes a line, without its newline. The text is part of line when nothing had to be
// changed; else it was appended to buf. It has no carriage return at its end. Neither is
// kept. buf is returned for the next call, longer when it was used: an arena of the
// caller's, so that nothing is allocated for a line.
func (d *Decoder) Line(line, buf []byte) (text, out []byte) {
	if d.Encoding == UTF8 {
		if !d.ShowNULs {
			line = d.strip(line)
		}
		if utf8.Valid(line) && bytes.IndexByte(line, 0) < 0 {
			return bytes.TrimSuffix(line, []byte("\r")), buf
		}
	}
	from := len(buf)
	switch d.Encoding {
	case UTF8:
		buf = d.utf8(buf, line)
	case UTF16LE, UTF16BE:
		buf = d.utf16(buf, line)
	default:
		buf = d.bytes(buf, line)
	}
	text = bytes.TrimSuffix(buf[from:len(buf):len(buf)], []byte("\r"))
	return text, buf
}

// strip leaves out the NULs that a line begins with, where they are when a file has a gap.
func (d *Decoder) strip(line []byte) []byte {
	if len(line) == 0 || line[0] != 0 {
		return line
	}
	n := UTF8.Gap(line)
	d.NULs += int64(n)
	return line[n:]
}

func (d *Decoder) utf8(buf, line []byte) []byte {
	for len(line) > 0 {
		n := ascii(line)
		if n == 0 {
			var r rune
			r, n = utf8.DecodeRune(line)
			if r == 0 || r == utf8.RuneError && n == 1 {
				buf = d.other(buf, line[0])
				line = line[1:]
				continue
			}
		}
		buf = append(buf, line[:n]...)
		line = line[n:]
	}
	return buf
}

// ascii returns how many bytes of ASCII, without NULs, b begins with.
func ascii(b []byte) (n int) {
	for n < len(b) && b[n]-1 < utf8.RuneSelf-1 {
		n++
	}
	return n
}

func (d *Decoder) utf16(buf, line []byte) []byte {
	low := d.Encoding.low()
	unit := func(i int) rune { return rune(line[i+low]) | rune(line[i+1-low])<<8 }
	i := 0
	for ; i+1 < len(line); i += 2 {
		r := unit(i)
		switch {
		case r == 0:
			d.NULs += 2
		case r < utf8.RuneSelf:
			buf = append(buf, byte(r))
		case !utf16.IsSurrogate(r):
			buf = utf8.AppendRune(buf, r)
		case i+3 < len(line) && utf16.DecodeRune(r, unit(i+2)) != utf8.RuneError:
			buf = utf8.AppendRune(buf, utf16.DecodeRune(r, unit(i+2)))
			i += 2
		default:
			d.Invalid++
			buf = append(buf, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
	}
	if i < len(line) { // half a unit
		buf = d.invalid(buf, line[i])
	}
	return buf
}

func (d *Decoder) bytes(buf, line []byte) []byte {
	for len(line) > 0 {
		n := ascii(line)
		buf = append(buf, line[:n]...)
		if line = line[n:]; len(line) == 0 {
			break
		}
		c := line[0]
		line = line[1:]
		r := rune(c)
		if d.Encoding == Windows1252 && c >= 0x80 && c < 0xa0 {
			r = windows1252[c-0x80]
		}
		if r == 0 {
			buf = d.other(buf, c)
		} else {
			buf = utf8.AppendRune(buf, r)
		}
	}
	return buf
}

const hex = "0123456789abcdef"

// other takes a byte that is no text.
func (d *Decoder) other(buf []byte, c byte) []byte {
	if c == 0 && !d.ShowNULs {
		d.NULs++
		return buf
	}
	return d.invalid(buf, c)
}

func (d *Decoder) invalid(buf []byte, c byte) []byte {
	d.Invalid++
	return append(buf, '\\', 'x', hex[c>>4], hex[c&15])
}

// windows1252 is what the bytes from 0x80 to 0x9f mean; 0 is nothing.
var windows1252 = [32]rune{
	'€', 0, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0, 'Ž', 0,
	0, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0, 'ž', 'Ÿ',
}
