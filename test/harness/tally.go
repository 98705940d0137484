package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// Tally plays Loki's push API, takes everything and keeps no line: of each source it has
// the ranges of numbers that came, so it can count for days. Other than Loki it shows what
// is sent twice.
type Tally struct {
	URL string

	mu      sync.Mutex
	sources map[string]*arrivals
	lines   int64
	found   Report // but for what only a ledger tells
}

// arrivals are the numbers of one source that came: ranges in order, with gaps between them.
type arrivals struct {
	spans []span
	n     int64
}

// NewTally starts one; it ends with the test.
func NewTally(t testing.TB) *Tally {
	t.Helper()
	y := &Tally{sources: map[string]*arrivals{}}
	server := httptest.NewServer(y)
	t.Cleanup(server.Close)
	y.URL = server.URL
	return y
}

// ServeHTTP answers POST /loki/api/v1/push. What did not come whole counts as not sent.
func (y *Tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = s2.Decode(nil, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	protobuf(body, func(_ int, _ uint64, stream []byte) {
		protobuf(stream, func(field int, _ uint64, entry []byte) {
			if field != 2 {
				return
			}
			protobuf(entry, func(field int, _ uint64, text []byte) {
				if field == 2 {
					y.add(text)
				}
			})
		})
	})
	w.WriteHeader(http.StatusNoContent)
}

func (y *Tally) add(text []byte) {
	y.lines++
	id, seq, err := line.Parse(text)
	switch {
	case errors.Is(err, line.ErrForeign):
		y.found.Foreign.add(shorten(string(text)))
		return
	case err != nil:
		y.found.Damaged.add(fmt.Sprintf("%v: %s", err, shorten(string(text))))
		return
	}
	a := y.sources[id]
	if a == nil {
		a = &arrivals{}
		y.sources[id] = a
	}
	switch fresh, last := a.add(seq); {
	case !fresh:
		y.found.Repeated.add(fmt.Sprintf("id=%s seq=%d", id, seq))
	case !last:
		y.found.OutOfOrder.add(fmt.Sprintf("id=%s seq=%d", id, seq))
	}
}

// add tells whether seq is new, and whether it is the greatest.
func (a *arrivals) add(seq int64) (fresh, last bool) {
	// i is the first range that does not end before seq.
	i, _ := slices.BinarySearchFunc(a.spans, seq, func(s span, seq int64) int { return int(min(1, max(-1, s.to-seq))) })
	if i < len(a.spans) && a.spans[i].from <= seq {
		return false, false
	}
	a.n++
	last = i == len(a.spans)
	before := i > 0 && a.spans[i-1].to+1 == seq
	behind := !last && a.spans[i].from == seq+1
	switch {
	case before && behind:
		a.spans[i-1].to = a.spans[i].to
		a.spans = slices.Delete(a.spans, i, i+1)
	case before:
		a.spans[i-1].to = seq
	case behind:
		a.spans[i].from = seq
	default:
		a.spans = slices.Insert(a.spans, i, span{seq, seq})
	}
	return true, last
}

// Of returns how many different lines of a source came.
func (y *Tally) Of(id string) int64 {
	y.mu.Lock()
	defer y.mu.Unlock()
	if a := y.sources[id]; a != nil {
		return a.n
	}
	return 0
}

// Check compares what came with a ledger.
func (y *Tally) Check(l *Ledger) *Report {
	y.mu.Lock()
	defer y.mu.Unlock()
	r := y.found
	r.Expected, r.Lines = l.Total(), y.lines
	for id, want := range l.want {
		var have []span
		if a := y.sources[id]; a != nil {
			have = a.spans
		}
		without(want, have, func(s span) { r.Lost.run(id, s) })
	}
	for id, a := range y.sources {
		if !l.ignored[id] {
			without(a.spans, l.want[id], func(s span) { r.Unexpected.run(id, s) })
		}
	}
	return &r
}

// without calls fn with the ranges of numbers that are in all and not in some.
func without(all, some []span, fn func(span)) {
	byStart := func(a, b span) int { return int(min(1, max(-1, a.from-b.from))) }
	some = slices.SortedFunc(slices.Values(some), byStart)
	for _, s := range all {
		next := s.from
		for _, o := range some {
			if o.to < next {
				continue
			}
			if o.from > s.to {
				break
			}
			if o.from > next {
				fn(span{next, o.from - 1})
			}
			next = o.to + 1
		}
		if next <= s.to {
			fn(span{next, s.to})
		}
	}
}

// run adds a range of numbers.
func (f *Finding) run(id string, s span) {
	f.N += s.to - s.from + 1
	f.example(fmt.Sprintf("id=%s seq=%d..%d", id, s.from, s.to))
}
