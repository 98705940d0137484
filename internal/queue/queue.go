// Package queue holds what waits for one sink: batches in memory, and behind them, on
// disk, those of a spool.
//
// Every batch gets a sequence number when it comes, and Take goes on with the lowest
// that there is, in memory or on disk, so batches of one source leave in the order in
// which they came. For that a source with anything in the spool may not go back to
// memory before the spool has given it out (ErrSpooling).
//
// The queue answers for every batch it took, exactly once: Delivered when the sink has
// it (Ack) or when it is on disk (after fsync); Failed when the disk refused it or the
// queue closes with it still in memory. Many goroutines may put, one takes. The queue
// has no goroutine: Run is the caller's to run. The spool is the caller's to close,
// after the queue.
package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// What Put, Spill and Take say when they do not take or give. After one of these from
// Put or Spill the batch is still the caller's.
var (
	// ErrFull means that there is no room now; Room tells when to try again.
	ErrFull = errors.New("the queue is full")
	// ErrSpooling means that the source has batches in the spool, which this one must follow:
	// Spill it, or wait for Room and try again.
	ErrSpooling = errors.New("the source has entries in the spool")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("the queue is closed")
	// ErrDrained is what Take says after Drain when nothing is left.
	ErrDrained = errors.New("the queue is drained")
	// ErrLeased means that the last lease is neither acknowledged nor released.
	ErrLeased = errors.New("the queue has a lease out")
)

// How long appended batches wait at most for the fsync that they share, and from how
// many bytes on they do not wait. With the fsync itself 99 of 100 are to be answered
// within 50 ms.
const (
	SyncInterval = 20 * time.Millisecond
	SyncBytes    = 1 << 20
)

// Options are the settings of a queue.
type Options struct {
	// MaxBytes is the share of memory: Put takes batches while less is held, so one
	// batch more than this may be.
	MaxBytes int64
	// OnError is told of failed appends and syncs; it must not call the queue. The
	// batches concerned are answered Failed.
	OnError func(error)
	// OnFailed is told how many lines of accepted batches were answered Failed by it.
	OnFailed func(lines int)
	// OnFreed is called when room was made without the taker's doing.
	OnFreed func()
}

// item is a batch in the queue.
type item struct {
	batch *record.Batch
	seq   uint64
	bytes int64 // memory it is charged with
	from  int   // entries before it are delivered
	disk  bool  // it came out of the spool
}

func (it *item) left() int { return len(it.batch.Entries) - it.from }

// Queue is the queue of one sink.
type Queue struct {
	spool *spool.Spool
	o     Options

	spillMu sync.Mutex // keeps appends in order of their numbers; taken before mu
	syncMu  sync.Mutex // one sync at a time; taken before spillMu
	statMu  sync.Mutex // keeps Stats out of an Ack; taken before mu

	ready chan struct{} // wakes the taker
	dirty chan struct{} // wakes Run
	heavy chan struct{} // tells Run not to wait

	mu       sync.Mutex
	closed   bool
	draining bool
	drain    chan struct{} // closed by Drain and Close
	room     chan struct{} // closed and replaced when something was freed
	seq      uint64
	memory   fifo
	pending  []item // appended to the spool and not synced
	pendingN int64  // their bytes

	pendingLines int64
	spooled      map[string]int // batches in the spool, pending ones too, by source
	back         []item         // released by a lease: the head of the queue
	disk         *item          // the spool's next batch, read ahead
	lease        *Lease
	used         int64
	broken       time.Time // until when the spool is not tried again after a failure
	lines        int64     // in memory, not delivered; pending and leased ones too
	ahead        int64     // lines of a batch in the spool that are delivered in parts
}

// New returns a queue over an open spool.
func New(sp *spool.Spool, o Options) *Queue {
	q := &Queue{
		spool: sp, o: o, seq: sp.LastSeq(), spooled: sp.Sources(),
		ready: make(chan struct{}, 1), dirty: make(chan struct{}, 1), heavy: make(chan struct{}, 1),
		drain: make(chan struct{}), room: make(chan struct{}),
	}
	if q.o.OnError == nil {
		q.o.OnError = func(error) {}
	}
	if q.o.OnFailed == nil {
		q.o.OnFailed = func(int) {}
	}
	if q.o.OnFreed == nil {
		q.o.OnFreed = func() {}
	}
	return q
}

// Put takes b into memory, or returns ErrFull, ErrSpooling or ErrClosed.
func (q *Queue) Put(b *record.Batch) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case q.spooled[b.Source.ID] > 0:
		return ErrSpooling
	case q.used >= q.o.MaxBytes:
		return ErrFull
	}
	it := q.number(b)
	q.memory.push(it)
	q.used += it.bytes
	q.lines += int64(len(b.Entries))
	signal(q.ready)
	return nil
}

// number makes an item of b with the next sequence number.
func (q *Queue) number(b *record.Batch) item {
	q.seq++
	return item{batch: b, seq: q.seq, bytes: b.Size()}
}

// Free tells whether the next batch of a source finds room in memory, or in the
// spool. A source with entries in the spool has none in memory; a spool that failed
// has none for a while.
func (q *Queue) Free(sourceID string) (memory, disk bool) {
	q.mu.Lock()
	memory = q.used < q.o.MaxBytes && q.spooled[sourceID] == 0
	broken := time.Now().Before(q.broken)
	q.mu.Unlock()
	return memory, !broken && q.spool.Room()
}

// Room returns a channel that is closed when something leaves the queue, or when it is
// closed. Get it before the Put or Spill whose ErrFull or ErrSpooling it is to wait out.
func (q *Queue) Room() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.room
}

