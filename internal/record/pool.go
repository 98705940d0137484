package record

import (
	"context"
	"sync"
)

// Arena sizes that are recycled. A quiet source takes a small one, so that two
// hundred of them at once do not cost fifty megabytes; a busy one fills large ones.
const (
	SmallArena = 4 << 10
	LargeArena = 256 << 10
)

var (
	classes = [...]int{SmallArena, 32 << 10, LargeArena}
	// kept bounds what an idle agent keeps of each class: about 6 MiB in all.
	kept = [len(classes)]int{64, 32, 20}
)

// Pool hands out batches within a budget of bytes and recycles them. It is safe
// for concurrent use.
type Pool struct {
	mu    sync.Mutex
	limit int64
	used  int64
	freed chan struct{} // closed and replaced when memory comes back to waiters
	wait  int
	free  [len(classes)][]*Batch
}

// NewPool returns a pool whose batches in flight take at most limit bytes, as far
// as Get is concerned; Force may pass it.
func NewPool(limit int64) *Pool { return &Pool{limit: limit, freed: make(chan struct{})} }

// Get returns an empty batch with room for size bytes, and waits for the budget
// while there is none. The batch is the caller's, who answers for it with Done.
// It fails only with ctx. A batch larger than the whole budget is let through
// alone rather than never.
func (p *Pool) Get(ctx context.Context, size int) (*Batch, error) {
	class, room := classOf(size)
	p.mu.Lock()
	for p.used > 0 && p.used+int64(room) > p.limit {
		freed := p.freed
		p.wait++
		p.mu.Unlock()
		var err error
		select {
		case <-freed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		p.mu.Lock()
		p.wait--
		if err != nil {
			p.mu.Unlock()
			return nil, err
		}
	}
	b := p.take(class, room)
	p.mu.Unlock()
	return b, nil
}

// Force is Get for sources that cannot wait: it returns at once, past the budget
// if it must.
func (p *Pool) Force(size int) *Batch {
	class, room := classOf(size)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(class, room)
}

// SetLimit changes the budget. Batches that are in flight stay.
func (p *Pool) SetLimit(limit int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limit
	p.wake()
}

// Used returns the bytes in flight.
func (p *Pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

func (p *Pool) take(class, room int) *Batch {
	p.used += int64(room)
	var b *Batch
	if class >= 0 && len(p.free[class]) > 0 {
		last := len(p.free[class]) - 1
		b, p.free[class][last] = p.free[class][last], nil
		p.free[class] = p.free[class][:last]
	} else {
		b = &Batch{Arena: make([]byte, 0, room), pool: p}
	}
	b.charge = int64(room)
	b.failed.Store(false)
	b.holders.Store(1)
	b.owing.Store(1)
	return b
}

func (p *Pool) recharge(b *Batch, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used += size - b.charge
	b.charge = size
}

// keptEntries bounds the entries that a kept batch may hold memory for.
const keptEntries = 8 << 10

func (p *Pool) put(b *Batch) {
	if cap(b.Entries) > keptEntries {
		b.Entries = nil
	}
	b.Source, b.Arena, b.Entries = nil, b.Arena[:0], b.Entries[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= b.charge
	class, room := classOf(cap(b.Arena))
	if class >= 0 && room == cap(b.Arena) && len(p.free[class]) < kept[class] {
		p.free[class] = append(p.free[class], b)
	}
	p.wake()
}

// wake has those who wait for the budget look again. mu is held.
func (p *Pool) wake() {
	if p.wait > 0 {
		close(p.freed)
		p.freed = make(chan struct{})
	}
}

// classOf returns the class that holds size bytes and its room; class -1 for
// sizes that are made to measure and not kept.
func classOf(size int) (class, room int) {
	for i, c := range classes {
		if size <= c {
			return i, c
		}
	}
	return -1, size
}
