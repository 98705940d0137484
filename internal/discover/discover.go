// Package discover finds what is to be captured: containers through the Docker Engine,
// log files through globs. A Discoverer always applies the full set of targets; the
// receiver compares it with what it has.
//
// It owns no goroutines and reads no log text. What was removed stays in the set, marked
// Gone, until the receiver says Forget, so that a reader can finish first.
//
// It also holds the settings of all monitors.
package discover

import (
	"context"

	"github.com/logcapturer/log_capturer/internal/source"
)

// Discoverer finds targets.
type Discoverer interface {
	// Run blocks until ctx ends, whose error it returns, and calls apply from its own
	// goroutine with the full set of targets whenever it changed. The slice is the
	// receiver's; what it points to is read-only.
	Run(ctx context.Context, apply func([]source.Target)) error
	// Forget takes a target that is Gone out of the set, by its source's ID. It may be
	// called from any goroutine.
	Forget(id string)
}

var (
	_ Discoverer = (*Containers)(nil)
	_ Discoverer = (*Files)(nil)
)
