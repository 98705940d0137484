package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/queue"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/spool"
	"github.com/logcapturer/log_capturer/internal/task"
)

// remindEvery is how often a sink that does not work is logged again.
const remindEvery = 5 * time.Minute

// Lane is the way to one sink: its queue, its retries, its dead letters. It owns all of them.
type Lane struct {
	name    string
	sink    sink.Sink
	queue   *queue.Queue
	spool   *spool.Spool
	dead    *deadletter.Writer
	config  Config
	count   *metrics.Metrics
	board   *health.Board
	log     *slog.Logger
	onFreed func()
	// restored are the lines that the spool had from an earlier life of the agent.
	restored int64
}

// readAgain is the reason under which lines are counted that come again from their source.
const readAgain = "read_again"

// LaneDeps is what a lane is made of; the lane closes sink, spool and dead letters.
type LaneDeps struct {
	Name   string
	Sink   sink.Sink
	Spool  *spool.Spool
	Dead   *deadletter.Writer
	Config Config
	// Memory is the lane's share of what may be in flight, in bytes.
	Memory  int64
	Metrics *metrics.Metrics
	Board   *health.Board
	Log     *slog.Logger
}

// NewLane returns a lane; nothing runs before the dispatcher does.
func NewLane(d LaneDeps) *Lane {
	l := &Lane{
		name: d.Name, sink: d.Sink, spool: d.Spool, dead: d.Dead, config: d.Config,
		count: d.Metrics, board: d.Board, log: d.Log.With("sink", d.Name), onFreed: func() {},
	}
	l.queue = queue.New(d.Spool, queue.Options{
		MaxBytes: d.Memory, OnError: l.spoolFailed,
		OnFailed: func(lines int) { l.count.LinesDropped.WithLabelValues(l.name, readAgain).Add(float64(lines)) },
		OnFreed:  func() { l.onFreed() },
	})
	l.restored = d.Spool.Lines()
	l.board.Set(l.component(), health.Healthy, "")
	return l
}

// Name returns the sink's name.
func (l *Lane) Name() string { return l.name }

// Stats returns the figures of the lane's queue.
func (l *Lane) Stats() queue.Stats { return l.queue.Stats() }

// Restored returns the lines that were in the spool when the lane was made.
func (l *Lane) Restored() int64 { return l.restored }

// Dead returns the figures of the lane's dead letters.
func (l *Lane) Dead() deadletter.Stats { return l.dead.Stats() }

func (l *Lane) component() string { return "sink." + l.name }

func (l *Lane) spoolFailed(err error) {
	l.log.Error("spool failed; entries are read again from their source", "error", err)
	l.board.Set(l.component(), health.Degraded, "spool: "+err.Error())
}

// run takes batches and delivers them until the queue is drained or ctx ends.
func (l *Lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		lease, err := l.queue.Take(ctx, int(l.config.Batch.MaxBytes), time.Duration(l.config.Batch.Linger))
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, queue.ErrDrained), errors.Is(err, queue.ErrClosed):
			return
		default:
			l.spoolFailed(err)
			if !task.Sleep(ctx, time.Second) {
				return
			}
			continue
		}
		l.settle(ctx, lease)
		l.onFreed()
	}
}

// settle delivers one lease and answers for it, after a panic too.
func (l *Lane) settle(ctx context.Context, lease *queue.Lease) {
	end := lease.Release
	defer func() {
		if err := end(); err != nil {
			l.spoolFailed(err)
		}
	}()
	if l.deliver(ctx, lease.Views()) {
		end = lease.Ack
	}
}

// deliver sends until the sink has accepted the views or refused entries of them for
// good, and tells whether that happened before ctx ended.
func (l *Lane) deliver(ctx context.Context, views []record.View) bool {
	lines := 0
	for _, v := range views {
		lines += v.To - v.From
	}
	pause := l.backoff()
	var failing time.Time
	for {
		err := l.send(ctx, views)
		var rejected *sink.RejectedError
		if err == nil || errors.As(err, &rejected) {
			l.recovered(failing)
			refused := 0
			if rejected != nil {
				refused = len(rejected.Entries)
				if !l.bury(ctx, views, rejected.Entries) {
					return false
				}
			}
			l.count.LinesAcked.WithLabelValues(l.name).Add(float64(lines - refused))
			l.count.LinesSent.WithLabelValues(l.name, "success").Add(float64(lines - refused))
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		l.count.LinesSent.WithLabelValues(l.name, "failed").Add(float64(lines))
		l.count.Retries.WithLabelValues(l.name).Inc()
		wait := pause.NextBackOff()
		if retry := (*sink.RetryError)(nil); errors.As(err, &retry) {
			wait = max(wait, retry.After)
		}
		l.degraded(err)
		if now := time.Now(); now.Sub(failing) >= remindEvery {
			l.log.Warn("delivery failed; trying again without end, nothing is lost", "error", err, "next_try_in", wait.Round(time.Millisecond), "lines_waiting", l.queue.Stats().MemoryLines)
			failing = now
		}
		if !task.Sleep(ctx, wait) {
			return false
		}
	}
}

func (l *Lane) send(ctx context.Context, views []record.View) error {
	start := time.Now()
	err := l.sink.Send(ctx, views)
	l.count.SendDuration.WithLabelValues(l.name).Observe(time.Since(start).Seconds())
	return err
}

// degraded tells of a failed delivery; a spool that failed a moment ago is told instead,
// or nobody would see it.
func (l *Lane) degraded(err error) {
	if !l.queue.Broken() {
		l.board.Set(l.component(), health.Degraded, err.Error())
	}
}

func (l *Lane) recovered(failing time.Time) {
	if !l.queue.Broken() {
		l.board.Set(l.component(), health.Healthy, "")
	}
	if !failing.IsZero() {
		l.log.Info("delivery works again")
	}
}

// bury writes refused entries to the dead letters, until the disk takes them.
func (l *Lane) bury(ctx context.Context, views []record.View, refused []sink.Rejection) bool {
	pause := l.backoff()
	for {
		err := l.dead.Write(views, refused)
		if err == nil {
			break
		}
		l.log.Error("dead letters cannot be written; trying again", "error", err)
		l.board.Set(l.component(), health.Unhealthy, err.Error())
		if !task.Sleep(ctx, pause.NextBackOff()) {
			return false
		}
	}
	l.board.Set(l.component(), health.Healthy, "")
	for _, r := range refused {
		l.count.DeadEntries.WithLabelValues(l.name, r.Reason).Inc()
	}
	l.count.DeadLettered.WithLabelValues(l.name).Add(float64(len(refused)))
	l.log.Warn("the sink refused entries for good; they are dead letters now", "lines", len(refused), "reason", refused[0].Reason, "detail", refused[0].Detail)
	return true
}

func (l *Lane) backoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = time.Duration(l.config.Retry.Initial), time.Duration(l.config.Retry.Max)
	return b
}

// close parks what is in memory in the spool and frees what the lane owns. The lane
// has ended.
func (l *Lane) close() error {
	l.queue.Park()
	return errors.Join(l.queue.Close(), l.spool.Close(), l.dead.Close(), l.sink.Close())
}
