package diagnose

import (
	"cmp"
	"maps"
	"slices"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// moved fits a trend to each measure. Where it is known what load explains, that is taken
// off.
func moved(samples []Sample) map[Measure]Trend {
	series := collect(samples, func(s Snapshot, add func(Measure, float64)) {
		add(CountOfGoroutines, float64(s.Goroutines.Total-s.Goroutines.Expected))
		add(CountOfDescriptors, float64(unregistered(s)))
		add(LiveHeap, float64(s.Heap.LiveBytes-s.Heap.BatchBytes))
		for _, h := range s.Held {
			// What was collected without being closed counts on, so that the collector's turns
			// are no steps.
			add(heldOf(h), float64(h.Count-max(0, h.Expected))+float64(h.Unclosed))
			add(Measure("unclosed "+h.Kind), float64(h.Unclosed))
		}
	})
	at, out := times(samples), map[Measure]Trend{}
	for m, values := range series {
		s := counts()
		if m == LiveHeap {
			s = heap()
		}
		out[m] = fit(at, values, s)
	}
	return out
}

// heldOf is the measure of what is held. Where it is not known how much is load it is one
// by itself: it makes the others of its kind no less sure.
func heldOf(h ledger.Held) Measure {
	if h.Expected < 0 {
		return Measure("held " + h.Kind + " of " + h.Component)
	}
	return Measure("held " + h.Kind)
}

// unregistered are the descriptors that the register does not hold: the others are
// measures of their own.
func unregistered(s Snapshot) int {
	n, held := s.Descriptors.Total, registered(s)
	for kind := range s.Descriptors.Kinds {
		n -= held[kind]
	}
	return n
}

// sure tells that load cannot be what grows.
func (p Phase) sure(m Measure) bool { return !slices.Contains(p.Unsure, m) }

// unsure are the measures of which load is not known.
func unsure(samples []Sample) []Measure {
	out := []Measure{CountOfDescriptors, LiveHeap}
	for _, s := range samples {
		for _, h := range s.Held {
			if m := heldOf(h); h.Expected < 0 && !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// growing are the measures that do: goroutines first, and what may be load last.
func (p Phase) growing() (all []Measure) {
	for _, m := range slices.Sorted(maps.Keys(p.Moved)) {
		if !p.Moved[m].Grows {
			continue
		}
		if m == CountOfGoroutines {
			all = slices.Insert(all, 0, m)
		} else {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b Measure) int {
		return cmp.Compare(slices.Index(p.Unsure, a), slices.Index(p.Unsure, b)) // -1: not among them
	})
	return all
}

// The shares of the growth from which a component's absence makes a difference, and stops
// it.
const (
	someOfIt = 0.25
	allOfIt  = 0.75
)

// share is how much of the growth is missing without a component.
func share(with, without Trend) float64 {
	if with.PerMinute <= 0 {
		return 0
	}
	return (with.PerMinute - without.PerMinute) / with.PerMinute
}

func stops(with, without Trend) bool { return share(with, without) >= allOfIt && !without.Grows }

// labelled is the component whose goroutines grow fastest without load, or what it holds.
func labelled(samples []Sample) string {
	for _, all := range [][]Growth{byComponent(samples), held(samples), sites(samples)} {
		if len(all) > 0 && (all[0].Excess.Grows || all[0].Count.Grows && !all[0].Known) {
			return all[0].Component
		}
	}
	return ""
}
