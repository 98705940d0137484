package dispatch

import (
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// breaker keeps a lane from hammering a sink that does not work. The lane has one
// goroutine, so what is tried is one delivery at a time; the breaker says when. The
// pauses double up to a cap, each shortened at random by up to half so that agents
// do not come back together, and are longer where the sink asks for it. The first
// success ends it: what waits goes out without pause.
type breaker struct {
	lane  *Lane
	pause *pauses
	told  time.Time // when the failure was logged last
}

func (l *Lane) newBreaker() *breaker { return &breaker{lane: l, pause: l.newPauses()} }

// failed notes a failure and returns how long to wait.
func (b *breaker) failed(err error) time.Duration {
	l := b.lane
	wait := b.pause.next()
	if retry := (*sink.RetryError)(nil); errors.As(err, &retry) {
		wait = max(wait, retry.After)
	}
	now := time.Now()
	l.down.Store(true)
	l.report(health.Degraded, err.Error()+"; next try at "+now.Add(wait).UTC().Format(time.RFC3339))
	if now.Sub(b.told) >= remindEvery {
		l.log.Warn("delivery failed; trying again without end, nothing is lost", "error", err, "next_try_in", wait.Round(time.Millisecond), "lines_waiting", l.queue.Stats().MemoryLines)
		b.told = now
	}
	return wait
}

// passed notes a success.
func (b *breaker) passed() {
	l := b.lane
	l.down.Store(false)
	l.report(health.Healthy, "")
	if !b.told.IsZero() {
		l.log.Info("delivery works again")
	}
}

// Up tells whether the last delivery that was tried worked, and the lane is not switched
// off; true before the first.
func (l *Lane) Up() bool { return !l.down.Load() && !l.off.Load() }

// pauses are between half and the whole of an interval that doubles.
type pauses struct {
	backoff.ExponentialBackOff
	random func() float64
}

func (l *Lane) newPauses() *pauses {
	retry := l.config.Load().Retry
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = time.Duration(retry.Initial), time.Duration(retry.Max)
	b.Multiplier, b.RandomizationFactor = 2, 0
	return &pauses{*b, l.random}
}

func (p *pauses) next() time.Duration {
	return time.Duration((1 - p.random()/2) * float64(p.NextBackOff()))
}
