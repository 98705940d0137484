// Package sink holds the contract of everything that log entries are delivered to.
// One suite, sinktest, holds every sink to it.
package sink

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
)

// Sink delivers entries to one place. It has no queue, no retry and no goroutine of
// its own; the dispatcher has those, once, for all.
type Sink interface {
	// Send delivers all entries of the views and blocks until the other side has
	// accepted them (nil) or has not. It has one caller at a time and must not keep or
	// change the views. The order of the views is the order of delivery per source.
	// Errors: *RejectedError when all but the listed entries were accepted; *RetryError
	// when the other side said when to come back; everything else is tried again as a
	// whole, without end, so sending the same entries twice must have the effect of once
	// wherever the other side allows that.
	Send(ctx context.Context, views []record.View) error
	// Close frees what the sink holds; after the last Send.
	Close() error
}

// Rejection is an entry that the other side refused for good.
type Rejection struct {
	// View is the index into the views of Send; Entry the index into the entries of that
	// view's batch (Batch.Entries), not of the view.
	View, Entry int
	// Reason is one of few words, a metric label: "too_old", "line_too_long", "rejected" …
	Reason string
	// Detail is what the other side said, at most 1 KiB.
	Detail string
}

// RejectedError says which entries were refused for good; the rest was accepted.
type RejectedError struct{ Entries []Rejection }

func (e *RejectedError) Error() string {
	if len(e.Entries) == 0 {
		return "no entries rejected"
	}
	return fmt.Sprintf("%d entries rejected; the first: %s: %s", len(e.Entries), e.Entries[0].Reason, e.Entries[0].Detail)
}

// RetryError is a failure after which the other side asked to wait.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }
func (e *RetryError) Unwrap() error { return e.Err }

// asked marks a context.
type asked struct{}

// Ask marks a Send as one that a person wants to know the other side's answer of: the sink
// takes nothing for refused without having asked.
func Ask(ctx context.Context) context.Context { return context.WithValue(ctx, asked{}, true) }

// IsAsked tells whether a Send is marked by Ask.
func IsAsked(ctx context.Context) bool { return ctx.Value(asked{}) != nil }

// Deps is what a sink is built with besides its own configuration.
type Deps struct {
	// Name is the sink's key in the configuration.
	Name string
	Log  *slog.Logger
	// DataDir replaces {data_dir} in paths; it exists.
	DataDir string
	// UserAgent is sent by sinks that speak HTTP.
	UserAgent string
}
