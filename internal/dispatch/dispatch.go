// Package dispatch carries batches from the readers to every sink: one queue and one
// lane per sink, so that a dead sink holds up nobody else.
//
// A batch is delivered when every sink has accepted it, or has it on disk: in its
// spool, or as dead letters. Sends are tried again without end. When memory is full,
// sources that can wait (files) wait; those that cannot (follow streams) go to the
// sink's spool, and when that is full they are told so, and are asked again later.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/queue"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/task"
)

// ErrFull is returned by Deliver for a source that cannot wait, when a sink has no
// room in memory nor on disk.
var ErrFull = errors.New("no room in memory nor in the spool")

// Dispatcher fans batches out to its lanes. It is safe for concurrent use.
type Dispatcher struct {
	lanes []*Lane
	log   *slog.Logger

	ended chan struct{}

	mu    sync.Mutex
	freed chan struct{} // closed and replaced when a lane has got rid of something
}

// New returns a dispatcher over the lanes, at least one; nothing runs before Run.
func New(lanes []*Lane, log *slog.Logger) *Dispatcher {
	d := &Dispatcher{lanes: lanes, log: log, ended: make(chan struct{}), freed: make(chan struct{})}
	for _, l := range lanes {
		l.onFreed = d.broadcast
	}
	return d
}

// Run delivers until Drain has emptied the queues or ctx, which is scope's, ends. It
// blocks until its goroutines, which belong to a child of scope, have ended.
func (d *Dispatcher) Run(ctx context.Context, scope *task.Scope) {
	lanes := scope.Child("sinks")
	var wg sync.WaitGroup
	for _, l := range d.lanes {
		wg.Add(1)
		ended := sync.OnceFunc(wg.Done)
		context.AfterFunc(lanes.Context(), ended) // one that panicked may not come back
		lanes.Go("spool", l.queue.Run)
		lanes.Go("lane", func(ctx context.Context) { l.run(ctx); ended() })
	}
	wg.Wait()
	_ = lanes.Close(context.WithoutCancel(ctx))
	close(d.ended)
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
	for _, l := range d.lanes {
		l.quitting()
		l.queue.Drain()
	}
}

// Close fails what is still in memory, so that it is read again after a restart, and
// closes queues, spools, dead letters and sinks.
func (d *Dispatcher) Close() error {
	var errs []error
	for _, l := range d.lanes {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

// Lanes returns the lanes, for their figures.
func (d *Dispatcher) Lanes() []*Lane { return d.lanes }

func (d *Dispatcher) broadcast() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.freed)
	d.freed = make(chan struct{})
}

func (d *Dispatcher) waiter() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.freed
}

// Deliver gives the batch to every lane. See pool.Dispatcher for the contract.
func (d *Dispatcher) Deliver(ctx context.Context, b *record.Batch) error {
	if err := d.admit(ctx, b); err != nil {
		b.Done(record.Failed)
		return err
	}
	b.Retain(len(d.lanes)) // and our own, so that b lives until all have been asked
	var errs []error
	for _, l := range d.lanes {
		errs = append(errs, d.give(ctx, l, b))
	}
	b.Done(record.Delivered)
	return errors.Join(errs...)
}

// admit waits, for a source that can, until every lane has room for it and some lane
// has in memory; the others take it to their spools. For other sources it makes sure
// that no lane refuses after another has accepted.
func (d *Dispatcher) admit(ctx context.Context, b *record.Batch) error {
	for {
		freed := d.waiter()
		memory, everywhere := d.room(b.Source.ID)
		switch {
		case b.Source.CanWait && everywhere && memory:
			return nil
		case !b.Source.CanWait && everywhere:
			return nil
		case !b.Source.CanWait:
			return ErrFull
		}
		if err := wait(ctx, freed); err != nil {
			return err
		}
	}
}

// room tells whether some lane has room for a source in memory, and whether every lane
// has in memory or on disk.
func (d *Dispatcher) room(sourceID string) (memory, everywhere bool) {
	everywhere = true
	for _, l := range d.lanes {
		inMemory, onDisk := l.queue.Free(sourceID)
		memory = memory || inMemory
		everywhere = everywhere && (inMemory || onDisk)
	}
	return memory, everywhere
}

// give hands b to one lane, which answers for it.
func (d *Dispatcher) give(ctx context.Context, l *Lane, b *record.Batch) error {
	for {
		freed := d.waiter()
		err := l.queue.Put(b)
		if err == nil {
			return nil
		}
		// The only sink's spool is no place for what can stay in its file.
		stays := b.Source.CanWait && len(d.lanes) == 1 && errors.Is(err, queue.ErrFull)
		if !stays && !errors.Is(err, queue.ErrClosed) {
			err = l.queue.Spill(b)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, queue.ErrFull) && b.Source.CanWait:
			err = wait(ctx, freed)
			if err == nil {
				continue
			}
			b.Done(record.Failed)
		case errors.Is(err, queue.ErrFull):
			b.Done(record.Failed)
			err = ErrFull
		case errors.Is(err, queue.ErrClosed):
			b.Done(record.Failed)
		default: // the queue has answered, and the lane counts and reports it
			l.count.LinesDropped.WithLabelValues(l.name, readAgain).Add(float64(len(b.Entries)))
			return nil
		}
		return fmt.Errorf("queue for sink %s: %w", l.name, err)
	}
}

// WaitRoom blocks until every lane has room for the source, in memory or on disk.
func (d *Dispatcher) WaitRoom(ctx context.Context, sourceID string) error {
	for {
		freed := d.waiter()
		if _, everywhere := d.room(sourceID); everywhere {
			return nil
		}
		if err := wait(ctx, freed); err != nil {
			return err
		}
	}
}

// recheck bounds a wait for room that nobody announces: a spool's recovery.
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
