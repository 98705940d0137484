package leak

import (
	"maps"
	"strings"
	"time"
)

// The totals whose growth is told besides the verdict.
const (
	totalGoroutines = iota
	totalDescriptors
	totalHeap
	totalCount
)

// totals tell how fast the whole process grows over what its load explains, over ten minutes,
// or since the start when that is less: a figure to be drawn, not a verdict.
type totals struct {
	of [totalCount]history
}

func (g *totals) begin(interval time.Duration) {
	for i := range g.of {
		g.of[i] = newHistory(spanOf(1), interval)
	}
}

// grow takes a census in.
func (w *Watch) grow(at float64, sample Sample) {
	sums := [totalCount]point{totalDescriptors: {value: float64(sample.Descriptors)}}
	for _, s := range sample.Series {
		p := &sums[totalGoroutines]
		switch {
		case s.What == Goroutines:
			p.value += s.Value
		case s.What == Heap:
			p = &sums[totalHeap]
			p.value = s.Value
		case strings.HasPrefix(s.What, Descriptors):
			p = &sums[totalDescriptors]
		default:
			continue
		}
		p.expected += max(0, s.Expected)
	}
	perMinute := map[string]float64{}
	for i, what := range [totalCount]string{"goroutines", "descriptors", "heap_bytes"} {
		sums[i].at = at
		w.totals.of[i].add(sums[i])
		w.fit.load(w.totals.of[i].points, point.over)
		perMinute[what] = w.fit.slope()
	}
	w.mu.Lock()
	w.perMinute = perMinute
	w.mu.Unlock()
}

// Growth returns by how much goroutines, descriptors and heap_bytes grow a minute over what
// the load explains: the slope of the last ten minutes.
func (w *Watch) Growth() map[string]float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.perMinute)
}
