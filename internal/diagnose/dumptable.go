package diagnose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

// suspicious is from how many alike a verdict speaks of them.
const suspicious = 20

// judgeDump says what a dump looks like. One dump shows how much there is, not whether it
// grows: it is never more than a suspicion.
func judgeDump(d Dump) Verdict {
	lost := min(d.Signs.Abandoned(), d.Signs.WriteLoops)
	v := Verdict{Finding: NoLeak}
	largest, found := largestOf(d, "")
	switch {
	case lost >= suspicious && lost*8 >= d.Goroutines:
		v.Finding = Suspicion
		v.Text = fmt.Sprintf("looks like HTTP answers that nobody closes: %d of %d goroutines are the readLoop and writeLoop of %d connections whose answer nobody reads; a follow stream that nobody closes is exactly two of these and a descriptor",
			2*lost, d.Goroutines, lost)
		largest, found = largestOf(d, "net/http.(*persistConn).readLoop")
	case d.Signs.Sending >= suspicious && d.Signs.Sending*4 >= d.Goroutines:
		v.Finding = Suspicion
		v.Text = fmt.Sprintf("looks like a channel that nobody reads from: %d of %d goroutines are blocked on a send", d.Signs.Sending, d.Goroutines)
	case d.Signs.Locking >= suspicious && d.Signs.Locking*4 >= d.Goroutines:
		v.Finding = Suspicion
		v.Text = fmt.Sprintf("looks like a lock that is not given back: %d of %d goroutines wait for one", d.Signs.Locking, d.Goroutines)
	case found && largest.Count*2 >= d.Goroutines:
		v.Finding = Suspicion
		v.Text = fmt.Sprintf("%d of %d goroutines have one stack", largest.Count, d.Goroutines)
	default:
		v.Text = fmt.Sprintf("nothing stands out among %d goroutines", d.Goroutines)
	}
	if found && v.Finding == Suspicion {
		v.Owner = largest.Owner
		v.Text += fmt.Sprintf("; the largest group is of owner %s, %d at %s", units.Printable(largest.Owner), largest.Count, units.Printable(top(largest.Stack)))
		if w := largest.Waiting; w != nil && w.Max > 0 {
			v.Text += fmt.Sprintf(", for up to %d minutes", w.Max)
		}
	}
	if v.Finding == Suspicion {
		v.Text += "; whether it grows only a second dump tells, or log_capturer diagnose beside the agent"
	}
	return v
}

// largestOf is the largest group of which a function is part, when it is large.
func largestOf(d Dump, function string) (Group, bool) {
	for _, g := range d.Stacks {
		if strings.Contains(g.Stack, function) {
			return g, g.Count >= suspicious
		}
	}
	return Group{}, false
}

// Dump writes what a dump says.
func (p *Printer) Dump(d Dump) {
	text := fmt.Sprintf("%d goroutines", d.Goroutines)
	if d.Truncated {
		text += "; the dump ends in the middle, there were more"
	}
	p.line(text)
	groups := func(heading string, all []Group, stack bool) {
		var rows [][]string
		more := 0
		for _, g := range all[:min(len(all), mostRows)] {
			row := []string{strconv.Itoa(g.Count), minutes(g.Waiting), states(g.States), units.Printable(g.Owner)}
			if stack {
				row = []string{row[0], row[1], row[2], units.Printable(short(g.Stack))}
			}
			rows = append(rows, row)
		}
		for _, g := range all[min(len(all), mostRows):] {
			more = sum(more, g.Count)
		}
		if more > 0 {
			rows = append(rows, []string{strconv.Itoa(more), "", "", fmt.Sprintf("in %d more groups, see --json", len(all)-mostRows)})
		}
		last := "OWNER"
		if stack {
			last = "STACK"
		}
		p.section(heading, []string{">COUNT", "MINUTES", "STATES", last}, rows)
	}
	groups("By owner", d.Owners, false)
	groups("By stack", d.Stacks, true)
	pairs := min(d.Signs.ReadLoops, d.Signs.WriteLoops)
	p.section("Signs", []string{">COUNT", "WHAT"}, [][]string{
		{strconv.Itoa(pairs), fmt.Sprintf("HTTP connections (persistConn readLoop and writeLoop), %.0f %% of all goroutines", 200*float64(pairs)/float64(d.Goroutines))},
		{strconv.Itoa(d.Signs.Streaming), "of them have an answer that is not read to its end, such as a stream"},
		{strconv.Itoa(d.Signs.Abandoned()), "of those are read by nobody, and were not closed"},
		{strconv.Itoa(d.Signs.Sending), "blocked on a channel send"},
		{strconv.Itoa(d.Signs.Receiving), "blocked on a channel receive"},
		{strconv.Itoa(d.Signs.Locking), "wait for a lock"},
	})
	if d.Form == formProfile {
		p.line("  (a profile does not tell states and ages; debug=2 and SIGQUIT do)")
	}
	p.verdict(d.Verdict)
}

// minutes writes min/median/max.
func minutes(w *Waiting) string {
	switch {
	case w == nil:
		return "-"
	case w.Min == w.Max:
		return strconv.Itoa(w.Min)
	default:
		return fmt.Sprintf("%d/%d/%d", w.Min, w.Median, w.Max)
	}
}

// states writes the most frequent three.
func states(all map[string]int) string {
	if len(all) == 0 {
		return "-"
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, n := range names[:min(len(names), 3)] {
		if len(all) > 1 {
			parts = append(parts, fmt.Sprintf("%s %d", units.Printable(n), all[n]))
		} else {
			parts = append(parts, units.Printable(n))
		}
	}
	return strings.Join(parts, ", ")
}

// short keeps the first frames of a stack.
func short(stack string) string {
	const most = 4
	frames := strings.Split(stack, " < ")
	if len(frames) > most {
		return strings.Join(frames[:most], " < ") + " < …"
	}
	return stack
}
