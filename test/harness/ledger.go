package harness

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// Ledger is the oracle of what must have arrived: which ids, with which numbers.
// It is not safe for concurrent use.
type Ledger struct {
	want    map[string][]span
	ignored map[string]bool
}

type span struct{ from, to int64 }

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{want: map[string][]span{}, ignored: map[string]bool{}} }

// Expect adds the lines from..to, both inclusive, of an id. It may be called more
// than once for an id, with ranges that do not overlap.
func (l *Ledger) Expect(id string, from, to int64) {
	if to < from {
		return
	}
	spans := l.want[id]
	if last := len(spans) - 1; last >= 0 && spans[last].to+1 == from {
		spans[last].to = to // few spans are looked through sooner
		return
	}
	l.want[id] = append(spans, span{from, to})
}

// Ignore has the lines of an id not looked at.
func (l *Ledger) Ignore(id string) { l.ignored[id] = true }

// Total returns the number of lines that are expected.
func (l *Ledger) Total() int64 {
	n := int64(0)
	for _, spans := range l.want {
		for _, s := range spans {
			n += s.to - s.from + 1
		}
	}
	return n
}

// Check counts streams against the ledger.
func (l *Ledger) Check(streams []Stream) *Report {
	c := l.Count()
	for _, s := range streams {
		key := s.Key()
		for _, e := range s.Entries {
			c.Add(key, []byte(e.Line))
		}
	}
	return c.Report()
}

// Count begins a count that lines are added to one by one.
func (l *Ledger) Count() *Count {
	c := &Count{ledger: l, seen: map[string]map[int64]int{}, last: map[streamID]int64{}, report: &Report{}}
	for id := range l.want {
		c.seen[id] = map[int64]int{}
	}
	return c
}

// Count compares what arrives with the ledger. It is not safe for concurrent use.
type Count struct {
	ledger *Ledger
	seen   map[string]map[int64]int
	last   map[streamID]int64
	report *Report
}

type streamID struct{ stream, id string }

// Add counts one line, without its newline, of a stream. Within a stream the
// numbers of an id must grow.
func (c *Count) Add(stream string, text []byte) {
	r := c.report
	r.Lines++
	id, seq, err := line.Parse(text)
	switch {
	case errors.Is(err, line.ErrForeign):
		r.Foreign.add(stream + ": " + shorten(string(text)))
		return
	case err != nil:
		r.Damaged.add(fmt.Sprintf("%s: %v: %s", stream, err, shorten(string(text))))
		return
	}
	if c.ledger.ignored[id] {
		return
	}
	seen := c.seen[id]
	if seen == nil || !c.ledger.has(id, seq) {
		r.Unexpected.add(fmt.Sprintf("%s: id=%s seq=%d", stream, id, seq))
		return
	}
	if seen[seq]++; seen[seq] > 1 {
		r.Repeated.add(fmt.Sprintf("%s: id=%s seq=%d", stream, id, seq))
		return
	}
	at := streamID{stream, id}
	if last, ok := c.last[at]; ok && seq < last {
		r.OutOfOrder.add(fmt.Sprintf("%s: id=%s seq=%d after %d", stream, id, seq, last))
		return
	}
	c.last[at] = seq
}

func (l *Ledger) has(id string, seq int64) bool {
	return slices.ContainsFunc(l.want[id], func(s span) bool { return s.from <= seq && seq <= s.to })
}

// Report returns the result so far; more may be added afterwards.
func (c *Count) Report() *Report {
	r := *c.report
	r.Expected = c.ledger.Total()
	r.Lost = Finding{}
	for _, id := range slices.Sorted(maps.Keys(c.ledger.want)) {
		for _, s := range c.ledger.want[id] {
			r.Lost.gaps(id, s, c.seen[id])
		}
	}
	return &r
}

// Report is what a ledger found.
type Report struct {
	// Expected lines by the ledger, and Lines that arrived, of any kind.
	Expected, Lines int64
	// Lost never arrived intact; Repeated came again; Damaged are not what was
	// written; OutOfOrder came behind a later one of their stream; Unexpected are
	// intact but were not announced; Foreign are not of the log generator.
	Lost, Repeated, Damaged, OutOfOrder, Unexpected, Foreign Finding
}

// OK tells that every line arrived once, intact and in order, and nothing else did.
func (r *Report) OK() bool {
	return r.Lost.N+r.Repeated.N+r.Damaged.N+r.OutOfOrder.N+r.Unexpected.N+r.Foreign.N == 0
}

// String is one line when all is well, else the counts and the first examples of each.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d expected, %d arrived: %d lost, %d repeated, %d damaged, %d out of order, %d unexpected, %d foreign",
		r.Expected, r.Lines, r.Lost.N, r.Repeated.N, r.Damaged.N, r.OutOfOrder.N, r.Unexpected.N, r.Foreign.N)
	for _, f := range []struct {
		name string
		of   Finding
	}{
		{"lost", r.Lost}, {"repeated", r.Repeated}, {"damaged", r.Damaged},
		{"out of order", r.OutOfOrder}, {"unexpected", r.Unexpected}, {"foreign", r.Foreign},
	} {
		for _, e := range f.of.Examples {
			fmt.Fprintf(&b, "\n  %s: %s", f.name, e)
		}
		if f.of.more {
			fmt.Fprintf(&b, "\n  %s: …", f.name)
		}
	}
	return b.String()
}

// Finding is how many lines there are of one kind, and the first of them.
type Finding struct {
	N        int64
	Examples []string
	more     bool
}

const maxExamples = 8

func (f *Finding) add(example string) {
	f.N++
	f.example(example)
}

func (f *Finding) example(s string) {
	if len(f.Examples) == maxExamples {
		f.more = true
		return
	}
	f.Examples = append(f.Examples, s)
}

// gaps adds the numbers of s that were not seen, an example for each run of them.
func (f *Finding) gaps(id string, s span, seen map[int64]int) {
	for seq := s.from; seq <= s.to; seq++ {
		if seen[seq] > 0 {
			continue
		}
		from := seq
		for seq < s.to && seen[seq+1] == 0 {
			seq++
		}
		f.N += seq - from + 1
		f.example(fmt.Sprintf("id=%s seq=%d..%d of %d..%d", id, from, seq, s.from, s.to))
	}
}

func shorten(s string) string {
	if len(s) <= 160 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q…(%d bytes)", s[:160], len(s))
}
