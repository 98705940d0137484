// Package queue holds what waits for one sink: batches in memory, and behind them, on
// disk, those of a spool.
//
// Batches of one source leave in the order in which they came, unless Options.FreshFirst.
// For that a source with anything in the spool does not go back to memory before the spool
// has given it out.
// The sources in memory, and the spool as one of them, take turns: see flow.
//
// A batch comes in two steps: Reserve keeps room for it, in memory or on disk, or says
// that there is none; Give hands it over and is not refused. So whoever has several
// queues can ask all of them before one has the batch.
//
// The queue answers for every batch it took, exactly once: Delivered when the sink has
// it (Ack) or when it is on disk (after fsync); Failed when the disk refused it or the
// queue closes with it still in memory. Many goroutines may put, one takes. The queue
// has no goroutine: Run is the caller's to run. The spool is the caller's to close,
// after the queue.
package queue

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// What Reserve and Take say when they do not take or give.
var (
	// ErrFull means that there is no room now, neither in memory nor on disk.
	ErrFull = errors.New("no room in memory nor in the spool")
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
	// MaxBytes is the share of memory: batches are taken into it while less is held, so
	// one batch more than this may be.
	MaxBytes int64
	// ReadAhead is the part of it that sources which can wait may have together; 0 = all of
	// it. More than what keeps the taker busy makes nothing faster.
	ReadAhead int64
	// BestEffort says that nobody waits for this queue's answers: batches are lent to it
	// (Batch.Lend), and it returns them instead of answering.
	BestEffort bool
	// FreshFirst says that what comes goes to memory whenever there is room, also beside
	// older batches of its source in the spool: order is kept among each of the two alone.
	FreshFirst bool
	// SpoolRate bounds how fast the spool gives out, in bytes of lines a second, beside its
	// turns; 0 = not. Not after Drain.
	SpoolRate int64
	// Rest is how long a spool that failed is left alone: nothing has room in it then.
	// 0 means 5 seconds.
	Rest time.Duration
	// OnError is told of failed appends and syncs; it must not call the queue. The
	// batches concerned are answered Failed.
	OnError func(error)
	// OnFailed is told how many lines of accepted batches are not kept, and whether their
	// source reads them again: it was answered Failed.
	OnFailed func(lines int, again bool)
	// OnFreed is called when room was made without the taker's doing.
	OnFreed func()
}

// item is a batch in the queue.
type item struct {
	batch *record.Batch
	seq   uint64 // in the spool
	bytes int64  // memory it is charged with
	flow  *flow  // which it is charged to; nil while it is on its way to the spool
	from  int    // entries before it are delivered
	disk  bool   // it came out of the spool
	alone bool   // the spool has forgotten it, and its source too
}

func (it *item) left() int { return len(it.batch.Entries) - it.from }

// Queue is the queue of one sink.
type Queue struct {
	spool *spool.Spool
	o     Options

	spillMu sync.Mutex // keeps appends in order of their numbers; taken before mu
	readMu  sync.Mutex // one reads the spool at a time; taken before statMu
	statMu  sync.Mutex // keeps Stats out of an Ack; taken before mu

	// syncing has a token during a sync, which may take its time; taken before spillMu.
	syncing chan struct{}

	ready chan struct{} // wakes the taker
	dirty chan struct{} // wakes Run
	heavy chan struct{} // tells Run not to wait

	mu       sync.Mutex
	closed   bool
	draining bool
	drain    chan struct{} // closed by Drain and Close
	seq      uint64
	flows    flows
	pending  []item // appended to the spool and not synced
	pendingN int64  // their bytes

	pendingLines int64
	spooled      map[string]int // batches in the spool, pending ones too, by source
	back         []item         // released by a lease: the head of the queue
	disk         *item          // the spool's next batch, read ahead
	pace         pace
	lease        *Lease
	used         int64
	broken       time.Time // until when the spool is not tried again after a failure
	lines        int64     // in memory, not delivered; pending and leased ones too
	ahead        int64     // lines of a batch in the spool that are delivered in parts
}

// New returns a queue over an open spool.
func New(sp *spool.Spool, o Options) *Queue {
	q := &Queue{
		flows: flows{byID: map[string]*flow{}},
		spool: sp, o: o, seq: sp.LastSeq(), spooled: sp.Sources(),
		ready: make(chan struct{}, 1), dirty: make(chan struct{}, 1), heavy: make(chan struct{}, 1),
		drain: make(chan struct{}), syncing: make(chan struct{}, 1),
	}
	if q.o.OnError == nil {
		q.o.OnError = func(error) {}
	}
	if q.o.OnFailed == nil {
		q.o.OnFailed = func(int, bool) {}
	}
	if q.o.OnFreed == nil {
		q.o.OnFreed = func() {}
	}
	return q
}

// uncharge gives the memory of an item back.
func (q *Queue) uncharge(it *item) {
	q.used -= it.bytes
	if it.flow != nil {
		q.flows.free(it.flow, it.bytes)
	}
}

