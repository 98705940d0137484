package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/task"
)

// limiter holds every source to a rate, with a bucket of bytes for each. A batch passes
// while there is anything in its source's bucket, whatever its size, and what it takes
// beyond that is owed, so the rate holds on average. It is safe for concurrent use.
type limiter struct {
	rate, burst float64 // bytes a second, bytes
	policy      LimitPolicy

	mu      sync.Mutex
	buckets map[string]bucket
}

// bucket is what a source had left at a time.
type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets is how many are kept before those that are full again are forgotten.
const maxBuckets = 1024

// newLimiter returns nil for a rate of 0.
func newLimiter(c RateLimitConfig) *limiter {
	if c.BytesPerSecond == 0 {
		return nil
	}
	l := &limiter{rate: float64(c.BytesPerSecond), burst: float64(c.Burst), policy: c.Policy, buckets: map[string]bucket{}}
	if c.Burst == 0 {
		l.burst = l.rate
	}
	return l
}

// is tells whether the limiter does what c says.
func (l *limiter) is(c RateLimitConfig) bool {
	other := newLimiter(c)
	return other != nil && other.rate == l.rate && other.burst == l.burst && other.policy == l.policy
}

// take charges n bytes to a source, or returns how long it has to wait for that.
func (l *limiter) take(sourceID string, n int, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.now(sourceID, now)
	if b.left <= 0 {
		return max(time.Millisecond, time.Duration((1-b.left)/l.rate*float64(time.Second)))
	}
	if len(l.buckets) >= maxBuckets {
		l.forget(now)
	}
	b.left -= float64(n)
	l.buckets[sourceID] = b
	return 0
}

// spent tells whether a source has to wait before anything of it passes.
func (l *limiter) spent(sourceID string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now(sourceID, now).left <= 0
}

// now returns a source's bucket as it is now.
func (l *limiter) now(sourceID string, now time.Time) bucket {
	b, ok := l.buckets[sourceID]
	if !ok {
		return bucket{left: l.burst, at: now}
	}
	return bucket{left: min(l.burst, b.left+now.Sub(b.at).Seconds()*l.rate), at: now}
}

func (l *limiter) forget(now time.Time) {
	for id := range l.buckets {
		if l.now(id, now).left >= l.burst {
			delete(l.buckets, id)
		}
	}
}

// limit holds b's source to its rate. A batch beyond it waits, or, where its source
// cannot, is to go to the spool (disk), or is to be dropped: as the policy says.
func (d *Dispatcher) limit(ctx context.Context, b *record.Batch) (disk, drop bool, err error) {
	for told := false; ; {
		l := d.limiter.Load() // it may be another by now
		if l == nil {
			return false, false, nil
		}
		wait := l.take(b.Source.ID, record.Whole(b).Bytes(), time.Now())
		switch {
		case wait == 0:
			return false, false, nil
		case l.policy == LimitDrop:
			d.limited("dropped", b)
			return false, true, nil
		case !b.Source.CanWait:
			d.limited("spooled", b)
			return true, false, nil
		}
		if !told {
			told = true
			d.limited("delayed", b)
		}
		if !task.Sleep(ctx, min(wait, recheck)) {
			return false, false, ctx.Err()
		}
	}
}

func (d *Dispatcher) limited(action string, b *record.Batch) {
	d.count.LinesLimited.WithLabelValues(action).Add(float64(len(b.Entries)))
}

// dropAll gives b up for every sink.
func (d *Dispatcher) dropAll(b *record.Batch) {
	d.change.RLock()
	defer d.change.RUnlock()
	d.lines.Add(int64(len(b.Entries)))
	for _, l := range d.lanes {
		l.drop(rateLimited, len(b.Entries))
	}
	b.Done(record.Delivered)
}
