package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
)

// resendWait is how long a Resend waits for its turn. A lane that holds the sink for
// longer is trying again and again.
const resendWait = 5 * time.Second

// closeWait bounds how long close waits for a Resend that was told to end.
const closeWait = 2 * time.Second

// Resend sends views that are no part of the queue, dead letters, between two deliveries
// of the lane, and returns what sink.Sink says. It has no retry. Between two calls the
// sink is left to the lane for as long as the first took, if the lane has anything to send. It is safe for concurrent use.
func (l *Lane) Resend(ctx context.Context, views []record.View) error {
	if l.off.Load() {
		return l.errOff()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.quit, cancel)() //nolint:contextcheck // the lane ends it, too
	late := time.NewTimer(resendWait)
	defer late.Stop()
	select {
	case l.turn <- struct{}{}:
	case <-late.C:
		return later(fmt.Errorf("send dead letters to sink %s: it takes no fresh lines at the moment; see /health, and try again when it does", l.name))
	case <-ctx.Done():
		return l.ended(ctx)
	}
	took, err := l.inTurn(ctx, views)
	var rejected *sink.RejectedError
	if err != nil && !errors.As(err, &rejected) && ctx.Err() != nil {
		return l.ended(ctx)
	}
	if waiting := l.queue.Stats(); waiting.MemoryLines+waiting.SpoolLines > 0 {
		task.Sleep(ctx, took)
	}
	return err
}

// inTurn sends and gives the turn back, after a panic too.
func (l *Lane) inTurn(ctx context.Context, views []record.View) (took time.Duration, err error) {
	defer func() { <-l.turn }()
	if ctx.Err() != nil || l.quit.Err() != nil {
		return 0, l.ended(ctx)
	}
	start := time.Now()
	err = l.sink.send(sink.Ask(ctx), views)
	return time.Since(start), err
}

func (l *Lane) ended(ctx context.Context) error {
	if l.quit.Err() != nil {
		return later(fmt.Errorf("send dead letters to sink %s: the agent is stopping; try again when it runs", l.name))
	}
	return fmt.Errorf("send dead letters to sink %s: %w", l.name, ctx.Err())
}

// later tells the caller not to try again soon.
func later(err error) error { return &sink.RetryError{After: time.Minute, Err: err} }
