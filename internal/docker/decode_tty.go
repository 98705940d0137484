package docker

import (
	"bytes"
	"fmt"
	"io"
)

// A terminal's stream has no frames: record after record, each with its timestamp in
// front. Three things therefore have to be told from text.
//
//   - A line that was cut into pieces has timestamps in its middle, all the same one as
//     at its start: the same bytes again, at least PieceSize bytes after the last time.
//     (Exactly PieceSize when all is valid UTF-8; json-file makes three bytes of each
//     invalid one.)
//   - What a container wrote last before it exited may have no newline; after a restart
//     the next record follows at once. Its timestamp is younger than that of the line,
//     which a time in the text of a line never is unless it lies in the future: the
//     engine takes a line's timestamp after the line was written.
//   - The local driver leaves out the newline of a line that was cut into pieces. Such a
//     line has the timestamp of its first piece, so its text may well hold younger ones;
//     but the next record follows the carriage return that a terminal puts at a line's end.

// What a run of bytes is followed by.
type border int

const (
	unknown border = iota // more bytes must come to tell
	newline
	piece  // the line's own timestamp, before its next piece
	record // another record's timestamp, without a newline before it
)

// rawReady tells whether a piece can be had without reading: surely when a whole line is
// there.
func (d *Decoder) rawReady() bool {
	buf, _ := d.r.Peek(d.r.Buffered())
	if bytes.IndexByte(buf, '\n') < 0 {
		return false
	}
	if !d.open {
		return len(buf) > stampOffset || len(buf) > stampUTC && buf[stampUTC-2] == 'Z'
	}
	return d.since < PieceSize || !bytes.HasPrefix(buf, d.stamp)
}

func (d *Decoder) rawNext() (Piece, error) {
	if !d.open {
		if err := d.rawOpen(); err != nil {
			return Piece{}, err
		}
	}
	for {
		if d.r.Buffered() == 0 {
			if _, err := d.r.Peek(1); err != nil {
				return Piece{}, err // io.EOF: what there is of the line was returned
			}
		}
		buf, _ := d.r.Peek(d.r.Buffered())
		if d.since >= PieceSize && bytes.HasPrefix(buf, d.stamp) {
			_, _ = d.r.Discard(len(d.stamp))
			d.since, d.pieces = 0, true
			continue
		}
		n, at := d.plain(buf)
		if n == 0 && at == unknown {
			// The start of a timestamp, perhaps: only more bytes can tell.
			if _, err := d.r.Peek(len(buf) + 1); err == nil {
				continue
			} else if err != io.EOF {
				return Piece{}, err
			}
			buf, _ = d.r.Peek(d.r.Buffered()) // the attempt may have moved it
			n = len(buf)
		}
		return d.rawPiece(buf[:n], at), nil
	}
}

// rawOpen reads the timestamp at the start of a line.
func (d *Decoder) rawOpen() error {
	head, err := d.r.Peek(stampUTC)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if head[stampUTC-2] != 'Z' {
		if head, err = d.r.Peek(stampOffset); err != nil {
			return unexpected(err)
		}
	}
	time, n := parseStamp(head)
	if n != len(head) {
		return fmt.Errorf("%w: a line without a timestamp: %.64q", ErrGarbage, head)
	}
	d.open, d.time, d.since, d.pieces, d.before = true, time, 0, false, 0
	d.stamp = append(d.stamp[:0], head[:n]...)
	_, _ = d.r.Discard(n)
	return nil
}

// plain returns how many bytes at the start of buf surely are text, and what follows.
func (d *Decoder) plain(buf []byte) (n int, at border) {
	n, at = bytes.IndexByte(buf, '\n'), newline
	if n < 0 {
		// A timestamp may have begun in the last bytes.
		n, at = max(0, len(buf)-(stampOffset-1)), unknown
	}
	text := buf
	if at == newline {
		text = buf[:n]
	}
	if from := max(0, PieceSize-d.since); from <= len(text) {
		if i := bytes.Index(text[from:], d.stamp); i >= 0 {
			n, at = from+i, piece
			text = text[:n]
		}
	}
	if i := d.another(text); i >= 0 {
		return i, record
	}
	return n, at
}

// another returns where another record's timestamp begins in text, or -1.
func (d *Decoder) another(text []byte) int {
	const toT = len("2006-01-02") // the T of a timestamp is the rarest of its characters
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], 'T')
		if i < 0 {
			return -1
		}
		at := from + i - toT
		from += i + 1
		if at < 0 {
			continue
		}
		time, n := parseStamp(text[at:])
		if _, fraction := fractionOf(text[at:]); n == 0 || fraction != 1+nanoDigits || time <= d.time {
			continue
		}
		before := d.before
		if at > 0 {
			before = text[at-1]
		}
		if !d.pieces || before == '\r' {
			return at
		}
	}
}

// rawPiece takes text from the buffer, and the newline behind it.
func (d *Decoder) rawPiece(text []byte, at border) Piece {
	p := Piece{Time: d.time, Data: text, End: at == newline || at == record}
	n := len(text)
	if n > 0 {
		d.before = text[n-1]
	}
	d.since += n
	if at == newline {
		n++
	}
	d.open = !p.End
	_, _ = d.r.Discard(n)
	return p
}
