package docker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// Podman answers on a socket of its own as Docker does, but for this (measured with
// Podman 4.3.1; all of it is dealt with in this package):
//
//   - Its timestamps have whole seconds.
//   - Each piece of a long line has a timestamp of its own, and pieces have any size. That
//     a line ends is told by its newline alone, which conmon adds to what a container
//     leaves unfinished.
//   - It calls the driver k8s-file json-file; its file is none.
//   - Since is exclusive, and as exact as a floating-point number of seconds can be.
//   - Tail counts pieces, and may return such as nobody wrote. It is never asked for.
//   - A container's end is told as remove.
const (
	// K8sFile is Podman's own log driver.
	K8sFile = "k8s-file"

	podmanServer  = "Libpod/" // of the header Server
	podmanDestroy = "remove"
	// podmanSince, in ns, is how much earlier Podman is asked so that nothing is left out.
	podmanSince = int64(time.Millisecond)
	// podmanPiece is a size in bytes below which a terminal's line is not cut, unless the
	// container wrote it in parts. A time of the same second in a line's text that is
	// followed by a space, and lies further from the line's start, is taken for Podman's.
	podmanPiece = 256
)

// fromPodman is asked of the reader that a Decoder gets.
func fromPodman(r io.Reader) bool {
	p, ok := r.(interface{ Podman() bool })
	return ok && p.Podman()
}

// podmanJoin gives a piece the time of its line's first one.
func (d *Decoder) podmanJoin(p *Piece) {
	open := &d.lines[0]
	if p.Stderr {
		open = &d.lines[1]
	}
	if *open != 0 {
		p.Time = *open
	}
	*open = p.Time
	if p.End {
		*open = 0
	}
}

// podmanReady is rawReady for a terminal of Podman.
func (d *Decoder) podmanReady() bool {
	buf, _ := d.r.Peek(d.r.Buffered())
	if d.open {
		n, at := d.podmanPlain(buf)
		return n > 0 || at == newline
	}
	_, n := parseStamp(buf)
	return n > 0 && bytes.IndexByte(buf[n:], '\n') >= 0
}

// podmanRaw is rawNext for a terminal of Podman.
func (d *Decoder) podmanRaw() (Piece, error) {
	if !d.open {
		if err := d.podmanOpen(); err != nil {
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
		n, at := d.podmanPlain(buf)
		if n == 0 && at == piece {
			d.own, n = parseStamp(buf)
			_, _ = d.r.Discard(n)
			d.since = 0
			continue
		}
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
		p := d.rawPiece(buf[:n], at)
		p.Own = d.own
		return p, nil
	}
}

// podmanOpen is rawOpen for timestamps of any precision.
func (d *Decoder) podmanOpen() error {
	for size := stampShort; ; size++ {
		head, err := d.r.Peek(size)
		if err != nil {
			if errors.Is(err, io.EOF) && len(head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if time, n := parseStamp(head); n != 0 {
			d.open, d.time, d.own, d.since = true, time, time, 0
			_, fraction := fractionOf(head)
			d.exact = fraction > 0
			_, _ = d.r.Discard(n)
			return nil
		}
		if size == stampOffset {
			return fmt.Errorf("%w: a line without a timestamp: %.64q", ErrGarbage, head)
		}
	}
}

// podmanPlain is plain: it looks for the timestamp of the line's next piece, which is of
// the same kind as the line's own and not older.
func (d *Decoder) podmanPlain(buf []byte) (n int, at border) {
	n, at = bytes.IndexByte(buf, '\n'), newline
	text := buf
	if n < 0 {
		n, at = max(0, len(buf)-(stampOffset-1)), unknown
	} else {
		text = buf[:n]
	}
	const toT = len("2006-01-02")
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], 'T')
		if i < 0 {
			return n, at
		}
		stamp := from + i - toT
		from += i + 1
		if stamp < 0 {
			continue
		}
		time, length := parseStamp(text[stamp:])
		_, fraction := fractionOf(text[stamp:])
		if length == 0 || d.exact != (fraction > 0) {
			continue
		}
		if time > d.time || time == d.time && d.since+stamp >= podmanPiece {
			return stamp, piece
		}
	}
}
