package dispatch

import (
	"context"
	"errors"
	"fmt"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// begin starts the goroutine that sends.
func (l *Lane) begin() {
	idle := make(chan struct{})
	l.idle = idle
	l.scope.Go("lane", func(ctx context.Context) {
		l.run(ctx)
		if !l.off.Load() {
			l.over()
		}
		close(idle) // last: whoever waits for it may switch the lane on
	})
	l.plant()
}

// overIfOff ends a lane whose goroutine has ended already, or is about to.
func (l *Lane) overIfOff() {
	if l.off.Load() && l.over != nil {
		l.over()
	}
}

// Off tells whether the lane is switched off.
func (l *Lane) Off() bool { return l.off.Load() }

// errSending is what SwitchOff and SwitchOn say of a lane that has not come to rest.
var errSending = errors.New("a request that was cut off has not ended; try again")

// SwitchOff has the lane send nothing, as if its sink were down: what comes waits in
// memory and in the spool, and sources wait behind these. A Send that is under way may go
// on until ctx ends, and is cut off then: what it had sent may come again. Its sink is
// closed. After an error the lane is off, but something of it has not ended; calling it
// again waits again. Not beside SwitchOn, Change, Drain or Close, and of a dispatcher that
// runs alone.
func (l *Lane) SwitchOff(ctx context.Context) error {
	if l.scope == nil {
		return fmt.Errorf("switch off sink %s: it has not begun; try again", l.name)
	}
	l.off.Store(true)
	l.leaving()
	err := l.sink.replace(ctx, switchedOff{l})
	if errors.Is(err, errBusy) {
		return fmt.Errorf("switch off sink %s: %w", l.name, errSending)
	}
	if err != nil {
		l.log.Warn("the sink that was switched off did not end as it should", "error", err)
	}
	select {
	case <-l.idle:
		return nil
	case <-after(ctx, closeWait):
		return fmt.Errorf("switch off sink %s: %w", l.name, errSending)
	}
}

// SwitchOn ends SwitchOff: the lane goes on with what it holds, in order, and with s, which
// is its own from now on, after an error too.
func (l *Lane) SwitchOn(ctx context.Context, s sink.Sink) error {
	select {
	case <-l.idle:
	default:
		return errors.Join(fmt.Errorf("switch on sink %s: %w", l.name, errSending), s.Close())
	}
	if err := l.sink.replace(ctx, s); err != nil {
		l.log.Warn("a request to the sink of before did not end as it should", "error", err)
	}
	l.leave, l.leaving = context.WithCancel(context.Background()) //nolint:contextcheck,gosec // it is the lane's; retire ends it
	l.off.Store(false)
	l.begin()
	return nil
}

// switchedOff is in the place of the sink of a lane that is off.
type switchedOff struct{ lane *Lane }

// Send implements sink.Sink.
func (s switchedOff) Send(context.Context, []record.View) error { return s.lane.errOff() }

// Close implements sink.Sink.
func (s switchedOff) Close() error { return nil }

func (l *Lane) errOff() error {
	return later(fmt.Errorf("send to sink %s: it was switched off by hand; see /health", l.name))
}
