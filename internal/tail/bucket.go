package tail

import (
	"sync"
	"time"
)

// Bucket is what may be done at once of something that is cheaper when more of it comes
// together: it fills with rate a second, up to burst. Who asks in vain takes out of it, too,
// down to a debt of burst: while more is asked for than the rate, there is nothing, since a
// part that is done at once makes the rest no cheaper. It is safe for concurrent use.
type Bucket struct {
	each, burst time.Duration

	mu   sync.Mutex
	used time.Time // until when all of it is used
}

// NewBucket returns one that is full.
func NewBucket(rate, burst int) *Bucket {
	each := time.Second / time.Duration(rate)
	return &Bucket{each: each, burst: each * time.Duration(burst)}
}

// Take takes one out, if there is one.
func (b *Bucket) Take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if full := now.Add(-b.burst); b.used.Before(full) {
		b.used = full
	}
	next := b.used.Add(b.each)
	if next.After(now) {
		if !next.After(now.Add(b.burst)) {
			b.used = next
		}
		return false
	}
	b.used = next
	return true
}
