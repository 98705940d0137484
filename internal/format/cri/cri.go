// Package cri reads the logs that a Kubernetes container runtime writes (containerd,
// CRI-O), and tells from their paths whose they are.
//
// A line of such a log is
//
//	2016-10-06T00:17:09.669794202Z stdout F log content
//
// the time, the output, tags and the content, with one space between them. The time has
// any number of digits behind the second and Z or an offset: which one is the runtime's
// choice, and the host's. Tags are separated by ":"; the first one is F, a full line, or
// P, a part of one that goes on in the next line of the same output; the others are
// skipped, as the interface's definition asks. Content is taken as it is, trailing blanks
// and all. A Joiner puts parts together.
//
// The format is defined with the Container Runtime Interface, "kubelet-cri-logging".
// Nothing is allocated for a line.
package cri

import (
	"bytes"
	"errors"

	"github.com/logcapturer/log_capturer/internal/format/timestamp"
	"github.com/logcapturer/log_capturer/internal/record"
)

// Why a line is none of a CRI log.
var (
	ErrTime   = errors.New("no line of a CRI log: it does not begin with a timestamp of RFC 3339 and a space")
	ErrOutput = errors.New("no line of a CRI log: stdout or stderr should follow the timestamp")
	ErrTag    = errors.New("no line of a CRI log: the tag F or P should follow stdout or stderr")
)

// Line is what stands before a line's content.
type Line struct {
	Time    int64 // ns since the epoch
	Output  record.Output
	Partial bool // the next line of the same output goes on with it
	Off     int  // where the content begins; it goes on to the line's end
}

// Parse reads a line, without its newline. The error is one of the above, and makes the
// line no less a line: what to do with one that is damaged is for the caller to say.
func Parse(line []byte) (Line, error) {
	ns, n := timestamp.RFC3339(line)
	if n == 0 || n >= len(line) || line[n] != ' ' {
		return Line{}, ErrTime
	}
	l := Line{Time: ns}
	rest := line[n+1:]
	switch {
	case bytes.HasPrefix(rest, []byte("stdout ")):
		l.Output = record.Stdout
	case bytes.HasPrefix(rest, []byte("stderr ")):
		l.Output = record.Stderr
	default:
		return Line{}, ErrOutput
	}
	n += 1 + len("stdout ")
	rest = line[n:]
	if len(rest) == 0 || rest[0] != 'F' && rest[0] != 'P' {
		return Line{}, ErrTag
	}
	l.Partial = rest[0] == 'P'
	if len(rest) > 1 && rest[1] != ' ' && rest[1] != ':' {
		return Line{}, ErrTag
	}
	end := bytes.IndexByte(rest, ' ')
	if end < 0 { // an empty line whose last blank something has stripped
		l.Off = len(line)
		return l, nil
	}
	l.Off = n + end + 1
	return l, nil
}
