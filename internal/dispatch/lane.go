package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger"
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
	queue   *queue.Queue
	spool   *spool.Spool
	dead    *deadletter.Writer
	config  atomic.Pointer[Config]
	count   *metrics.Metrics
	board   *health.Board
	log     *slog.Logger
	onFreed func()
	sink    replaceable
	// turn is held by who uses the sink: the lane, for a delivery with all its retries, or
	// one Resend. Those who wait get it in the order in which they came.
	turn chan struct{}
	// quit ends Resends, when the lane drains or is closed.
	quit     context.Context
	quitting context.CancelFunc
	// leave ends the taking of batches, after the delivery that is under way.
	leave   context.Context
	leaving context.CancelFunc
	// scope has the lane's goroutines, since the dispatcher started it; over tells that it
	// has ended, and closes done.
	scope *task.Scope
	over  func()
	done  chan struct{}
	// off: it does not send until it is switched on. idle is closed when the goroutine that
	// sends has ended.
	off  atomic.Bool
	idle chan struct{}
	// restored are the lines that the spool had from an earlier life of the agent.
	restored int64
	// missed are the lines that were read in this life while there was no such lane.
	missed int64
	// bestEffort: the sink holds up nobody.
	bestEffort bool
	// arrived is told of canaries that the sink has accepted.
	arrived func(sink string, sent time.Time)
	random  func() float64
	down    atomic.Bool // the last delivery failed
	// taking is when the lane began to wait for a batch, in Unix nanoseconds; 0 while it
	// has one.
	taking atomic.Int64
}

// LaneDeps is what a lane is made of; the lane closes sink, spool and dead letters.
type LaneDeps struct {
	Name   string
	Sink   sink.Sink
	Spool  *spool.Spool
	Dead   *deadletter.Writer
	Config Config
	// Delivery is what the sink is owed.
	Delivery sink.Delivery
	// Memory is the lane's share of what may be in flight, in bytes.
	Memory int64
	// Arrived, if set, is told of each canary that the sink has accepted, and when it was sent.
	Arrived func(sink string, sent time.Time)
	// Random replaces the source of chance of the pauses: numbers of [0, 1).
	Random  func() float64
	Metrics *metrics.Metrics
	Board   *health.Board
	Log     *slog.Logger
}

// NewLane returns a lane; nothing runs before the dispatcher does.
func NewLane(d LaneDeps) *Lane {
	l := &Lane{
		name: d.Name, spool: d.Spool, dead: d.Dead,
		bestEffort: d.Delivery == sink.BestEffort, count: d.Metrics, board: d.Board, log: d.Log.With("sink", d.Name), onFreed: func() {},
		turn: make(chan struct{}, 1), arrived: d.Arrived, random: d.Random,
	}
	if l.random == nil {
		l.random = rand.Float64
	}
	l.config.Store(&d.Config)
	l.sink.set(d.Sink)
	l.quit, l.quitting = context.WithCancel(context.Background())
	l.leave, l.leaving = context.WithCancel(context.Background())
	o := d.Config.queue(d.Memory)
	o.BestEffort, o.OnError, o.OnFailed = l.bestEffort, l.spoolFailed, l.notKept
	o.OnFreed = func() { l.onFreed() }
	l.queue = queue.New(d.Spool, o)
	l.restored = d.Spool.Lines()
	l.board.Set(l.component(), health.Healthy, "")
	return l
}

// Name returns the sink's name.
func (l *Lane) Name() string { return l.name }

// Sink returns the lane's sink, for what it tells of itself besides the contract.
func (l *Lane) Sink() sink.Sink { return l.sink.present() }

// Stats returns the figures of the lane's queue.
func (l *Lane) Stats() queue.Stats { return l.queue.Stats() }

// SpoolFiles returns the account of the spool's open files, and how many there should be at
// most.
func (l *Lane) SpoolFiles() (open *ledger.Account, expected int) { return l.spool.Files() }

