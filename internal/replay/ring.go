package replay

import "slices"

// firstRing is the least number of records that a ring has room for, once it has any.
const firstRing = 64

// ring has the records that were delivered last, whatever their order: their outputs and
// timestamps. Its memory grows with what is in it. The zero ring remembers nothing.
type ring struct {
	keys []int64
	next int // where the next one goes, once the ring is full
	hint int // where the last one was found: they are asked for in their order
	most int
	// forgotten is the largest timestamp that is not in the ring any more.
	forgotten int64
}

// key is a record of output i: ns since the epoch leave room for a bit until 2116.
func key(i int, time int64) int64 { return time<<1 | int64(i) }

func (r *ring) add(i int, time int64) {
	switch {
	case r.most == 0:
	case len(r.keys) < r.most:
		if cap(r.keys) == 0 {
			r.keys = make([]int64, 0, min(firstRing, r.most))
		}
		r.keys = append(r.keys, key(i, time))
	default:
		r.forgotten = max(r.forgotten, r.keys[r.next]>>1)
		r.keys[r.next] = key(i, time)
		r.next = (r.next + 1) % r.most
	}
}

func (r *ring) has(i int, time int64) bool {
	if len(r.keys) == 0 {
		return false
	}
	if next := (r.hint + 1) % len(r.keys); r.keys[next] == key(i, time) {
		r.hint = next
		return true
	}
	at := slices.Index(r.keys, key(i, time))
	r.hint = max(at, 0)
	return at >= 0
}
