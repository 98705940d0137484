// Package source holds the contract between what reads logs and what runs the readers.
package source

import (
	"context"
	"errors"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
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
	// Path of the log file or json-file, empty for Stream and Poll.
	Path string
	// Container is set for containers.
	Container *Container
	// Since bounds the history that is read of a source first seen; zero = from the start.
	Since time.Time
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
