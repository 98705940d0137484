package sim

import "time"

// dice is chance that has no order: what is drawn follows from the seed and from what it
// is drawn for, so that two things that happen at the same time do not change each other's
// luck. (FNV-1a, finished as in splitmix64.)
type dice uint64

func (d dice) of(words ...string) dice {
	h := uint64(d) ^ 14695981039346656037
	for _, w := range words {
		for i := range len(w) {
			h = (h ^ uint64(w[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return dice(h)
}

func (d dice) at(n int64) dice {
	h := (uint64(d) ^ uint64(n)) * 1099511628211
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return dice(h ^ h>>31)
}

// now is for what happens at most once at a time.
func (d dice) now() dice { return d.at(time.Now().UnixNano()) }

// number returns one of [0, 1).
func (d dice) number() float64 { return float64(d.at(1)>>11) / (1 << 53) }

func (d dice) chance(p float64) bool { return d.number() < p }

func (d dice) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.number()*float64(to-from))
}
