package report

import (
	"fmt"
	"math"
	"strings"
)

// number writes three digits; a dash when there is nothing.
func number(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// orNothing is NaN for 0, where 0 means that it was not measured.
func orNothing(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// Table returns all rows in one table, as Markdown. The ratio says by how much reference is
// better in what the row is compared by. Notes are what was set for an agent.
func Table(runs []Run, reference string, notes map[string]string) string {
	var b strings.Builder
	b.WriteString("| row | agent | compared by | MB/s | share of the limit | CPU-s | dockerd CPU-s | RSS MB | requests/s | " + reference + " is better by | lost / repeated | order kept | |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, row := range Rows() {
		for i, c := range cells(row, runs, reference) {
			title := ""
			if i == 0 {
				title = row.ID + ": " + row.Title
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", title, c.agent, strings.Join(columns(row, c, notes[c.agent]), " | "))
		}
	}
	return b.String()
}

func columns(row Row, c cell, note string) []string {
	lost, repeated, disorder := int64(0), int64(0), int64(0)
	ran := false
	for _, r := range c.runs {
		ran = ran || r.Why == ""
		lost, repeated, disorder = max(lost, r.Lost), max(repeated, r.Server.Repeated), max(disorder, r.Server.Disorder)
	}
	value := "–"
	if v := c.median(row.Value); !math.IsNaN(v) {
		value = "**" + number(v) + "** " + row.Unit
	}
	speed := func(r Run) float64 { return r.mb() / r.Seconds }
	share := func(r Run) float64 { return orNothing(100 * r.Limit / max(r.CPU, tick)) }
	ratio := number(c.ratio)
	if !math.IsNaN(c.ratio) {
		ratio = fmt.Sprintf("%s × (%s–%s)", ratio, number(c.from), number(c.to))
	}
	kept, counted := "–", "–"
	if ran {
		kept, counted = "yes", fmt.Sprintf("%d / %d", lost, repeated)
		if disorder > 0 {
			kept = fmt.Sprintf("no (%d lines)", disorder)
		}
	}
	engine := c.median(func(r Run) float64 { return r.Engine })
	if row.ID[0] != 'F' {
		engine = math.NaN()
	}
	percent := number(c.median(share))
	if percent != "–" {
		percent += " %"
	}
	return []string{
		value, number(c.median(speed)), percent, number(c.median(func(r Run) float64 { return r.CPU })),
		number(engine),
		number(c.median(func(r Run) float64 { return float64(r.RSS) / 1e6 })),
		number(c.median(func(r Run) float64 { return float64(r.Requests) / r.Seconds })),
		ratio, counted, kept, remarks(row, c, note),
	}
}

// remarks are what is left to say: what is wrong, what the row alone has, what was set.
func remarks(row Row, c cell, note string) string {
	var all []string
	if v := c.verdict(); v != "" {
		all = append(all, strings.NewReplacer("\n", " ", "|", "/").Replace(v))
	}
	if n := len(c.good); n > 0 && n < len(c.runs) {
		all = append(all, fmt.Sprintf("%d of %d runs count", n, len(c.runs)))
	}
	if len(c.good) > 0 {
		switch row.ID {
		case "E":
			all = append(all, "p99 "+number(c.median(func(r Run) float64 { return r.P99 }))+" ms")
		case "H":
			all = append(all, fmt.Sprintf("%s MB/s in, %s out", number(c.median(func(r Run) float64 { return r.mb() / r.In })), number(c.median(func(r Run) float64 { return r.mb() / r.Out }))))
		}
	}
	if note != "" && len(c.good) > 0 {
		all = append(all, note)
	}
	return strings.Join(all, "; ")
}
