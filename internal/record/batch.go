package record

import (
	"sync/atomic"
	"unsafe"
)

// Outcome is what became of a batch at one of its holders.
type Outcome uint8

// Failed is the zero value on purpose: a handle that nobody answered for has failed.
const (
	Failed Outcome = iota
	// Delivered means that somebody else has taken responsibility: a sink accepted
	// the entries, a spool has them on disk, or they are dead letters on disk.
	Delivered
)

// Batch is a run of entries of one source, in reading order.
//
// Its owner may change Arena and Entries until it calls Retain for others; from
// then on they are read-only. After its own Done a holder must not touch the batch.
type Batch struct {
	Source  *Source
	Arena   []byte
	Entries []Entry

	holders atomic.Int32 // who still needs the memory
	owing   atomic.Int32 // those of them who answer with Done
	failed  atomic.Bool
	done    func(Outcome)
	pool    *Pool
	charge  int64
}

// OnDone sets what the last Done calls, once, with Delivered only if every holder
// said so. The batch's owner sets it before it hands the batch on.
func (b *Batch) OnDone(fn func(Outcome)) { b.done = fn }

// Retain gives the batch n more holders; each of them answers with one Done.
// A new batch has one: whoever got it from the pool.
func (b *Batch) Retain(n int) {
	b.holders.Add(int32(n))
	b.owing.Add(int32(n))
}

// Lend gives the batch n more holders who do not answer: each of them ends with one
// Return, and what becomes of the batch does not wait for them.
func (b *Batch) Lend(n int) { b.holders.Add(int32(n)) }

// Return ends the interest of a holder who does not answer. The last holder recycles
// the batch's memory.
func (b *Batch) Return() {
	if b.holders.Add(-1) == 0 && b.pool != nil {
		b.pool.put(b)
	}
}

// Done is the answer of one holder, and ends its interest in the batch. The last one
// acknowledges the batch, and the last holder recycles its memory.
func (b *Batch) Done(o Outcome) {
	defer b.Return()
	if o != Delivered {
		b.failed.Store(true)
	}
	if b.owing.Add(-1) != 0 {
		return
	}
	result := Delivered
	if b.failed.Load() {
		result = Failed
	}
	done := b.done
	b.done = nil
	if done != nil {
		done(result)
	}
}

// Guard, deferred by who fills the batch, gives its memory back when that panics. The
// panic goes on.
func (b *Batch) Guard() {
	if p := recover(); p != nil {
		b.Done(Failed)
		panic(p)
	}
}

// Line returns the bytes of entry i without its newline; read-only, valid until the holder's Done.
func (b *Batch) Line(i int) []byte {
	e := &b.Entries[i]
	return b.Arena[e.Off : e.Off+e.Len : e.Off+e.Len]
}

// Append copies line into the arena and adds an entry for it. For readers whose
// bytes do not already lie in the arena, and for tests.
func (b *Batch) Append(time int64, output Output, line []byte) {
	off := len(b.Arena)
	b.Arena = append(b.Arena, line...)
	b.Entries = append(b.Entries, Entry{Time: time, Off: uint32(off), Len: uint32(len(line)), Output: output})
}

// entryBytes is the size of an Entry in memory.
const entryBytes = int64(unsafe.Sizeof(Entry{}))

// Filled tells the pool how much the batch takes now that it is filled: many short
// lines need more memory for their entries than for their bytes.
func (b *Batch) Filled() {
	if b.pool != nil {
		b.pool.recharge(b, int64(cap(b.Arena))+int64(cap(b.Entries))*entryBytes)
	}
}

// Size returns the bytes of memory that the batch takes.
func (b *Batch) Size() int64 { return max(b.charge, int64(cap(b.Arena))) }
