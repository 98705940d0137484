// Package dispatch carries batches from the readers to every sink: one queue and one
// lane per sink, so that a dead sink holds up nobody else.
//
// A batch is delivered when every required sink has accepted it, or has it on disk: in
// its spool, or as dead letters. Nobody waits for best_effort sinks: what finds no room
// in theirs is dropped for them, and counted. Sends are tried again without end. When
// memory is full, sources that can wait (files) wait; those that cannot (follow streams)
// go to the sink's spool. When that is full too they are told so, and are asked again
// later, or lines are dropped and counted: SpoolConfig.WhenFull.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/queue"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/task"
)

// ErrFull is returned by Deliver for a source that cannot wait, when a sink has no
// room in memory nor on disk.
var ErrFull = queue.ErrFull

// Dispatcher fans batches out to its lanes. It is safe for concurrent use.
type Dispatcher struct {
	log     *slog.Logger
	count   *metrics.Metrics
	limiter atomic.Pointer[limiter] // nil when there is no limit
	running sync.WaitGroup          // lanes
	ended   chan struct{}
	lines   atomic.Int64 // that the lanes were given; stands still while change is held for writing

	change   sync.RWMutex // guards what follows; held while a batch goes to the lanes
	lanes    []*Lane      // those that sources wait for first
	required int          // how many these are
	scope    *task.Scope  // the lanes'; nil before Run
	absent   map[string]absence

	mu    sync.Mutex
	freed chan struct{} // closed and replaced when a lane has got rid of something
}

// New returns a dispatcher over the lanes, at least one; nothing runs before Run.
func New(lanes []*Lane, limits RateLimitConfig, count *metrics.Metrics, log *slog.Logger) *Dispatcher {
	d := &Dispatcher{count: count, log: log, absent: map[string]absence{}, ended: make(chan struct{}), freed: make(chan struct{})}
	d.limiter.Store(newLimiter(limits))
	for _, l := range lanes {
		l.onFreed = d.broadcast
	}
	d.set(lanes)
	return d
}

// set makes lanes those of the dispatcher. change is held.
func (d *Dispatcher) set(lanes []*Lane) {
	d.lanes, d.required = slices.Clone(lanes), 0
	slices.SortStableFunc(d.lanes, func(a, b *Lane) int { return cmp.Compare(a.rank(), b.rank()) })
	for _, l := range lanes {
		if !l.bestEffort {
			d.required++
		}
	}
}

// Run delivers until Drain has emptied the queues or ctx, which is scope's, ends. It
// blocks until its goroutines, which belong to a child of scope, have ended.
func (d *Dispatcher) Run(ctx context.Context, scope *task.Scope) {
	d.change.Lock()
	d.scope = scope.Child("sinks")
	for _, l := range d.lanes {
		d.start(l)
	}
	d.change.Unlock()
	d.running.Wait()
	_ = d.scope.Close(context.WithoutCancel(ctx))
	close(d.ended)
}

// start starts a lane. change is held.
func (d *Dispatcher) start(l *Lane) {
	d.running.Add(1)
	l.scope, l.done = d.scope.Child(l.name), make(chan struct{})
	l.over = sync.OnceFunc(func() { close(l.done); d.running.Done() })
	context.AfterFunc(l.scope.Context(), l.over) // one that panicked may not come back
	l.scope.Go("spool", l.queue.Run)
	l.begin()
}

// Drained waits until Run has ended, and tells whether it did before ctx.
func (d *Dispatcher) Drained(ctx context.Context) bool {
	select {
	case <-d.ended:
		return true
	case <-ctx.Done():
		return false
	}
}

// Drain tells the lanes to deliver what is there without waiting for more, and to end then.
func (d *Dispatcher) Drain() {
	for _, l := range d.Lanes() {
		l.quitting()
		l.queue.Drain()
		l.overIfOff()
	}
}

// Close fails what is still in memory, so that it is read again after a restart, and
// closes queues, spools, dead letters and sinks.
func (d *Dispatcher) Close() error {
	d.change.Lock()
	defer d.change.Unlock()
	var errs []error
	for _, l := range d.lanes {
		errs = append(errs, l.close(record.Failed))
	}
	return errors.Join(errs...)
}

// Lanes returns the lanes, for their figures.
func (d *Dispatcher) Lanes() []*Lane {
	d.change.RLock()
	defer d.change.RUnlock()
	return slices.Clone(d.lanes)
}

// Lines returns the lines that the lanes were given, each counted once.
func (d *Dispatcher) Lines() int64 { return d.lines.Load() }

func (d *Dispatcher) broadcast() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.freed)
	d.freed = make(chan struct{})
}