// inMemory takes all items that wait in memory out of it, each source's in order, and the
// sources by their IDs.
func (q *Queue) inMemory() (out []item) {
	for _, id := range slices.Sorted(maps.Keys(q.flows.byID)) {
		out = append(out, q.flows.extract(id)...)
	}
	return out
}

// Drain ends lingering: from now on Take returns at once what there is, and ErrDrained
// when there is nothing. For the shutdown, after the last Give.
func (q *Queue) Drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.draining {
		q.draining = true
		close(q.drain)
		q.spoolTurn()
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
	q.pace.stop()
	q.mu.Unlock()

	q.spillMu.Lock()
	q.spillMu.Unlock() //nolint:staticcheck // an append that was on its way is in pending now
	err := q.Sync()

	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropLocked()
	signal(q.ready)
	return err
}

// Set changes MaxBytes, ReadAhead, FreshFirst and SpoolRate to those of o.
func (q *Queue) Set(o Options) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if o.SpoolRate != q.o.SpoolRate {
		q.pace.at = time.Time{} // it was reckoned by the other
	}
	q.o.MaxBytes, q.o.ReadAhead, q.o.FreshFirst, q.o.SpoolRate = o.MaxBytes, o.ReadAhead, o.FreshFirst, o.SpoolRate
	q.spoolTurn()
}

// Park moves what is in memory to the spool, before Close, so that it is neither lost
// nor sent twice when the spool is opened again. What the spool has no room for is
// answered as left says: Failed has it read again, after Delivered it is lost. Only what
// was being sent last, a request and the rest of its last batch, comes out behind newer
// batches of its source that were in the spool already.
func (q *Queue) Park(left record.Outcome) {
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
	park = append(park, q.inMemory()...)
	for i := range park {
		q.uncharge(&park[i])
		q.lines -= int64(park[i].left())
	}
	q.mu.Unlock()
	for i := range park {
		b := rest(park[i])
		if p, err := q.reserveDisk(b); err != nil {
			q.forgo(b, left, !park[i].alone)
		} else {
			_ = q.Give(b, p) // OnError was told
		}
		if q.o.BestEffort && park[i].from > 0 {
			park[i].batch.Return() // only its rest was given, which nobody asks for an answer
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

// answer ends the queue's interest in a batch.
func (q *Queue) answer(b *record.Batch, o record.Outcome) {
	if q.o.BestEffort {
		b.Return()
		return
	}
	b.Done(o)
}

// refuse answers for a batch that was accepted and is not kept.
func (q *Queue) refuse(b *record.Batch, again bool) { q.forgo(b, record.Failed, again) }

// forgo answers o for a batch that was accepted and is not kept. again tells that its
// source would read it again after Failed.
func (q *Queue) forgo(b *record.Batch, o record.Outcome, again bool) {
	q.o.OnFailed(len(b.Entries), again && o == record.Failed && !q.o.BestEffort)
	q.answer(b, o)
}

// dropLocked answers Failed for everything in memory but a lease. It is called with mu
// held, and lets go of it to answer.
func (q *Queue) dropLocked() {
	failed := append(q.back, q.inMemory()...)
	if q.disk != nil {
		failed = append(failed, *q.disk)
	}
	q.back, q.disk = nil, nil
	for i := range failed {
		if it := &failed[i]; it.disk {
			q.ahead -= int64(it.from)
		} else {
			q.uncharge(it)
			q.lines -= int64(it.left())
		}
	}
	q.mu.Unlock()
	for i := range failed {
		it := &failed[i]
		if !it.disk {
			q.o.OnFailed(it.left(), !it.alone && !q.o.BestEffort)
		}
		q.answer(it.batch, record.Failed)
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
	// Oldest is the time of the oldest entry that is next of its source or of the spool;
	// zero when there is none, or when it is on disk and was not looked at yet.
	Oldest time.Time
	// Damage is what the spool found broken.
	Damage spool.Damage
}

// Stats returns the numbers of the moment. A line is in one of MemoryLines and
// SpoolLines from Give to its acknowledgement.
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
	if oldest := q.oldestTime(); oldest != 0 {
		st.Oldest = time.Unix(0, oldest).UTC()
	}
	return st
}

func (q *Queue) oldestTime() (oldest int64) {
	look := func(it *item) {
		if it.left() > 0 {
			if at := it.batch.Entries[it.from].Time; oldest == 0 || at < oldest {
				oldest = at
			}
		}
	}
	if q.lease != nil {
		for i := range q.lease.items {
			look(&q.lease.items[i])
		}
	}
	for i := range q.back {
		look(&q.back[i])
	}
	if q.disk != nil {
		look(q.disk)
	}
	for _, f := range q.flows.byID {
		if f.items.len() > 0 {
			look(f.items.get(0))
		}
	}
	return oldest
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
