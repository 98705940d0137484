package diagnose

import (
	"cmp"
	"maps"
	"slices"
)

// Growth is how one thing of an agent grew.
type Growth struct {
	// Owner, Component, Kind and Stack say what it is; those that do not apply are empty.
	Owner     string `json:"owner,omitempty"`
	Component string `json:"component,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Stack     string `json:"stack,omitempty"`
	// Count is what there is, Expected what load explains, Excess the one less the other.
	Count    Trend `json:"count"`
	Expected Trend `json:"expected"`
	Excess   Trend `json:"excess"`
	// Known tells that there is an expectation.
	Known bool `json:"expectation_known"`
	// Unclosed is how many were collected by the garbage collector without being closed
	// since the agent started, NewUnclosed how many of them while it was looked at.
	Unclosed    int64 `json:"unclosed,omitempty"`
	NewUnclosed int64 `json:"new_unclosed,omitempty"`
}

// key says what a growth is of.
type key struct{ owner, component, kind, stack string }

// pair is a count with its expectation.
type pair struct {
	key
	count, expected float64
	known           bool
	unclosed        int64
}

// grown fits a trend to everything that pairs gives, the fastest first. What has the same
// key is added up; where one of those has no expectation, all have none.
func grown(samples []Sample, s scale, pairs func(Snapshot) []pair) []Growth {
	unknown := map[key]bool{}
	first, last := map[key]int64{}, map[key]int64{}
	count, expected, excess := map[key][]float64{}, map[key][]float64{}, map[key][]float64{}
	for i, sample := range samples {
		for _, p := range pairs(sample.Snapshot) {
			if count[p.key] == nil {
				count[p.key], expected[p.key], excess[p.key] = make([]float64, len(samples)), make([]float64, len(samples)), make([]float64, len(samples))
			}
			unknown[p.key] = unknown[p.key] || !p.known
			count[p.key][i] += p.count
			expected[p.key][i] += p.expected
			excess[p.key][i] += p.count - p.expected
			if i == 0 {
				first[p.key] += p.unclosed
			}
			if i == len(samples)-1 {
				last[p.key] += p.unclosed
			}
		}
	}
	at := times(samples)
	out := make([]Growth, 0, len(count))
	for k := range count {
		g := Growth{Owner: k.owner, Component: k.component, Kind: k.kind, Stack: k.stack, Known: !unknown[k]}
		g.Count, g.Expected, g.Excess = fit(at, count[k], s), fit(at, expected[k], s), fit(at, excess[k], s)
		g.Unclosed, g.NewUnclosed = last[k], max(0, last[k]-first[k])
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Growth) int {
		return cmp.Or(cmp.Compare(b.weight(), a.weight()), cmp.Compare(b.Count.PerMinute, a.Count.PerMinute),
			cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Stack, b.Stack))
	})
	return out
}

// weight is how fast it grows, more than load explains where that is known.
func (g Growth) weight() float64 {
	if g.Known {
		return g.Excess.PerMinute
	}
	return g.Count.PerMinute
}

// leaks tells that it grows beyond what load explains.
func (g Growth) leaks() bool { return g.Known && g.Excess.Grows && g.Excess.To > 0 }

// suspect tells that it grows, and that load may explain it.
func (g Growth) suspect() bool {
	if g.Known {
		return g.Excess.Grows
	}
	return g.Count.Grows
}

// byOwner is the growth of goroutines. An owner's stack is the last that was seen.
func byOwner(samples []Sample) []Growth {
	stacks := stacksOf(samples)
	out := grown(samples, counts(), func(s Snapshot) (all []pair) {
		for _, o := range s.Goroutines.Owners {
			all = append(all, pair{key: key{owner: o.Owner, component: o.Component}, count: float64(o.Count), expected: float64(o.Expected), known: true})
		}
		return all
	})
	for i := range out {
		out[i].Stack = stacks[out[i].Owner]
	}
	return out
}

func stacksOf(samples []Sample) map[string]string {
	stacks := map[string]string{}
	for _, s := range samples {
		for _, o := range s.Goroutines.Owners {
			if o.Stack != "" {
				stacks[o.Owner] = o.Stack
			}
		}
	}
	return stacks
}

// byComponent and byStack add the owners up.
func byComponent(samples []Sample) []Growth {
	return grown(samples, counts(), func(s Snapshot) (all []pair) {
		for _, o := range s.Goroutines.Owners {
			all = append(all, pair{key: key{component: o.Component}, count: float64(o.Count), expected: float64(o.Expected), known: true})
		}
		return all
	})
}

func byStack(samples []Sample) []Growth {
	stacks := stacksOf(samples)
	return grown(samples, counts(), func(s Snapshot) (all []pair) {
		for _, o := range s.Goroutines.Owners {
			all = append(all, pair{key: key{stack: stacks[o.Owner]}, count: float64(o.Count), expected: float64(o.Expected), known: true})
		}
		return all
	})
}

// total is the growth of all goroutines.
func total(samples []Sample) Growth {
	all := grown(samples, counts(), func(s Snapshot) []pair {
		return []pair{{count: float64(s.Goroutines.Total), expected: float64(s.Goroutines.Expected), known: true}}
	})
	if len(all) == 0 {
		return Growth{}
	}
	return all[0]
}

// held is the growth of what is in the register.
func held(samples []Sample) []Growth {
	return grown(samples, counts(), func(s Snapshot) (all []pair) {
		for _, h := range s.Held {
			all = append(all, pair{key: key{owner: h.Owner, component: h.Component, kind: h.Kind}, count: float64(h.Count),
				expected: float64(max(0, h.Expected)), known: h.Expected >= 0, unclosed: h.Unclosed})
		}
		return all
	})
}

// descriptors is their growth by kind; what of a kind the register holds is expected, and
// so the rest is nobody's. Kinds that it does not hold have no expectation.
func descriptors(samples []Sample) []Growth {
	return grown(samples, counts(), func(s Snapshot) (all []pair) {
		held := registered(s)
		for _, kind := range slices.Sorted(maps.Keys(s.Descriptors.Kinds)) {
			n, known := held[kind]
			all = append(all, pair{key: key{kind: kind}, count: float64(s.Descriptors.Kinds[kind]), expected: float64(n), known: known})
		}
		return all
	})
}

// The kinds that have to do with HTTP connections.
const (
	connection   = "connection"
	engineStream = "engine_stream"
	responseBody = "response_body"
)

// registered is what the register holds of each kind of descriptor. A connection is a
// socket, and a stream of the engine is a connection that is a kind of its own.
func registered(s Snapshot) map[string]int {
	out := map[string]int{}
	for _, h := range s.Held {
		switch h.Kind {
		case connection:
			out["socket"] += h.Count
		case engineStream:
			out["socket"] -= h.Count
			out[h.Kind] += h.Count
		default:
			out[h.Kind] += h.Count
		}
	}
	return out
}

// liveHeap is the growth of what is reachable, without the batches in flight, and sites
// that of the functions that allocated it.
func liveHeap(samples []Sample) Growth {
	all := grown(samples, heap(), func(s Snapshot) []pair {
		return []pair{{count: float64(s.Heap.LiveBytes), expected: float64(s.Heap.BatchBytes), known: true}}
	})
	if len(all) == 0 {
		return Growth{}
	}
	return all[0]
}

func sites(samples []Sample) []Growth {
	return grown(samples, heap(), func(s Snapshot) (all []pair) {
		for _, h := range s.Heap.Sites {
			all = append(all, pair{key: key{component: h.Component, stack: h.Function}, count: float64(h.Bytes)})
		}
		return all
	})
}
