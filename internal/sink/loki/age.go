package loki

import "time"

// age is how old entries may be, as far as Loki has told: the first one that it refuses
// as too old says where its window begins. What is older for sure is not sent at all from
// then on, for relearn: a backlog of weeks would cost Loki as many requests as a fresh one,
// to refuse every entry.
type age struct {
	window  time.Duration // 0 = not known
	learned time.Time
	words   string
}

const (
	relearn = 10 * time.Minute
	// ageMargin is how much older than Loki's window entries are that are not sent: the
	// clocks run apart, and Loki cuts its answer to seconds.
	ageMargin = time.Minute
)

// learn takes in the oldest time, in Unix seconds, that Loki accepts.
func (a *age) learn(now time.Time, oldest int64, words string) {
	*a = age{now.Sub(time.Unix(oldest, 0)), now, words}
}

// cutoff returns the time, in Unix nanoseconds, before which everything is too old; the
// lowest there is when that is not known.
func (a *age) cutoff(now time.Time) int64 {
	if a.window <= 0 || now.Sub(a.learned) >= relearn {
		return -1 << 63
	}
	return now.Add(-a.window - ageMargin).UnixNano()
}
