package loki

import (
	"math"
	"time"
)

// age is how old entries may be, as far as Loki has told: the first one that it refuses
// as too old says where its window begins. What is older for sure is not sent at all from
// then on, for relearn: a backlog of weeks would cost Loki as many requests as a fresh one,
// to refuse every entry. The window moves with the time that passes, so a clock of this
// host that is set does not matter.
type age struct {
	oldest  time.Time // that Loki accepted when it was learned; zero = not known
	learned time.Time
	words   string
}

const (
	relearn = time.Minute
	// ageMargin is how much older than Loki's window entries are that are not sent: it cuts
	// its answer to seconds, and may be in more than one process.
	ageMargin = time.Minute
)

// learn takes in the oldest time, in Unix seconds, that Loki accepts.
func (a *age) learn(now time.Time, oldest int64, words string) {
	*a = age{time.Unix(oldest, 0), now, words}
}

// cutoff returns the time, in Unix nanoseconds, before which everything is too old; the
// lowest there is when that is not known.
func (a *age) cutoff(now time.Time) int64 {
	passed := now.Sub(a.learned)
	if a.oldest.IsZero() || passed >= relearn {
		return math.MinInt64
	}
	return a.oldest.Add(passed - ageMargin).UnixNano()
}
