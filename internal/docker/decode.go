package docker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// PieceSize is the size in bytes at which the engine cuts a line that does not end.
	// Only a piece that reached it can be followed by more of its line: a shorter one
	// without a newline is what a container wrote last before it exited.
	PieceSize = 16 << 10

	// decodeBuffer holds a full piece with its header and timestamp.
	decodeBuffer = PieceSize + 4<<10
	// maxFrame bounds what a frame header may announce. The largest records are those
	// of the local driver, 1 MB.
	maxFrame = 4 << 20

	frameHeader = 8
)

// The outputs of a container, as the engine numbers them.
const (
	streamStdin  = 0
	streamStdout = 1
	streamStderr = 2
	streamError  = 3
)

// Errors of a stream, beside io.EOF (its clean end) and io.ErrUnexpectedEOF.
var (
	// ErrGarbage: what came is not the stream that was expected.
	ErrGarbage = errors.New("this is no log stream of the Docker Engine")
	// ErrInBand: the engine reported an error inside the stream.
	ErrInBand = errors.New("the Docker Engine reports")
)

// Piece is a part of one log line.
type Piece struct {
	// Stderr tells the output.
	Stderr bool
	// Time is the record's timestamp, ns since the epoch. All pieces of a line carry
	// that of the first.
	Time int64
	// Own is the piece's own timestamp where it may be another one (Podman), else 0.
	Own int64
	// Data is what the container wrote, without the newline. It is the decoder's, and
	// valid until the next call.
	Data []byte
	// End tells that the line ends here. Without it more may follow, with the same
	// output and time; a piece with another time means that the line had ended.
	End bool
}

// Decoder reads pieces from a log stream with timestamps. It pulls: it has no
// goroutine and reads no further than its buffer. It has one user.
type Decoder struct {
	r     *bufio.Reader
	tty   bool
	spill []byte // a frame that is larger than the buffer

	podman bool
	lines  [2]int64 // with Podman: the time of the line that an output is in, 0 = none
	own    int64    // with Podman's terminals: the time of the line's last piece
	exact  bool     // with Podman's terminals: the line's timestamp has a fraction

	// The line that a TTY's stream is in.
	open   bool
	time   int64
	stamp  []byte // its timestamp as it was written, space included
	since  int    // bytes since the last stamp
	pieces bool   // it came in more than one piece
	before byte   // the last one of its text so far
}

// NewDecoder returns a decoder for the body of Logs. tty tells whether the container
// has a terminal; its stream then has no frames. What comes from Podman is told by the
// body's method Podman.
func NewDecoder(r io.Reader, tty bool) *Decoder {
	return &Decoder{r: bufio.NewReaderSize(r, decodeBuffer), tty: tty, podman: fromPodman(r)}
}

// Reset makes the decoder that of another body, in the same memory. What it returned
// before is not valid any more.
func (d *Decoder) Reset(r io.Reader, tty bool) {
	d.r.Reset(r)
	*d = Decoder{r: d.r, tty: tty, podman: fromPodman(r)}
}

// Buffered returns the number of bytes that were read and not yet decoded.
func (d *Decoder) Buffered() int { return d.r.Buffered() }

// Ready tells whether Next can return a piece without reading.
func (d *Decoder) Ready() bool {
	if d.tty {
		if d.podman {
			return d.podmanReady()
		}
		return d.rawReady()
	}
	have := d.r.Buffered()
	if have < frameHeader {
		return false
	}
	head, _ := d.r.Peek(frameHeader)
	size := binary.BigEndian.Uint32(head[4:])
	return int64(have) >= frameHeader+int64(size)
}

// Next returns the next piece, and reads for it if it must. io.EOF is the stream's end
// between two records.
func (d *Decoder) Next() (Piece, error) {
	if d.tty {
		if d.podman {
			return d.podmanRaw()
		}
		return d.rawNext()
	}
	for {
		kind, payload, err := d.frame()
		if err != nil {
			return Piece{}, err
		}
		if kind == streamError {
			return Piece{}, fmt.Errorf("%w: %.256q", ErrInBand, payload)
		}
		if len(payload) == 0 {
			continue
		}
		time, n := parseStamp(payload)
		if n == 0 {
			return Piece{}, fmt.Errorf("%w: a record without a timestamp: %.64q", ErrGarbage, payload)
		}
		p := Piece{Stderr: kind == streamStderr, Time: time, Data: payload[n:]}
		if last := len(p.Data) - 1; last >= 0 && p.Data[last] == '\n' {
			p.Data, p.End = p.Data[:last], true
		} else if len(p.Data) < PieceSize && !d.podman {
			p.End = true
		}
		if d.podman {
			p.Own = time
			d.podmanJoin(&p)
		}
		return p, nil
	}
}

// frame returns the payload of the next frame; it is valid until the next call.
func (d *Decoder) frame() (kind byte, payload []byte, err error) {
	head, err := d.r.Peek(frameHeader)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	kind = head[0]
	size := int(binary.BigEndian.Uint32(head[4:]))
	if kind > streamError || head[1]|head[2]|head[3] != 0 || size > maxFrame {
		return 0, nil, fmt.Errorf("%w: frame header % x", ErrGarbage, head)
	}
	if frameHeader+size <= decodeBuffer {
		whole, err := d.r.Peek(frameHeader + size)
		if err != nil {
			return 0, nil, unexpected(err)
		}
		_, _ = d.r.Discard(len(whole)) // cannot fail: it is buffered
		d.spill = nil
		return kind, whole[frameHeader:], nil
	}
	_, _ = d.r.Discard(frameHeader)
	d.spill, err = readFull(d.r, d.spill[:0], size)
	return kind, d.spill, err
}

// readFull appends size bytes to b, growing with what arrives and not with what was
// announced.
func readFull(r *bufio.Reader, b []byte, size int) ([]byte, error) {
	for len(b) < size {
		if _, err := r.Peek(1); err != nil {
			return b, unexpected(err)
		}
		chunk, _ := r.Peek(min(r.Buffered(), size-len(b)))
		b = append(b, chunk...)
		_, _ = r.Discard(len(chunk))
	}
	return b, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
