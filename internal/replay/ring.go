package replay

import "slices"

// firstRing is the least number of times that a ring has room for, once it has any.
const firstRing = 64

// ring has the timestamps of the records that were delivered last, whatever their order.
// Its memory grows with what is in it. The zero ring remembers nothing.
type ring struct {
	times []int64
	next  int // where the next one goes, once the ring is full
	hint  int // where the last one was found: they are asked for in their order
	most  int
	// forgotten is the largest timestamp that is not in the ring any more, or never was.
	forgotten int64
}

func (r *ring) add(time int64) {
	switch {
	case r.most == 0:
	case len(r.times) < r.most:
		if cap(r.times) == 0 {
			r.times = make([]int64, 0, min(firstRing, r.most))
		}
		r.times = append(r.times, time)
	default:
		r.forgotten = max(r.forgotten, r.times[r.next])
		r.times[r.next] = time
		r.next = (r.next + 1) % r.most
	}
}

func (r *ring) has(time int64) bool {
	if len(r.times) == 0 {
		return false
	}
	if next := (r.hint + 1) % len(r.times); r.times[next] == time {
		r.hint = next
		return true
	}
	at := slices.Index(r.times, time)
	r.hint = max(at, 0)
	return at >= 0
}
