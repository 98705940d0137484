package queue

import "github.com/logcapturer/log_capturer/internal/spool"

// fifo is a ring of items that grows, and is let go when it is empty and large.
type fifo struct {
	ring []item
	at   int
	n    int
}

const smallRing = 64

func (f *fifo) len() int    { return f.n }
func (f *fifo) head() *item { return &f.ring[f.at] }

func (f *fifo) push(it item) {
	if f.n == len(f.ring) {
		ring := make([]item, max(2*f.n, smallRing))
		for i := range f.n {
			ring[i] = f.ring[(f.at+i)%len(f.ring)]
		}
		f.ring, f.at = ring, 0
	}
	f.ring[(f.at+f.n)%len(f.ring)] = it
	f.n++
}

// extract removes and returns the items of a source, in order.
func (f *fifo) extract(sourceID string) (out []item) {
	for range f.n {
		it := f.pop()
		if it.batch.Source.ID == sourceID && it.from == 0 {
			out = append(out, it)
			continue
		}
		f.push(it)
	}
	return out
}

func (f *fifo) pop() item {
	it := f.ring[f.at]
	f.ring[f.at] = item{}
	f.at = (f.at + 1) % len(f.ring)
	if f.n--; f.n == 0 && len(f.ring) > smallRing {
		f.ring, f.at = nil, 0
	}
	return it
}

// recordSize returns about what the items of a source would take in the spool.
func (f *fifo) recordSize(sourceID string) (bytes int64) {
	for i := range f.n {
		if it := &f.ring[(f.at+i)%len(f.ring)]; it.batch.Source.ID == sourceID {
			bytes += spool.RecordSize(it.batch)
		}
	}
	return bytes
}
