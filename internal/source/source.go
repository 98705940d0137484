// Package source holds the contract between what reads logs and what runs the readers.
package source

import (
	"context"
	"errors"
	"time"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
)

// ErrIdle is returned by a Reader that has nothing to read now and is woken by its
// Opener's hints (files). Readers that wait by themselves (streams) never return it.
var ErrIdle = errors.New("nothing to read now")

// Mode is how a target is read.
type Mode string

// The modes of container_monitor.read.
const (
	Auto   Mode = "auto"
	File   Mode = "file"
	Stream Mode = "stream"
	Poll   Mode = "poll"
)

// Target is one thing to be captured, as discovery last saw it.
type Target struct {
	// Source carries identity and labels; a rename replaces it by one with the same ID.
	Source *record.Source
	// Mode is File for json-files and log files, Stream or Poll for the Engine API.
	Mode Mode
	// Reason says in a few words why this mode was chosen.
	Reason string
	// Fallback allows the pool to read through the Engine API while the file cannot be
	// read, and to return to it.
	Fallback bool
	// Path of the log file or json-file, empty where there is none on this host.
	Path string
	// Container is set for containers.
	Container *Container
	// Since bounds the history that is read of a source first seen; zero = from the start.
	Since time.Time
	// Multiline tells which lines of a container are one entry; nil = each is one.
	Multiline *multiline.Matcher
	// Shape tells how the text of a log file becomes entries; nil = each line is one.
	Shape *shape.Shape
	// LossMarkers asks for an entry in the event stream where lines were lost.
	LossMarkers bool
	// Gone tells that the container or file was removed: what is held is read to its
	// end, then the reader returns io.EOF.
	Gone bool
}

// Container is what readers and labels need to know of a container.
type Container struct {
	ID, Name, Image, Driver string
	Labels                  map[string]string
	TTY, Running            bool
	// Started is when the container last started; a change means a restart.
	Started time.Time
	// Exit is how its last run ended, nil while it runs or when that is not to be told.
	Exit *Exit
}

// Exit is the end of a container's run.
type Exit struct {
	// Time of the end, by the engine's clock.
	Time time.Time
	// Code is the exit code of the container's process.
	Code int
	// OOM: the kernel killed a process of the container for want of memory.
	OOM bool
}

// Why lines were lost before they could be read: lines_upstream_lost_total{reason}.
const (
	// LostDamaged: a hole of damaged bytes; how many lines it had is not known.
	LostDamaged = "damaged"
	// LostRotated: generations were rotated away before they were seen; not known how many lines.
	LostRotated = "rotated_away"
	// LostCut: a file was cut, or cut and written anew; not known how many lines were written
	// after it had been copied, or read.
	LostCut = "file_cut"
	// LostGap: the engine's log no longer has the last line that was delivered; whether there
	// were others behind it that are gone too is not known.
	LostGap = "gap"
	// LostRemoved: a container was removed before lines could be read that had not been
	// delivered, or before the end of its log could be read at all, if there was more (1).
	LostRemoved = "removed"
	// LostHeld: unread generations were let go, past what may be held; exact.
	LostHeld = "held_too_much"
)

// Loss is a number of lines that were lost before they could be read. Where it is not
// known how many, Lines is 1 for each occurrence.
type Loss struct {
	// Reason is one of the Lost constants.
	Reason string
	Lines  int64
}

// Losses collects them for a Reader. The zero value has none.
type Losses struct{ list []Loss }

// Add notes lines that were lost; none are no loss.
func (l *Losses) Add(reason string, lines int64) {
	if lines > 0 {
		l.list = append(l.list, Loss{Reason: reason, Lines: lines})
	}
}

// TakeLosses implements Loser.
func (l *Losses) TakeLosses() []Loss {
	list := l.list
	l.list = nil
	return list
}

// Loser is what a Reader offers besides that can tell of losses.
type Loser interface {
	// TakeLosses returns the losses since the last call; the caller of Next calls it.
	TakeLosses() []Loss
}

// Status is how one target is being read: a row of /api/v1/containers.
type Status struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Image  string `json:"image"`
	Driver string `json:"log_driver"`
	// Running tells whether the container runs; Gone that it was removed and the rest of
	// its log is being read.
	Running bool `json:"running"`
	Gone    bool `json:"gone,omitempty"`
	// Mode is how it is read now, Reason why, and Since the time from which on.
	Mode   Mode      `json:"mode"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Lines and Bytes were read since the agent started.
	Lines int64 `json:"lines"`
	Bytes int64 `json:"bytes"`
	// Rate is the recent volume, in bytes per second.
	Rate float64 `json:"bytes_per_second"`
	// LastRead is when lines were last read; zero = not yet.
	LastRead time.Time `json:"last_read,omitzero"`
	// Rotations is how often its stream was replaced by a successor.
	Rotations int64 `json:"rotations"`
	// Held are the rotated-away generations of its json-file that are kept open, HeldBytes
	// the disk space that only they occupy.
	Held      int   `json:"held_generations"`
	HeldBytes int64 `json:"held_bytes"`
	// Lost has the lines known to be lost before they could be read, by reason.
	Lost map[string]int64 `json:"lost,omitempty"`
	// Error is what keeps it from being read at the moment.
	Error string `json:"error,omitempty"`
}

// Reader is a pull iterator over one source. It has no goroutines, and one caller at a time.
type Reader interface {
	// Next returns the next batch, never empty; the batch is the caller's. It returns
	// what it holds rather than wait for more. Errors: ErrIdle, io.EOF when the source
	// is gone and read to its end, ctx's error, anything else when reading failed and
	// the reader must be opened again from the last cursor.
	Next(ctx context.Context) (*record.Batch, error)
	// Cursor returns the place behind the last batch.
	Cursor() position.Cursor
	// Update tells the reader what discovery now knows of its target (a new name, that
	// it is gone, that it was started again).
	Update(Target)
	// Close frees what the reader holds. Who opened it closes it.
	Close()
}

// Opener opens readers of one mode. ctx bounds the reader's whole life, a response
// body included.
type Opener interface {
	Open(ctx context.Context, t Target, from position.Cursor) (Reader, error)
}

// Waiter is told when a Reader waits in Next for its log while it holds lines.
type Waiter interface {
	// Wait begins the waiting: until Go returns, others may use the Holder. due is how long
	// it is until Flush has something.
	Wait(due time.Duration)
	// Go ends it, and blocks while another one is at it.
	Go()
}

// Holder is what a Reader offers besides that waits in Next although it holds lines: the
// next one may belong to them. Who runs it gives them out when that takes too long.
type Holder interface {
	// Waits sets who is told, before the first Next.
	Waits(w Waiter)
	// Flush returns the entries that have waited long enough, nil if there are none. The
	// batch is the caller's, and Cursor is behind it.
	Flush() *record.Batch
	// Due tells how long it is until Flush has something; false: nothing is held.
	Due() (wait time.Duration, ok bool)
}
