package diagnose

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// Dump is what a goroutine dump says.
type Dump struct {
	// Form is "dump" (SIGQUIT, or a profile with debug=2) or "profile" (debug=1, or a
	// binary one).
	Form       string `json:"form"`
	Goroutines int    `json:"goroutines"`
	// Owners and Stacks are the largest groups first.
	Owners []Group `json:"owners"`
	Stacks []Group `json:"stacks"`
	// States are how many goroutines are in each; a profile does not tell.
	States map[string]int `json:"states,omitempty"`
	// Signs are counts of what a leak usually looks like.
	Signs Signs `json:"signs"`
	// Truncated tells that the dump ends in the middle.
	Truncated bool    `json:"truncated"`
	Verdict   Verdict `json:"verdict"`
}

// Group is goroutines that have something in common.
type Group struct {
	// Owner is the label, or else "created by" and the function that started them.
	Owner string `json:"owner,omitempty"`
	// Stack is from the innermost function: "f < g < h".
	Stack  string         `json:"stack,omitempty"`
	Count  int            `json:"count"`
	States map[string]int `json:"states,omitempty"`
	// Waiting are whole minutes that they have waited for; nil where the dump does not tell.
	Waiting *Waiting `json:"waiting_minutes,omitempty"`
}

// Waiting is for how many whole minutes goroutines have waited; less than one is 0.
type Waiting struct {
	Min    int `json:"min"`
	Median int `json:"median"`
	Max    int `json:"max"`
}

// Signs are goroutines by what they wait for.
type Signs struct {
	ReadLoops  int `json:"http_read_loops"`
	WriteLoops int `json:"http_write_loops"`
	// Streaming are read loops whose answer has not been read to its end, Readers the
	// goroutines that read one now. What is more of the one than of the other, nobody
	// reads: nobody has closed it either.
	Streaming int `json:"http_bodies_open"`
	Readers   int `json:"http_body_readers"`
	Sending   int `json:"blocked_on_channel_send"`
	Receiving int `json:"blocked_on_channel_receive"`
	Locking   int `json:"blocked_on_lock"`
}

// Abandoned are answers that are open and that nobody reads.
func (s Signs) Abandoned() int { return max(0, s.Streaming-s.Readers) }

// ErrNoDump says that there is no goroutine in what was read.
var ErrNoDump = errors.New("no goroutine is in it; give what a process prints on SIGQUIT, or /debug/pprof/goroutine with ?debug=2 or ?debug=1")

const (
	// longestLine is how much of a line is looked at, in bytes; the rest is skipped.
	longestLine = 64 << 10
	// mostFrames of a stack are kept, and mostGroups groups; what is more is counted
	// together. So memory is bounded whatever is read.
	mostFrames = 100
	mostGroups = 10_000
)

// ReadDump reads a goroutine dump, gzipped or not, with whatever is before and after it.
func ReadDump(r io.Reader) (Dump, error) {
	in := bufio.NewReaderSize(r, longestLine)
	if magic, err := in.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return Dump{}, fmt.Errorf("read the dump: unzip it: %w", err)
		}
		in = bufio.NewReaderSize(unzipped, longestLine)
	}
	p := parser{groups: newGroups(), forms: newForms()}
	if binary(in) {
		if err := p.protobuf(in); err != nil {
			return Dump{}, fmt.Errorf("read the dump: %w", err)
		}
		return p.result(false)
	}
	err := lines(in, p.line)
	p.end()
	cut := errors.Is(err, io.ErrUnexpectedEOF) // of gzip
	if err != nil && !cut {
		return Dump{}, fmt.Errorf("read the dump: %w", err)
	}
	return p.result(cut || p.cut())
}

// result is what was read.
func (p *parser) result(cut bool) (Dump, error) {
	d := p.groups.dump()
	if d.Goroutines == 0 {
		return Dump{}, fmt.Errorf("read the dump: %w", ErrNoDump)
	}
	d.Form, d.Truncated = p.form, cut
	d.Verdict = judgeDump(d)
	return d, nil
}

// binary tells a profile in protobuf: it begins with its period's or sample's type, a short
// message whose first byte is never in a text.
func binary(in *bufio.Reader) bool {
	head, err := in.Peek(3)
	return err == nil && (head[0] == '\n' || head[0] == 'Z') && head[1] < '\t' && head[2] == '\b'
}

// lines calls each with every line, without its end and cut at longestLine. The slice is
// valid during the call.
func lines(in *bufio.Reader, each func([]byte)) error {
	for {
		text, err := in.ReadSlice('\n')
		for long := err; errors.Is(long, bufio.ErrBufferFull); {
			text = bytes.Clone(text) // in's buffer is used again
			_, long = in.ReadSlice('\n')
			err = long
		}
		if len(text) > 0 {
			each(bytes.TrimRight(text, "\r\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