// Freed returns a channel that is closed when a lane has got rid of something. To be had
// before it is asked whether there is room.
func (d *Dispatcher) Freed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.freed
}

// Deliver gives the batch to every lane. See pool.Dispatcher for the contract. Room is
// kept in all lanes before the first of them has the batch, so that none refuses what
// another has taken. Only a lane whose spool fails then has the batch read again, and
// the others get it twice.
func (d *Dispatcher) Deliver(ctx context.Context, b *record.Batch) error {
	disk, drop, err := d.limit(ctx, b)
	if err != nil {
		b.Done(record.Failed)
		return err
	}
	if drop {
		d.dropAll(b)
		return nil
	}
	for {
		freed := d.Freed()
		err := d.handOver(b, disk)
		if errors.Is(err, queue.ErrFull) && b.Source.CanWait {
			if err = wait(ctx, freed); err == nil {
				continue
			}
		}
		if err != nil {
			b.Done(record.Failed)
		}
		return err
	}
}

// handOver gives b to all lanes or to none. An error leaves it to the caller.
func (d *Dispatcher) handOver(b *record.Batch, disk bool) error {
	d.change.RLock() // nobody closes between the two steps
	defer d.change.RUnlock()
	var few [4]place
	places := few[:]
	if len(d.lanes) > len(few) {
		places = make([]place, len(d.lanes))
	}
	if err := d.reserve(b, disk, places); err != nil {
		return err
	}
	// The caller holds it too, so it lives until all lanes have it.
	b.Retain(d.required)
	b.Lend(len(d.lanes) - d.required)
	d.lines.Add(int64(len(b.Entries)))
	// Memory first: a slow disk holds up no lane that needs none.
	for _, memory := range []bool{true, false} {
		for i, l := range d.lanes {
			if places[i].Memory == memory {
				l.give(b, places[i])
			}
		}
	}
	b.Done(record.Delivered)
	return nil
}

// reserve keeps room for b in every lane, first in those that sources wait for. A source
// that can wait does so until one of the lanes has room in memory: the spool is no place
// for what can stay in its file, unless another sink goes on.
func (d *Dispatcher) reserve(b *record.Batch, disk bool, places []place) error {
	memory := false
	for i, l := range d.lanes {
		p, err := l.reserve(b, disk)
		if err != nil {
			d.cancel(places[:i])
			return fmt.Errorf("queue for sink %s: %w", l.name, err)
		}
		places[i] = p
		memory = memory || p.Memory
		if b.Source.CanWait && i == d.required-1 && !memory && !d.othersGoOn(b.Source.ID) {
			d.cancel(places[:i+1])
			return queue.ErrFull
		}
	}
	return nil
}

// othersGoOn tells whether a best_effort sink has room for a source in memory.
func (d *Dispatcher) othersGoOn(sourceID string) bool {
	for _, l := range d.lanes[d.required:] {
		if memory, _ := l.queue.Free(sourceID, true); memory {
			return true
		}
	}
	return false
}

func (d *Dispatcher) cancel(places []place) {
	for i, p := range places {
		d.lanes[i].cancel(p)
	}
}

// room tells whether every lane that sources wait for has room for this one, in memory
// or on disk.
func (d *Dispatcher) room(sourceID string) bool {
	d.change.RLock()
	defer d.change.RUnlock()
	for _, l := range d.lanes[:d.required] {
		if memory, disk := l.queue.Free(sourceID, false); !memory && !disk {
			return false
		}
	}
	return true
}

// Ready tells whether Deliver would take the next batch of a source that can wait
// without waiting: what a reader asks before it reads, so that it holds up nobody else.
func (d *Dispatcher) Ready(sourceID string) bool {
	if l := d.limiter.Load(); l != nil && l.policy == LimitDelay && l.spent(sourceID, time.Now()) {
		return false
	}
	d.change.RLock()
	defer d.change.RUnlock()
	inMemory := d.required == 0
	for i, l := range d.lanes {
		memory, disk := l.queue.Free(sourceID, true)
		inMemory = inMemory || memory
		if i < d.required && !memory && !disk {
			return false
		}
	}
	return inMemory
}

// WaitRoom blocks until every lane has room for the source, in memory or on disk.
func (d *Dispatcher) WaitRoom(ctx context.Context, sourceID string) error {
	for {
		freed := d.Freed()
		if d.room(sourceID) {
			return nil
		}
		if err := wait(ctx, freed); err != nil {
			return err
		}
	}
}

// recheck bounds a wait whose end nobody announces: a spool's recovery, or another limit.
const recheck = time.Second

func wait(ctx context.Context, freed <-chan struct{}) error {
	timer := time.NewTimer(recheck)
	defer timer.Stop()
	select {
	case <-freed:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
