package loki

import (
	"cmp"
	"slices"
	"time"
)

// pick finds which of refs, all of one stream, the words are about: picked has, for
// each, why it was refused, or nil. Exact means that all others were accepted; if it is
// not, those that are picked are refused all the same.
func (s *Sink) pick(refs []ref, w words) (picked []*said, exact bool) {
	byTime := make([]int, len(refs)) // indices of refs, oldest first
	for i := range byTime {
		byTime[i] = i
	}
	slices.SortStableFunc(byTime, func(a, b int) int { return cmp.Compare(s.time(refs[a]), s.time(refs[b])) })
	picked = make([]*said, len(refs))
	if w.ingester.reason != "" {
		return picked, s.pickIngester(picked, refs, byTime, &w)
	}
	exact = w.complete && w.old.count+w.new.count+w.long.count > 0
	// The distributor looks at the age first, then at the length.
	for _, i := range s.ends(refs, byTime, &w.old, w.complete, &exact) {
		picked[i] = &w.old
	}
	slices.Reverse(byTime)
	for _, i := range s.ends(refs, byTime, &w.new, w.complete, &exact) {
		picked[i] = &w.new
	}
	long := 0
	for i, r := range refs {
		if picked[i] == nil && w.long.count > 0 && s.len(r) > w.maxLine {
			picked[i] = &w.long
			long++
		}
	}
	return picked, exact && long == w.long.count
}

// ends returns the entries at the front of order (oldest, or newest, first) that are
// past a cutoff. The cutoff is known to the second only, so where all counts are known
// the count decides within that second.
func (s *Sink) ends(refs []ref, order []int, what *said, counted bool, exact *bool) []int {
	if what.count == 0 {
		return nil
	}
	newest := what.reason == reasonTooNew
	// past tells for sure; near tells that it may be so.
	past := func(i int) bool {
		t := s.time(refs[i])
		if newest {
			return t >= (what.second+1)*int64(time.Second)
		}
		return t < what.second*int64(time.Second)
	}
	near := func(i int) bool {
		t := s.time(refs[i])
		if newest {
			return t >= what.second*int64(time.Second)
		}
		return t < (what.second+1)*int64(time.Second)
	}
	sure := 0
	for sure < len(order) && past(order[sure]) {
		sure++
	}
	n := what.count
	if counted && n >= sure && n <= len(order) && near(order[n-1]) {
		return order[:n]
	}
	*exact = false
	return order[:sure]
}

// pickIngester does the same for the ingester's words. It names ten entries at most.
func (s *Sink) pickIngester(picked []*said, refs []ref, byTime []int, w *words) (exact bool) {
	named := 0
	for _, i := range byTime {
		if slices.Contains(w.times, s.time(refs[i])) {
			picked[i] = &w.ingester
			named++
		}
	}
	// What the distributor refused of the same request goes unsaid; then the total is less.
	all := w.complete && w.total == len(refs) && !w.limited
	n := w.ingester.count
	if all && n == named {
		return true
	}
	// It goes by the newest entry that it has of the stream: where times ascend, all that
	// it refuses comes first, and is older than the cutoff. Where they do not, or no cutoff
	// is said, only the named ones are known.
	cutoff := w.ingester.second * int64(time.Second)
	if !slices.IsSorted(byTime) || cutoff == 0 {
		return false
	}
	exact = all && n > 0 && n <= len(refs) && s.time(refs[n-1]) < cutoff+int64(time.Second)
	for i := range picked {
		if exact && i < n || s.time(refs[i]) < cutoff {
			picked[i] = &w.ingester
		}
	}
	found := 0
	for _, p := range picked {
		if p != nil {
			found++
		}
	}
	return exact && found == n
}
