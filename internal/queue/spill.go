package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// spill appends b to the spool, and answers Failed after any error.
func (q *Queue) spill(b *record.Batch) error {
	heavy, err := q.append(b)
	if heavy {
		q.sync() // the disk is slow: whoever fills memory waits for it
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrClosed) {
		q.failed(err)
	}
	q.refuse(b, true)
	return err
}

// brokenTime is how long a spool that failed is left alone, unless Options.Rest says so.
const brokenTime = 5 * time.Second

// Broken tells whether the spool failed a moment ago and is left alone.
func (q *Queue) Broken() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Now().Before(q.broken)
}

func (q *Queue) failed(err error) {
	q.mu.Lock()
	q.broken = time.Now().Add(cmp.Or(q.o.Rest, brokenTime))
	q.mu.Unlock()
	q.o.OnError(err)
}

// append appends b, and before it what its source has in memory: from now on all that
// comes of the source is in the spool, and in order there, also after a restart.
func (q *Queue) append(b *record.Batch) (heavy bool, err error) {
	q.spillMu.Lock()
	defer q.spillMu.Unlock()
	id := b.Source.ID
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false, ErrClosed
	}
	var older []item
	if q.spooled[id] == 0 && !q.o.FreshFirst {
		older = q.flows.extract(id)
		for i := range older {
			q.uncharge(&older[i])
			q.lines -= int64(older[i].left())
		}
	}
	q.mu.Unlock()
	for i := range older {
		if _, err := q.appendOne(older[i].batch); err != nil {
			q.restore(older[i:])
			return false, err
		}
	}
	return q.appendOne(b)
}

// restore puts items back into memory: they are all that their source has there.
func (q *Queue) restore(items []item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range items {
		it := items[i]
		it.flow = q.flows.charge(it.batch.Source, it.bytes)
		it.flow.items.push(it)
		q.flows.queue(it.flow)
		q.used += it.bytes
		q.lines += int64(it.left())
	}
}

func (q *Queue) appendOne(b *record.Batch) (heavy bool, err error) {
	id := b.Source.ID
	q.mu.Lock()
	q.seq++
	it := item{batch: b, seq: q.seq, bytes: b.Size()}
	q.spooled[id]++ // before the append: the source's next batch must not overtake
	q.mu.Unlock()

	err = q.spool.Append(b, it.seq)

	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.gone(id)
		return false, fmt.Errorf("spill a batch of %s: %w", id, err)
	}
	q.pending = append(q.pending, it)
	q.pendingN += int64(len(b.Arena))
	q.used += it.bytes
	q.lines += int64(len(b.Entries))
	q.pendingLines += int64(len(b.Entries))
	if signal(q.dirty); q.pendingN >= SyncBytes {
		signal(q.heavy)
	}
	return q.pendingN >= min(4*SyncBytes, q.o.MaxBytes/4), nil
}

// gone counts one batch of a source less in the spool.
func (q *Queue) gone(id string) {
	if q.spooled[id]--; q.spooled[id] <= 0 {
		delete(q.spooled, id)
	}
}

// Run syncs the spool while there is something to sync, at most every SyncInterval or
// SyncBytes, until ctx ends; then once more.
func (q *Queue) Run(ctx context.Context) {
	defer q.sync()
	t := time.NewTimer(SyncInterval)
	defer t.Stop()
	for {
		select {
		case <-q.dirty:
		case <-ctx.Done():
			return
		}
		t.Reset(SyncInterval)
		select {
		case <-t.C:
		case <-q.heavy:
		case <-ctx.Done():
			return
		}
		q.sync()
	}
}

func (q *Queue) sync() { _ = q.Sync() }

// Sync makes durable what was spilled and answers for it. Run and Close call it; the
// error, of which OnError was told, is for callers who wait for it.
func (q *Queue) Sync() error {
	q.syncing <- struct{}{}
	defer func() { <-q.syncing }()
	durable, dropped, err := q.spool.Sync()
	if errors.Is(err, spool.ErrClosed) {
		durable, dropped = 0, ^uint64(0)
	}
	q.spillMu.Lock() // every append that the sync reached is in pending now
	q.mu.Lock()
	end := max(durable, dropped)
	n := slices.IndexFunc(q.pending, func(it item) bool { return it.seq > end })
	if n < 0 {
		n = len(q.pending)
	}
	answered := slices.Clone(q.pending[:n])
	q.pending = slices.Delete(q.pending, 0, n)
	for i := range answered {
		it := &answered[i]
		q.used -= it.bytes
		q.lines -= int64(len(it.batch.Entries))
		q.pendingLines -= int64(len(it.batch.Entries))
		q.pendingN -= int64(len(it.batch.Arena))
		if it.seq > durable {
			q.gone(it.batch.Source.ID)
		}
	}
	if n > 0 {
		signal(q.ready)
	}
	q.mu.Unlock()
	q.spillMu.Unlock()
	for _, it := range answered {
		if it.seq <= durable {
			q.answer(it.batch, record.Delivered)
		} else {
			q.refuse(it.batch, true)
		}
	}
	if n > 0 {
		q.o.OnFreed()
	}
	if err != nil && (n > 0 || !errors.Is(err, spool.ErrClosed)) {
		q.failed(err)
		return err
	}
	return nil
}