// SpoolMax returns the most that the lane's spool takes on disk, in bytes.
func (l *Lane) SpoolMax() int64 { return l.spool.Max() }

// Restored returns the lines that were in the spool when the lane was made.
func (l *Lane) Restored() int64 { return l.restored }

// Missed returns the lines that were read while the sink was not configured: before it was
// added to an agent that runs.
func (l *Lane) Missed() int64 { return l.missed }

// Letters returns the lane's dead letters; they are the lane's to close.
func (l *Lane) Letters() *deadletter.Writer { return l.dead }

// Dead returns the figures of the lane's dead letters.
func (l *Lane) Dead() deadletter.Stats { return l.dead.Stats() }

func (l *Lane) component() string { return "sink." + l.name }

func (l *Lane) spoolFailed(err error) {
	l.log.Error("spool failed; entries are read again from their source", "error", err)
	l.board.Set(l.component(), health.Degraded, "spool: "+err.Error())
}

func (l *Lane) notKept(lines int, again bool) {
	if again {
		l.drop(readAgain, lines)
		return
	}
	l.drop(notSpooled, lines)
}

// place is where a batch goes in a lane.
type place struct {
	queue.Place
	dropped reason // not empty: nowhere, for this reason
}

// reason is one for which lines are given up: a metric label.
type reason string

// The reasons.
const (
	// readAgain: the lines come again from their source.
	readAgain reason = "read_again"
	// notSpooled: they do not come again, and the spool's disk failed, or the agent ended
	// and there was no room in it.
	notSpooled reason = "not_spooled"
	// rateLimited: their source said too much.
	rateLimited reason = "rate_limit"
	// dropOldest: they were in the spool for longest when there was no room for others.
	dropOldest = reason(DropOldest)
	// dropNewest: there was no room for them.
	dropNewest = reason(DropNewest)
)

// rank sorts lanes: those that sources wait for first.
func (l *Lane) rank() int {
	if l.bestEffort {
		return 1
	}
	return 0
}

// reserve keeps room for b, on disk alone if that is wanted. ErrFull means that the source
// is to try again.
func (l *Lane) reserve(b *record.Batch, disk bool) (place, error) {
	reserve := l.queue.Reserve
	if disk {
		reserve = l.queue.ReserveDisk
	}
	p, err := reserve(b)
	if !errors.Is(err, queue.ErrFull) || !l.givesUp(b.Source) {
		return place{Place: p}, err
	}
	if l.config.Load().Spool.WhenFull == DropOldest {
		lines, err := l.queue.DropOldest()
		if l.drop(dropOldest, lines); err != nil {
			l.spoolFailed(err)
		}
		if p, err = reserve(b); err == nil {
			return place{Place: p}, nil
		}
	}
	return place{dropped: dropNewest}, nil
}

// givesUp tells whether the lane drops lines when there is no room for those of a
// source, which is not to try again then.
func (l *Lane) givesUp(src *record.Source) bool {
	return l.bestEffort || !src.CanWait && l.config.Load().Spool.WhenFull != BlockFiles
}

func (l *Lane) cancel(p place) {
	if p.dropped == "" {
		l.queue.Cancel(p.Place)
	}
}

// give hands b to the queue, which answers for it in any case, or gives it up.
func (l *Lane) give(b *record.Batch, p place) {
	if p.dropped == "" {
		_ = l.queue.Give(b, p.Place) // it told spoolFailed
		return
	}
	l.drop(p.dropped, len(b.Entries))
	if l.bestEffort {
		b.Return()
		return
	}
	b.Done(record.Delivered)
}

func (l *Lane) drop(why reason, lines int) {
	if lines == 0 {
		return
	}
	l.count.LinesDropped.WithLabelValues(l.name, string(why)).Add(float64(lines))
}

