package queue

import (
	"errors"
	"testing"
)

func TestSourcesThatCanWaitAreReadAheadNoMoreThanHelps(t *testing.T) {
	const line, ahead = 1 << 10, 16 << 10
	q, k := newQueue(t, Options{MaxBytes: 1 << 20, ReadAhead: ahead})
	// fill puts batches until there is no room, and returns their memory.
	fill := func(source string, canWait bool) (used int64) {
		t.Helper()
		for n := 1; ; n++ {
			b := k.batch(source, n, 1, line)
			b.Source.CanWait = canWait
			free, _ := q.Free(source, canWait)
			switch err := put(q, b); {
			case errors.Is(err, errNoMemory), errors.Is(err, ErrFull):
				return used
			case err != nil:
				t.Fatal(err)
			case !free:
				t.Errorf("batch %d of %s found room where there was none", n, source)
			}
			used += b.Size()
		}
	}
	if n := fill("file", true); n > ahead || n < ahead/2 {
		t.Errorf("a file has %d bytes of memory, want nearly %d", n, ahead)
	}
	if n := fill("stream", false); n < 1<<19 {
		t.Errorf("a stream has %d bytes of memory beside it, want most of 1 MiB", n)
	}
	for {
		free, _ := q.Free("another file", true)
		if free {
			break // what was taken makes room, whatever streams have
		}
		l := take(t, q, line)
		must(t, l.Ack())
	}
	for left := true; left; {
		l := take(t, q, 1<<20)
		must(t, l.Ack())
		left = q.Stats().MemoryLines > 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flows.ahead != 0 || q.used != 0 {
		t.Errorf("%d and %d bytes are in use of an empty queue", q.flows.ahead, q.used)
	}
}
