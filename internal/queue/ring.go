package queue

// ring is a first-in-first-out list that grows, and is let go when it is empty and large.
type ring[T any] struct {
	all []T
	at  int
	n   int
}

// Capacities of a ring: of the first memory it takes, and of the most that it keeps.
const (
	smallRing = 4
	keptRing  = 64
)

func (r *ring[T]) len() int { return r.n }

// get returns the i-th element; it is valid until the next push or pop.
func (r *ring[T]) get(i int) *T { return &r.all[(r.at+i)%len(r.all)] }

func (r *ring[T]) push(v T) {
	if r.n == len(r.all) {
		all := make([]T, max(2*r.n, smallRing))
		for i := range r.n {
			all[i] = *r.get(i)
		}
		r.all, r.at = all, 0
	}
	r.n++
	*r.get(r.n - 1) = v
}

func (r *ring[T]) pop() T {
	var zero T
	v := r.all[r.at]
	r.all[r.at] = zero
	r.at = (r.at + 1) % len(r.all)
	if r.n--; r.n == 0 && len(r.all) > keptRing {
		r.all, r.at = nil, 0
	}
	return v
}