// PutWait is Put that waits out ErrFull and ErrSpooling, until ctx ends. After an error
// the batch is still the caller's.
func (q *Queue) PutWait(ctx context.Context, b *record.Batch) error {
	return q.retry(ctx, func() error { return q.Put(b) })
}

// SpillWait is Spill that waits out ErrFull, until ctx ends. After ErrClosed and after
// the error of ctx the batch is still the caller's; otherwise as Spill.
func (q *Queue) SpillWait(ctx context.Context, b *record.Batch) error {
	return q.retry(ctx, func() error { return q.Spill(b) })
}

func (q *Queue) retry(ctx context.Context, try func() error) error {
	for {
		room := q.Room()
		err := try()
		if !errors.Is(err, ErrFull) && !errors.Is(err, ErrSpooling) {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitRoom waits until there is room in memory, until ctx ends or the queue is closed.
func (q *Queue) WaitRoom(ctx context.Context) error {
	for {
		q.mu.Lock()
		full, closed, room := q.used >= q.o.MaxBytes, q.closed, q.room
		q.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case !full:
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// freed tells those who wait for room.
func (q *Queue) freed() {
	close(q.room)
	q.room = make(chan struct{})
}

// Drain ends lingering: from now on Take returns at once what there is, and ErrDrained
// when there is nothing. For the shutdown, after the last Put.
func (q *Queue) Drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.draining {
		q.draining = true
		close(q.drain)
	}
}

// Close syncs what was appended to the spool and answers Failed for all that is still
// in memory: it is read again after a restart. A lease that is still out is answered by
// its holder: Ack delivers, Release fails.
func (q *Queue) Close() error {
	q.Drain()
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	q.mu.Unlock()

	q.spillMu.Lock()
	q.spillMu.Unlock() //nolint:staticcheck // an append that was on its way is in pending now
	err := q.Sync()

	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropLocked()
	q.freed()
	signal(q.ready)
	return err
}

// Park moves what is in memory to the spool, before Close, so that it is neither lost
// nor sent twice after a restart. What the spool does not take stays. Only what was
// being sent last, a request at most, comes out behind newer batches of its source
// that were in the spool already.
func (q *Queue) Park() {
	q.mu.Lock()
	var park, stay []item
	for _, it := range q.back {
		if it.disk {
			stay = append(stay, it)
			continue
		}
		park = append(park, it)
	}
	q.back = stay
	for q.memory.len() > 0 {
		park = append(park, q.memory.pop())
	}
	for i := range park {
		q.used -= park[i].bytes
		q.lines -= int64(park[i].left())
	}
	q.mu.Unlock()
	for i := range park {
		b := rest(park[i])
		if err := q.Spill(b); errors.Is(err, ErrFull) || errors.Is(err, ErrClosed) {
			b.Done(record.Failed)
		}
	}
}

// rest returns what is left of a batch that was delivered in part, as a batch that
// answers for the whole.
func rest(it item) *record.Batch {
	if it.from == 0 {
		return it.batch
	}
	b := &record.Batch{Source: it.batch.Source, Arena: it.batch.Arena, Entries: it.batch.Entries[it.from:]}
	b.Retain(1)
	b.OnDone(it.batch.Done)
	return b
}

// dropLocked answers Failed for everything in memory but a lease. It is called with mu
// held, and lets go of it to answer.
func (q *Queue) dropLocked() {
	failed := q.back
	for q.memory.len() > 0 {
		failed = append(failed, q.memory.pop())
	}
	if q.disk != nil {
		failed = append(failed, *q.disk)
	}
	q.back, q.disk = nil, nil
	for i := range failed {
		if it := &failed[i]; it.disk {
			q.ahead -= int64(it.from)
		} else {
			q.used -= it.bytes
			q.lines -= int64(it.left())
		}
	}
	q.mu.Unlock()
	for i := range failed {
		failed[i].batch.Done(record.Failed)
	}
	q.mu.Lock()
}

// Stats are the queue's numbers at one moment.
type Stats struct {
	// MemoryBytes is the memory of the batches in memory; MemoryLines their lines that are
	// not delivered: leased and being written to the spool included.
	MemoryBytes, MemoryLines int64
	// SpoolBytes is the size of the spool's files; SpoolLines are the lines it answers for.
	SpoolBytes, SpoolLines int64
	// Oldest is the time of the entry that is next, zero when there is none or when it
	// is on disk and was not looked at yet.
	Oldest time.Time
	// Damage is what the spool found broken.
	Damage spool.Damage
}

// Stats returns the numbers of the moment. A line is in one of MemoryLines and
// SpoolLines from Put or Spill to its acknowledgement.
func (q *Queue) Stats() Stats {
	q.statMu.Lock()
	defer q.statMu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	sp := q.spool.Stats()
	st := Stats{
		MemoryBytes: q.used, MemoryLines: q.lines, SpoolBytes: sp.Bytes, Damage: sp.Damage,
		// Between a sync and its answers a batch still counts as ours in memory.
		SpoolLines: sp.Lines + sp.PendingLines - q.pendingLines - q.ahead,
	}
	if it := q.first(); it != nil && it.left() > 0 {
		st.Oldest = time.Unix(0, it.batch.Entries[it.from].Time).UTC()
	}
	return st
}

func (q *Queue) first() *item {
	if q.lease != nil && len(q.lease.items) > 0 {
		return &q.lease.items[0]
	}
	if len(q.back) > 0 {
		return &q.back[0]
	}
	it := q.disk
	if q.memory.len() > 0 && (it == nil || q.memory.head().seq < it.seq) {
		it = q.memory.head()
	}
	return it
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
