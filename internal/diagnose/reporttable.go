package diagnose

import (
	"fmt"
	"strconv"

	"github.com/logcapturer/log_capturer/internal/units"
)

// mostRows are shown of a long list; JSON has all.
const mostRows = 15

// Head writes the head of the table of rows, Row one of them as soon as it is there.
func (p *Printer) Head() {
	p.line(p.paint(bold, fmt.Sprintf("%-10s %10s %7s %8s %8s %6s %8s %9s", "", "GOROUTINES", "GROWTH", "PER MIN", "EXPECTED", "FDS", "OF LIMIT", "LIVE HEAP")))
}

// Row writes one line of the table.
func (p *Printer) Row(r Row) {
	growth, rate := "-", "-"
	if r.Seconds > 0 {
		growth, rate = signedInt(r.Growth), signed(r.PerMinute)
	}
	share := "-"
	if r.Limit > 0 {
		share = fmt.Sprintf("%.1f %%", 100*float64(r.Descriptors)/float64(r.Limit))
	}
	p.line(fmt.Sprintf("%-10s %10d %7s %8s %8d %6d %8s %9s", moment(r.Seconds), r.Goroutines, growth, rate, r.Expected, r.Descriptors, share, size(float64(r.HeapBytes))))
}

func signedInt(n int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%+d", n)
}

// Report writes all but the rows.
func (p *Printer) Report(r Report) {
	p.section("Goroutines by owner", []string{"OWNER", "COMPONENT", ">FROM", ">TO", ">EXPECTED", ">PER MIN", ">UNEXPLAINED"}, moving(r.Owners, func(g Growth) []string {
		return []string{owner(g.Owner), component(g.Component), count(g.Count.From), count(g.Count.To), count(g.Expected.To), signed(g.Count.PerMinute), signed(g.Excess.PerMinute)}
	}))
	p.section("Goroutines by stack", []string{">PER MIN", ">FROM", ">TO", "STACK"}, moving(r.Stacks, func(g Growth) []string {
		return []string{signed(g.Count.PerMinute), count(g.Count.From), count(g.Count.To), orNone(g.Stack)}
	}))
	p.section("Held by owner", []string{"OWNER", "KIND", ">FROM", ">TO", ">EXPECTED", ">PER MIN"}, moving(r.Held, func(g Growth) []string {
		return []string{owner(g.Owner), units.Printable(g.Kind), count(g.Count.From), count(g.Count.To), expectation(g), signed(g.Count.PerMinute)}
	}))
	p.section("Descriptors by kind", []string{"KIND", ">FROM", ">TO", ">IN THE REGISTER", ">PER MIN"}, moving(r.Descriptors, func(g Growth) []string {
		return []string{units.Printable(g.Kind), count(g.Count.From), count(g.Count.To), expectation(g), signed(g.Count.PerMinute)}
	}))
	if r.Heap.Excess.Grows {
		p.section("Live memory by who allocated it", []string{">FROM", ">TO", ">PER MIN", "COMPONENT", "FUNCTION"}, moving(r.HeapSites, func(g Growth) []string {
			return []string{size(g.Count.From), size(g.Count.To), size(g.Count.PerMinute), component(g.Component), orNone(g.Stack)}
		}))
	}
	var lost [][]string
	for _, g := range r.Held {
		if g.Unclosed > 0 {
			lost = append(lost, []string{owner(g.Owner), units.Printable(g.Kind), strconv.FormatInt(g.Unclosed, 10), strconv.FormatInt(g.NewUnclosed, 10)})
		}
	}
	p.section("Given up without being closed, since the agent started: each is a bug", []string{"OWNER", "KIND", ">COUNT", ">MEANWHILE"}, lost)
	if r.Stopped != "" {
		p.line("")
		p.line("ended before its time: " + units.Printable(r.Stopped))
	}
	p.verdict(r.Verdict)
}

// moving are the rows of what changed, the fastest first.
func moving(all []Growth, cells func(Growth) []string) (rows [][]string) {
	more := 0
	for _, g := range all {
		switch {
		case g.Count.From == g.Count.To && round(g.Count.PerMinute) == 0:
		case len(rows) == mostRows:
			more++
		default:
			rows = append(rows, cells(g))
		}
	}
	if more > 0 {
		last := make([]string, len(rows[0]))
		last[0] = fmt.Sprintf("and %d more, see --json", more)
		rows = append(rows, last)
	}
	return rows
}

func owner(name string) string {
	if name == "" {
		return "(runtime and server)"
	}
	return units.Printable(name)
}

func component(name string) string {
	if name == "" {
		return "-"
	}
	return units.Printable(name)
}

func orNone(stack string) string {
	if stack == "" {
		return "(not known)"
	}
	return units.Printable(stack)
}

func expectation(g Growth) string {
	if !g.Known {
		return "not known"
	}
	return count(g.Expected.To)
}
