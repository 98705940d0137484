package queue

import (
	"fmt"
	"strings"
	"testing"
)

// given returns how many bytes of lines of each source a lease has.
func given(l *Lease) map[string]int {
	out := map[string]int{}
	for _, v := range l.Views() {
		out[v.Batch.Source.ID] += v.Bytes()
	}
	return out
}

// Sources take turns by bytes, not by batches: one with large batches gets no more than
// those with small ones, and what is in the spool has its turn too.
func TestSourcesTakeTurnsByBytes(t *testing.T) {
	q, k := newQueue(t, Options{MaxBytes: 64 << 20})
	for n := range 4 {
		must(t, spill(q, k.batch("spooled", n, 1, 100<<10)))
	}
	must(t, q.Sync())
	for n := range 40 {
		must(t, put(q, k.batch("large", n, 1, 200<<10)))
	}
	for n := range 4000 {
		must(t, put(q, k.batch("small", n, 1, 1<<10)))
	}
	total := map[string]int{}
	for range 3 {
		l := take(t, q, 1<<20)
		for id, n := range given(l) {
			total[id] += n
		}
		must(t, l.Ack())
	}
	if total["spooled"] != 4*100<<10 {
		t.Errorf("the spool gave out %d bytes, want all", total["spooled"])
	}
	if ratio := float64(total["large"]) / float64(total["small"]); ratio < 0.75 || ratio > 1.33 {
		t.Errorf("large batches: %d bytes, small ones: %d", total["large"], total["small"])
	}
}

// Whoever comes while another floods the queue finds room and is in the next lease.
func TestAFloodLeavesRoomAndTheNextTurn(t *testing.T) {
	q, k := newQueue(t, Options{MaxBytes: 4 << 20})
	n := 0
	for ; put(q, k.batch("flood", n, 1, 200<<10)) == nil; n++ {
	}
	if n < 10 {
		t.Errorf("a source alone gets %d KiB of 4096", n*200)
	}
	for n := range 3 {
		must(t, put(q, k.batch("quiet", n, 1, 100)))
	}
	l := take(t, q, 1<<20)
	if got := strings.Join(lines(l), " "); !strings.HasSuffix(got, "quiet:0:0 quiet:1:0 quiet:2:0") && !strings.Contains(got, "quiet:2:0 flood") {
		t.Errorf("the lease has %s", got)
	}
	must(t, l.Ack())
}

// What flows forget and keep stays small however many sources come and go.
func TestEmptyFlowsAreForgotten(t *testing.T) {
	q, k := newQueue(t, Options{MaxBytes: 4 << 20})
	for n := range 500 {
		must(t, put(q, k.batch(fmt.Sprint("s", n), 0, 1, 100)))
	}
	for q.Stats().MemoryLines > 0 {
		must(t, take(t, q, 1000).Ack())
	}
	if n, spare := len(q.flows.byID), len(q.flows.spare); n != 0 || spare > maxSpare || q.flows.turns.len() != 0 {
		t.Errorf("%d flows, %d spare ones, %d in turn", n, spare, q.flows.turns.len())
	}
}
