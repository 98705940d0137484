package loki

import "time"

// sizer finds out how large a request Loki, or a proxy before it, lets through.
//
// A 413 means that the size is too much: half of it is the limit from then on. A 429
// for the tenant's rate mostly means "later"; but a request larger than the burst
// (ingestion_burst_size_mb) can never pass, and the answer does not tell the burst.
// So when the same size is refused three times in a row, with the dispatcher's pauses
// between, in which the bucket fills up, the limit is halved too: if it was the burst,
// that is the way through; if the tenant is short of rate, small requests have the
// better chance. What was learnt is forgotten after a while.
type sizer struct {
	configured int
	learnt     int // 0: nothing
	until      time.Time
	throttled  int // 429s in a row
}

const (
	minRequest = 64 << 10
	learntFor  = 10 * time.Minute
	patience   = 3
)

// limit returns the most bytes of a request.
func (z *sizer) limit(now time.Time) int {
	if z.learnt > 0 && now.Before(z.until) {
		return min(z.learnt, z.configured)
	}
	z.learnt = 0
	return z.configured
}

// tooLarge notes that a request of size bytes was too large.
func (z *sizer) tooLarge(now time.Time, size int) {
	z.learnt, z.until, z.throttled = max(size/2, minRequest), now.Add(learntFor), 0
}

// throttle notes a 429 for a request of size bytes.
func (z *sizer) throttle(now time.Time, size int) {
	if z.throttled++; z.throttled >= patience && size > minRequest {
		z.tooLarge(now, size)
	}
}

// passed notes that a request was let through.
func (z *sizer) passed() { z.throttled = 0 }