// run takes batches and delivers them until the queue is drained, the lane is to leave, or
// ctx ends.
func (l *Lane) run(ctx context.Context) {
	taking, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(l.leave, stop)() //nolint:contextcheck // either of the two ends it
	var pace pace
	for taking.Err() == nil {
		batch := l.config.Load().Batch
		l.taking.Store(time.Now().UnixNano())
		lease, err := l.queue.Take(taking, int(batch.MaxBytes), pace.next(batch.Linger.Std()))
		l.taking.Store(0)
		switch {
		case err == nil:
		case taking.Err() != nil, errors.Is(err, queue.ErrDrained), errors.Is(err, queue.ErrClosed):
			return
		default:
			l.spoolFailed(err)
			if !task.Sleep(taking, time.Second) {
				return
			}
			continue
		}
		began := time.Now()
		l.settle(ctx, lease)
		pace.sent(began, time.Since(began))
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
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return false
	}
	first := time.Now()
	breaker := l.newBreaker()
	for {
		replaced := l.sink.replaced()
		if l.off.Load() {
			return false
		}
		err := l.send(ctx, views)
		var rejected *sink.RejectedError
		if err == nil || errors.As(err, &rejected) {
			breaker.passed()
			refused := 0
			if rejected != nil {
				refused = len(rejected.Entries)
				if !l.bury(ctx, views, rejected.Entries, first) {
					return false
				}
			}
			l.count.LinesAcked.WithLabelValues(l.name).Add(float64(lines - refused))
			l.count.LinesSent.WithLabelValues(l.name, "success").Add(float64(lines - refused))
			l.canaries(views, rejected)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		l.count.LinesSent.WithLabelValues(l.name, "failed").Add(float64(lines))
		l.count.Retries.WithLabelValues(l.name).Inc()
		switch l.pause(ctx, replaced, breaker.failed(err)) {
		case pauseEnded:
			return false
		case pauseCut:
			breaker = l.newBreaker() // another sink, which has not failed yet
		}
	}
}

// canaries tells of those among views that were not refused.
func (l *Lane) canaries(views []record.View, rejected *sink.RejectedError) {
	if l.arrived == nil {
		return
	}
	for i, v := range views {
		refused := rejected != nil && slices.ContainsFunc(rejected.Entries, func(r sink.Rejection) bool { return r.View == i })
		if v.Batch.Source.Kind == record.KindCanary && !refused {
			l.arrived(l.name, time.Unix(0, v.Batch.Entries[v.To-1].Time))
		}
	}
}

func (l *Lane) send(ctx context.Context, views []record.View) error {
	start := time.Now()
	err := l.sink.send(ctx, views)
	l.count.SendDuration.WithLabelValues(l.name).Observe(time.Since(start).Seconds())
	return err
}

// report shows the state of deliveries; a spool that failed a moment ago is shown instead,
// or nobody would see it.
func (l *Lane) report(status health.Status, reason string) {
	if !l.queue.Broken() {
		l.board.Set(l.component(), status, reason)
	}
}

// bury writes refused entries to the dead letters, until the disk takes them.
func (l *Lane) bury(ctx context.Context, views []record.View, refused []sink.Rejection, first time.Time) bool {
	pause := l.newPauses()
	for {
		err := l.dead.Write(views, refused, first)
		if err == nil {
			break
		}
		l.log.Error("dead letters cannot be written; trying again", "error", err)
		l.board.Set(l.component(), health.Unhealthy, err.Error())
		if !task.Sleep(ctx, pause.next()) {
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

// close parks what is in memory in the spool and frees what the lane owns; left says what
// becomes of what finds no room there. The lane has ended.
func (l *Lane) close(left record.Outcome) error {
	l.quitting()
	select {
	case l.turn <- struct{}{}: // and keeps it
	case <-time.After(closeWait):
	}
	l.queue.Park(left)
	return errors.Join(l.queue.Close(), l.spool.Close(), l.dead.Close(), l.sink.close())
}
