// Package dockerapi reads containers through the Engine API (source.Stream and
// source.Poll). A follower holds a stream while its container runs, and replaces it by a
// successor now and then (turn.go); a poller asks for what is new, and holds nothing in
// between. Both read what is left when the container stopped, and go on from the cursor
// after an error or a restart. A reader may be switched between the two at any time.
//
// A reader has one goroutine, its caller's, and one open stream, two while it turns. It
// owns the streams' bodies and ends them by Close, or with its context. What it promises:
// every record that the engine still has is delivered once, in the engine's order per
// output, with a timestamp that a second reading gives again. The exceptions are
// listed at replay.Tracker.
package dockerapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Engine is what is needed of the Engine API; *docker.Client has it.
type Engine interface {
	Logs(ctx context.Context, id string, o docker.LogOptions) (io.ReadCloser, error)
}

// podman tells whether an engine is Podman, whose last records are no window to look
// through: it counts pieces, and may join them wrongly.
func podman(e Engine) bool {
	p, ok := e.(interface{ Podman() bool })
	return ok && p.Podman()
}

// Opener opens readers of containers. Many may use it.
type Opener struct {
	// Engine is asked for the logs.
	Engine Engine
	// Pool gives the batches. A stream cannot wait, so it takes them past the budget.
	Pool *record.Pool
	// MaxLine cuts longer lines, in bytes.
	MaxLine int
	// Stats is counted into by all readers.
	Stats *Stats
	// Turns bounds how many readers replace their streams at the same time; it is shared.
	// nil means that streams are never replaced.
	Turns *Turns
	// PollInterval is how long a poller waits between two polls.
	PollInterval time.Duration
	// Log takes what a person should know.
	Log *slog.Logger

	decoders sync.Pool // their buffers cost more than a poll brings

	window int // the smallest window, if not the usual one (tests)
}

var _ source.Opener = (*Opener)(nil)

// Stats counts what readers did. It is safe for concurrent use.
type Stats struct {
	// Opens are logs opened, polls included; Full are those among the reopened ones that had
	// to ask the engine to search its log from the start, Polls those that do not follow.
	Opens, Full, Polls atomic.Int64
	// Rotations are streams that were replaced by a successor.
	Rotations atomic.Int64
	// Aged, if set, is told how long a follow stream was open, when it is closed.
	Aged func(time.Duration)
	// Truncated are lines cut to MaxLine.
	Truncated atomic.Int64
	// Repeats are records that a reopened stream brought again and that were dropped.
	Repeats atomic.Int64
	// Late are lines that a stream had left out, and that were delivered when the end of the
	// log was read again.
	Late atomic.Int64

	errors [reasons]atomic.Int64
}

// reason is why a stream broke or could not be opened.
type reason int

const (
	unreachable reason = iota
	broken
	inBand
	garbage
	conflict
	unsupported
	rotation
	other
	reasons
)

var reasonNames = [reasons]string{"unreachable", "broken", "in_band", "garbage", "conflict", "unsupported", "rotation", "other"}

func reasonOf(err error) reason {
	switch {
	case errors.Is(err, docker.ErrInBand):
		return inBand
	case errors.Is(err, docker.ErrGarbage):
		return garbage
	case errors.Is(err, docker.ErrConflict):
		return conflict
	case errors.Is(err, docker.ErrUnsupported):
		return unsupported
	case errors.Is(err, docker.ErrUnreachable):
		return unreachable
	case errors.Is(err, errStream):
		return broken
	}
	return other
}

// Errors returns the errors so far by reason: container_stream_errors_total{reason}.
func (s *Stats) Errors() map[string]int64 {
	out := make(map[string]int64, reasons)
	for i := range s.errors {
		out[reasonNames[i]] = s.errors[i].Load()
	}
	return out
}

// decoder returns one for a body, which is given back with recycle.
func (o *Opener) decoder(body io.Reader, tty bool) *docker.Decoder {
	d, ok := o.decoders.Get().(*docker.Decoder)
	if !ok {
		return docker.NewDecoder(body, tty)
	}
	d.Reset(body, tty)
	return d
}

func (o *Opener) recycle(d *docker.Decoder) {
	d.Reset(nil, false)
	o.decoders.Put(d)
}

// Open returns a reader that goes on from a cursor, or from t.Since if the container
// was never seen. It asks the engine for nothing yet and cannot fail: an engine that
// does not answer is tried again by Next.
func (o *Opener) Open(ctx context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	if t.Container == nil || t.Source == nil {
		return nil, errors.New("open a container's stream: the target is no container; this is a bug in log_capturer")
	}
	r := &Reader{opener: o, target: t, changed: make(chan struct{}, 1), tracker: replay.New(from, t.Since)}
	r.life, r.end = context.WithCancel(ctx)
	r.lines.max = o.MaxLine
	r.joiner.Set(t.Multiline)
	if r.tracker.Unsure() {
		r.unread = r.tracker.Since()
	}
	return r, nil
}
