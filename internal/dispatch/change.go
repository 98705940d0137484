package dispatch

import (
	"context"
	"slices"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// Change is what a dispatcher is to become while it runs.
type Change struct {
	Config Config
	// Memory is each lane's share of what may be in flight, in bytes.
	Memory int64
	// Sinks take the place of those of lanes that stay, by name.
	Sinks map[string]sink.Sink
	// Add are new lanes, Remove the names of those that go.
	Add    []*Lane
	Remove []string
}

// Change applies c, and nothing in it fails. Lanes that stay keep what they hold, and
// deliver it to their new sink. What a lane that goes holds is parked in its spool, where
// it stays; what finds no room there is dropped for it, and counted. Batches that come
// meanwhile have the lanes of before or those of after. Deliveries under way that are in
// the way may take until ctx ends. Not beside Drain or Close.
func (d *Dispatcher) Change(ctx context.Context, c Change) {
	if old := d.limiter.Load(); old == nil || !old.is(c.Config.RateLimit) {
		d.limiter.Store(newLimiter(c.Config.RateLimit))
	}
	gone := d.exchange(c) //nolint:contextcheck // new lanes live as long as the others
	for _, l := range gone {
		l.retire(ctx)
		d.remember(l)
	}
	for _, l := range d.Lanes() {
		l.change(ctx, c)
	}
	d.broadcast()
}

// exchange adds and removes lanes, between two batches.
func (d *Dispatcher) exchange(c Change) (gone []*Lane) {
	d.change.Lock()
	defer d.change.Unlock()
	lanes := slices.Clone(d.lanes)
	lanes = slices.DeleteFunc(lanes, func(l *Lane) bool {
		if !slices.Contains(c.Remove, l.name) {
			return false
		}
		gone = append(gone, l)
		d.absent[l.name] = absence{since: d.lines.Load(), missed: l.missed}
		return true
	})
	for _, l := range c.Add {
		l.onFreed = d.broadcast
		was := d.absent[l.name]
		l.restored += was.restored
		l.missed = was.missed + d.lines.Load() - was.since
	}
	d.set(append(lanes, c.Add...))
	if d.scope != nil {
		for _, l := range c.Add {
			d.start(l)
		}
	}
	return gone
}

// absence is what is kept of a lane that is not there, so that the books of one of that
// name are right: its counters go on where they were.
type absence struct{ since, missed, restored int64 }

// remember notes what a lane leaves behind that has ended: what is in its spool is no new
// line when it comes back.
func (d *Dispatcher) remember(l *Lane) {
	d.change.Lock()
	defer d.change.Unlock()
	a := d.absent[l.name]
	a.restored = l.restored - l.spool.Lines()
	d.absent[l.name] = a
}

// change gives a lane that stays its new settings.
func (l *Lane) change(ctx context.Context, c Change) {
	l.config.Store(&c.Config)
	l.queue.Set(c.Config.queue(c.Memory))
	l.spool.SetMax(int64(c.Config.Spool.MaxBytes))
	l.dead.SetCaps(int64(c.Config.Dead.MaxBytes), c.Config.Dead.MaxAge.Std())
	if s := c.Sinks[l.name]; s != nil {
		if l.off.Load() {
			_ = s.Close() // it was never used; SwitchOn brings its own
			return
		}
		if err := l.sink.replace(ctx, s); err != nil {
			l.log.Warn("the sink of before did not end as it should", "error", err)
		}
	}
}

// Discard closes a lane that is not used after all.
func (l *Lane) Discard() error {
	l.board.Remove(l.component())
	return l.close(record.Failed)
}

// retire ends a lane that gets nothing more, and closes it.
func (l *Lane) retire(ctx context.Context) {
	l.quitting()
	l.leaving()
	l.overIfOff()
	if l.scope != nil {
		select {
		case <-l.done:
		case <-ctx.Done():
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
		defer cancel()
		if err := l.scope.Close(bounded); err != nil {
			l.log.Error("a sink that was removed does not end", "error", err)
		}
	}
	if err := l.close(record.Delivered); err != nil {
		l.log.Error("a sink that was removed did not close as it should", "error", err)
	}
	l.board.Remove(l.component())
	if left := l.spool.Stats(); left.Lines > 0 {
		l.log.Warn("the sink was removed; what it did not take stays in its spool until it is there again", "lines", left.Lines)
	}
}
