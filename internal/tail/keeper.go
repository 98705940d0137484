package tail

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Keeper bounds what the Logs that share it hold of rotated-away generations: those
// with a successor that was written to. Past a bound the one that was rotated away
// first, of whichever Log, is let go: its unread lines are counted and its descriptor
// is closed. The newest generation of a Log is never let go.
//
// The bounds are looked at whenever a Log grows, and by Enforce, which should be
// called every few seconds: a file loses its name later than it was opened.
type Keeper struct {
	// MaxBytes bounds the disk space in bytes that only the Logs' descriptors keep: the
	// sizes of rotated-away generations without a name. 0 = no bound.
	MaxBytes int64
	// MaxFiles bounds the number of rotated-away generations, named or not. 0 = no bound.
	MaxFiles int
	// Grown, if set, is called instead of Enforce when a Log grew; it must return at once
	// and make somebody call Enforce. Letting go reads what was unread: this keeps that
	// out of the goroutine that called Look.
	Grown func()

	mu   sync.Mutex
	logs map[*Log]int64 // those that may hold more than their newest; when they last grew
	tick int64

	seq       atomic.Int64
	again     atomic.Bool
	enforcing sync.Mutex

	generations, lines, last atomic.Int64
}

// Held returns how many rotated-away generations are held, and the bytes of those that
// have no name any more.
func (k *Keeper) Held() (files int, bytes int64) {
	if k == nil {
		return 0, 0
	}
	for _, g := range k.census() {
		files++
		bytes += g.bytes
	}
	return files, bytes
}

// LetGo returns how many generations were let go that were not read to their end, and
// how many lines of them were not read, since the start.
func (k *Keeper) LetGo() (generations, lines int64) {
	if k == nil {
		return 0, 0
	}
	return k.generations.Load(), k.lines.Load()
}

// SetMaxBytes changes MaxBytes while the Keeper is in use.
func (k *Keeper) SetMaxBytes(n int64) {
	k.mu.Lock()
	k.MaxBytes = n
	k.mu.Unlock()
	k.Enforce()
}

// Bound returns MaxBytes.
func (k *Keeper) Bound() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.MaxBytes
}

// LastLetGo returns when lines were last let go unread; zero = never.
func (k *Keeper) LastLetGo() time.Time {
	if k == nil || k.last.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, k.last.Load())
}

// Enforce lets go of what is held past the bounds. It reads what it lets go, and may be
// called by anybody: while one call is at it, another returns and leaves it the work.
func (k *Keeper) Enforce() {
	if k == nil {
		return
	}
	k.again.Store(true)
	for k.again.Load() && k.enforcing.TryLock() {
		k.again.Store(false)
		k.enforce()
		k.enforcing.Unlock()
	}
}

func (k *Keeper) enforce() {
	held := k.census()
	slices.SortFunc(held, func(a, b generation) int { return cmp.Compare(a.seq, b.seq) })
	files, bytes, most := len(held), int64(0), k.Bound()
	for _, g := range held {
		bytes += g.bytes
	}
	for _, g := range held {
		tooMany := k.MaxFiles > 0 && files > k.MaxFiles
		tooMuch := most > 0 && bytes > most
		if !tooMany && !tooMuch {
			return
		}
		if !tooMany && g.bytes == 0 {
			continue // it keeps no space: letting it go would be in vain
		}
		files -= max(1, g.log.letGoUpTo(g.file))
		bytes -= g.bytes
	}
}

// generation is one that was rotated away.
type generation struct {
	log   *Log
	file  *File
	seq   int64
	bytes int64 // the disk space that only its descriptor keeps
}

// census returns all rotated-away generations, and forgets Logs that have none.
func (k *Keeper) census() (all []generation) {
	k.mu.Lock()
	logs := make(map[*Log]int64, len(k.logs))
	for l, tick := range k.logs {
		logs[l] = tick
	}
	k.mu.Unlock()
	for l, tick := range logs {
		held, more := l.rotated()
		all = append(all, held...)
		if more {
			continue
		}
		k.mu.Lock()
		if k.logs[l] == tick { // it did not grow meanwhile
			delete(k.logs, l)
		}
		k.mu.Unlock()
	}
	return all
}

// next returns the place of a generation in the order of being rotated away.
func (k *Keeper) next() int64 {
	if k == nil {
		return 0
	}
	return k.seq.Add(1)
}

// grew is called after generations were added to l.
func (k *Keeper) grew(l *Log) {
	if k == nil || l.Held() < 2 {
		return
	}
	k.mu.Lock()
	if k.logs == nil {
		k.logs = map[*Log]int64{}
	}
	k.tick++
	k.logs[l] = k.tick
	k.mu.Unlock()
	if k.Grown != nil {
		k.Grown()
		return
	}
	k.Enforce()
}

func (k *Keeper) forget(l *Log) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.logs, l)
}

func (k *Keeper) lost(lines int64) {
	k.generations.Add(1)
	k.lines.Add(lines)
	k.last.Store(time.Now().UnixNano())
}
