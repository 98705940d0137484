package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

const (
	// longList is how many containers are a long list, alike how many of them share a row.
	longList = 12
	alike    = 3
)

// row is one line of the table of containers.
type row struct {
	level Level
	cells []string // name, driver, read, rotation, rate, loss window
}

// containers writes the table of containers, how they are read, and what was found.
func (t *table) containers(r Report) {
	if len(r.Containers) == 0 {
		return
	}
	var captured []Container
	for _, c := range r.Containers {
		if c.Captured {
			captured = append(captured, c)
		}
	}
	title := fmt.Sprintf("Containers: %d captured", len(captured))
	if left := len(r.Containers) - len(captured); left > 0 {
		title += fmt.Sprintf(", %d not", left)
	}
	t.heading(title)
	if len(captured) > 0 {
		t.rows(rowsOf(captured, t.opts.All))
	}
	t.why(r.Containers)
	for _, n := range notes(r.Containers) {
		t.text(2, strings.Repeat(" ", levelWidth), t.level(n.Level), t.some(n.names)+": "+n.Found)
		t.fix(2+levelWidth, n.Fix)
	}
	if len(captured) > 0 {
		t.gap()
		t.text(2+levelWidth, "", "", fmt.Sprintf("Rates are those of the last %s. The loss window is how long the agent may be away before the engine deletes lines that it has not read: max-size × max-file ÷ rate.", sampled(r.Sample)))
	}
	t.gap()
}

// rows writes aligned columns; numbers are aligned to the right.
func (t *table) rows(rows []row) {
	head := []string{"NAME", "DRIVER", "READ", "ROTATION", "RATE", "LOSS WINDOW"}
	widths := make([]int, len(head))
	for i, title := range head {
		widths[i] = width(title)
		for _, r := range rows {
			widths[i] = max(widths[i], width(r.cells[i]))
		}
	}
	join := func(cells []string) string {
		var b strings.Builder
		for i, cell := range cells {
			filled := pad(cell, widths[i])
			if i == 4 {
				filled = strings.Repeat(" ", widths[i]-width(cell)) + cell
			}
			b.WriteString(filled + "  ")
		}
		return strings.TrimRight(b.String(), " ")
	}
	t.line(2+levelWidth, t.paint(dim, join(head)))
	for _, r := range rows {
		t.line(2, t.level(r.level)+join(r.cells))
	}
}

// rowsOf makes the rows: one a container, or one for all that are alike in a long list.
func rowsOf(captured []Container, all bool) []row {
	var order []string
	groups := map[string][]Container{}
	for _, c := range captured {
		key := c.ID
		if !all && len(captured) > longList {
			key = fmt.Sprint(c.Driver, c.Mode, c.shared(), rotationText(c.Rotation), c.Running, c.Findings)
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], c)
	}
	var rows []row
	for _, key := range order {
		group := groups[key]
		if len(group) >= alike {
			rows = append(rows, groupRow(group))
			continue
		}
		for _, c := range group {
			rows = append(rows, containerRow(c))
		}
	}
	return rows
}

func containerRow(c Container) row {
	return row{c.Level, []string{
		shorten(units.Printable(c.Name), nameWidth), units.Printable(c.Driver), string(c.Mode), rotationText(c.Rotation), rateText(c), windowText(c),
	}}
}

// groupRow shows the fastest rate and the shortest loss window.
func groupRow(group []Container) row {
	first := group[0]
	fastest, shortest := first, first
	for _, c := range group[1:] {
		if c.Rate != nil && (fastest.Rate == nil || *c.Rate > *fastest.Rate) {
			fastest = c
		}
		if c.LossWindow != nil && (shortest.LossWindow == nil || *c.LossWindow < *shortest.LossWindow) {
			shortest = c
		}
	}
	r := containerRow(first)
	r.cells[0] = fmt.Sprintf("%s and %d like it", shorten(units.Printable(first.Name), nameWidth-len(" and 999 like it")), len(group)-1)
	if fastest.Rate != nil && *fastest.Rate > 0 {
		r.cells[4] = "≤ " + rateText(fastest)
	}
	if shortest.LossWindow != nil {
		r.cells[5] = "≥ " + windowText(shortest)
	}
	return r
}

func rotationText(r *Rotation) string {
	switch {
	case r == nil:
		return "unknown"
	case r.MaxSize == 0:
		return "none"
	}
	text := fmt.Sprintf("%s × %d", units.HumanBytes(float64(r.MaxSize)), r.MaxFiles)
	if r.Compress {
		text += " gzip"
	}
	return text
}

func rateText(c Container) string {
	switch {
	case !c.Running:
		return "stopped"
	case c.Rate == nil:
		return "unknown"
	case *c.Rate == 0:
		return "quiet"
	}
	return units.HumanBytes(*c.Rate) + "/s"
}

func windowText(c Container) string {
	switch {
	case c.LossWindow != nil:
		return humanTime(*c.LossWindow)
	case c.Driver == jsonFile && c.Rotation != nil && c.Rotation.MaxSize == 0:
		return "no limit (disk)"
	case !c.Running, c.Rate != nil:
		return "–"
	}
	return "unknown"
}

// why lists the reasons, each with its containers; those that are not captured last.
func (t *table) why(containers []Container) {
	var read, left []string
	names := map[string][]string{}
	for _, c := range containers {
		text, list := "not captured, "+c.shared(), &left
		if c.Captured {
			text, list = fmt.Sprintf("read as %s, %s", c.Mode, c.shared()), &read
		}
		if names[text] == nil {
			*list = append(*list, text)
		}
		names[text] = append(names[text], c.Name)
	}
	t.gap()
	for _, text := range append(read, left...) {
		t.text(2+levelWidth, "", "", t.some(names[text])+": "+text)
	}
	t.gap()
}

// shared returns the reason in the words that it has in common with other containers,
// without the advice that its finding gives too.
func (c *Container) shared() string {
	text := c.Reason
	if c.blocked {
		text, _, _ = strings.Cut(text, "; ")
	}
	return strings.ReplaceAll(text, c.ID, "ID")
}

// note is a finding with all its containers.
type note struct {
	Finding
	names []string
}

// notes collects the containers' findings, the worst first.
func notes(containers []Container) []note {
	at := map[Finding]int{}
	var all []note
	for _, c := range containers {
		for _, f := range c.Findings {
			i, seen := at[f]
			if !seen {
				i = len(all)
				at[f], all = i, append(all, note{Finding: f})
			}
			all[i].names = append(all[i].names, c.Name)
		}
	}
	slices.SortStableFunc(all, func(a, b note) int {
		if a.Level == b.Level {
			return 0
		}
		if worse(a.Level, b.Level) == a.Level {
			return -1
		}
		return 1
	})
	return all
}

// some lists names, all of them when that was asked for.
func (t *table) some(names []string) string {
	if t.opts.All {
		return strings.Join(names, ", ")
	}
	return some(names)
}
