package loki

import "time"

// When a stream may share a request with others: never while Loki's ingester could
// refuse part of it, because only the last stream's refusal would be reported
// (pkg/ingester/instance.go, Push: the error of one stream is overwritten by the next
// one's). The ingester refuses for three reasons, all per stream:
//
//   - entries too far behind the stream's newest (half of max_chunk_age: 1 h by
//     default): the first of each stream and then one every proveEvery goes alone, and
//     a stream of which anything was refused goes alone from then on, until it passes;
//   - the stream's rate limit (3 MB/s by default): a stream with more than shareRate
//     goes alone, and for settle more, in which Loki's bucket fills up again;
//   - the number of streams: a stream that Loki does not know yet, or has forgotten
//     (chunk_idle_period, 30 min by default), has not gone alone for proveEvery.
//
// Big parts gain nothing from sharing and go alone.
const (
	proveEvery = 5 * time.Minute
	distrust   = 5 * time.Minute
	shareBytes = 128 << 10 // of one stream in one request
	shareRate  = 512 << 10 // of one stream in a second
	settleTime = 10 * time.Second
)

// sharing is what is known of one stream for that.
type sharing struct {
	provedAt time.Time // when it last went alone and all of it was accepted
	aloneTo  time.Time
	second   time.Time // start of the second that is being counted
	bytes    int       // in that second
	failed   bool
}

// may tells whether size bytes of the stream may share a request now, and counts them.
func (s *sharing) may(now time.Time, size int) bool {
	if now.Sub(s.second) >= time.Second {
		s.second, s.bytes = now, 0
	}
	s.bytes += size
	if size > shareBytes || s.bytes > shareRate {
		s.aloneTo = now.Add(settleTime)
	}
	return now.After(s.aloneTo) && !s.provedAt.IsZero() && now.Sub(s.provedAt) < proveEvery
}

// proved notes that the stream went alone and all of it was accepted.
func (s *sharing) proved(now time.Time) {
	if s.failed {
		s.failed, s.aloneTo = false, now.Add(distrust)
	}
	s.provedAt = now
}

// refused notes that some of it was not.
func (s *sharing) refused() { s.provedAt, s.failed = time.Time{}, true }
