package leak

import "github.com/logcapturer/log_capturer/internal/ledger"

// FromSnapshot makes a Sample of a census.
//
// What was collected without being closed counts as held on: whoever forgets has the same
// growth, whenever the garbage collector comes by.
//
// What is explained: goroutines and held things by their own formulas; descriptors of a
// kind by what is held of that kind, so that whoever holds it has the alarm; sockets by
// the connections that are held, without those of the engine's streams, which are counted
// apart; other descriptors by nothing known; the heap by the bytes of batches in flight.
func FromSnapshot(s ledger.Snapshot) Sample {
	out := Sample{
		Time: s.Time, Descriptors: s.Descriptors.Total, DescriptorLimit: s.Descriptors.Limit,
		HeapLive: s.Heap.LiveBytes, HeapLimit: s.Heap.LimitBytes, Census: s,
		Series: make([]Series, 0, len(s.Goroutines.Owners)+2*len(s.Held)+len(s.Descriptors.Kinds)+1),
	}
	for _, g := range s.Goroutines.Owners {
		out.Series = append(out.Series, Series{
			Component: g.Component, Owner: g.Owner, What: Goroutines,
			Value: float64(g.Count), Expected: float64(g.Expected), Stack: g.Stack, Oldest: g.Oldest,
		})
	}
	byKind := map[string]float64{} // of descriptors
	for _, h := range held(s.Held) {
		byKind[h.Kind] += float64(h.Count)
		switch h.Kind {
		case "connection":
			byKind["socket"] += float64(h.Count)
		case "engine_stream":
			byKind["socket"] -= float64(h.Count)
		}
		out.Series = append(out.Series, Series{
			Component: h.Component, Owner: h.Owner, What: HeldPrefix + h.Kind,
			Value: float64(h.Count) + float64(h.Unclosed), Expected: float64(h.Expected), Oldest: h.Oldest,
		})
		if h.Unclosed > 0 {
			out.Series = append(out.Series, Series{
				Component: h.Component, Owner: h.Owner, What: Unclosed + h.Kind, Value: float64(h.Unclosed),
			})
		}
	}
	for kind, n := range s.Descriptors.Kinds {
		expected, ok := byKind[kind]
		if expected = max(0, expected); !ok {
			expected = Unknown
		}
		out.Series = append(out.Series, Series{What: Descriptors + kind, Value: float64(n), Expected: expected})
	}
	out.Series = append(out.Series, Series{What: Heap, Value: float64(s.Heap.LiveBytes), Expected: float64(s.Heap.BatchBytes)})
	for _, site := range s.Heap.Sites {
		out.Sites = append(out.Sites, Site{Function: site.Function, Component: site.Component, Bytes: site.Bytes})
	}
	return out
}

// held adds up what differs in its endpoint alone.
func held(all []ledger.Held) []ledger.Held {
	type owner struct{ owner, component, kind string }
	index := map[owner]int{}
	var out []ledger.Held
	for _, h := range all {
		k := owner{h.Owner, h.Component, h.Kind}
		i, ok := index[k]
		if !ok {
			index[k] = len(out)
			out = append(out, h)
			continue
		}
		sum := &out[i]
		sum.Count += h.Count
		sum.Unclosed += h.Unclosed
		if sum.Expected < 0 || h.Expected < 0 {
			sum.Expected = Unknown
		} else {
			sum.Expected += h.Expected
		}
		if sum.Oldest.IsZero() || !h.Oldest.IsZero() && h.Oldest.Before(sum.Oldest) {
			sum.Oldest = h.Oldest
		}
	}
	return out
}
