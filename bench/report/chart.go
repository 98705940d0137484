package report

import (
	"fmt"
	"math"
	"strings"
)

// Of the chart, in pixels.
const (
	chartWidth, chartLeft, chartRight = 900.0, 240.0, 90.0
	barHeight, barGap, titleHeight    = 15.0, 4.0, 38.0
)

// Chart returns a bar for each agent of each row, as SVG. Every row has a scale of its own;
// where there is a limit of the machine, it is the longest bar.
func Chart(runs []Run, reference, caption string) string {
	var b strings.Builder
	y := 30.0
	for _, row := range Rows() {
		all := cells(row, runs, reference)
		if len(all) == 0 {
			continue
		}
		direction := "shorter is better"
		if row.More {
			direction = "longer is better"
		}
		fmt.Fprintf(&b, `<text x="20" y="%.0f" font-weight="bold">%s: %s</text><text x="%.0f" y="%.0f" text-anchor="end" fill="#555">%s, %s</text>`+"\n",
			y+24, row.ID, escape(row.Title), chartWidth-20, y+24, escape(row.Unit), direction)
		y += titleHeight
		limit := machineLimit(all)
		longest := orZero(limit)
		for _, c := range all {
			longest = max(longest, orZero(c.median(row.Value)))
		}
		if !math.IsNaN(limit) {
			y = bar(&b, y, "the machine's limit", limit, longest, "#bbbbbb", "")
		}
		for _, c := range all {
			colour := "#2471a3"
			if c.agent == reference {
				colour = "#c0392b"
			}
			y = bar(&b, y, c.agent, c.median(row.Value), longest, colour, c.verdict())
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="20" y="20" fill="#555">%s</text>
`, chartWidth, y+20, escape(caption)) + b.String() + "</svg>\n"
}

// machineLimit is the median of all runs of a row, in MB per CPU-second; NaN where it has none.
func machineLimit(all []cell) float64 {
	var limits []float64
	for _, c := range all {
		for _, r := range c.runs {
			if r.Limit > 0 {
				limits = append(limits, r.mb()/r.Limit)
			}
		}
	}
	return Median(limits)
}

// bar draws one and returns where the next one goes. Without a value it says why.
func bar(b *strings.Builder, y float64, name string, v, longest float64, colour, why string) float64 {
	fmt.Fprintf(b, `<text x="%g" y="%.0f" text-anchor="end">%s</text>`, chartLeft-8, y+12, escape(name))
	label := number(v)
	if math.IsNaN(v) {
		v, label = 0, "–"
		if runes := []rune(why); len(runes) > 80 {
			why = string(runes[:80]) + "…"
		}
		label = strings.TrimSuffix(label+" "+why, " ")
	}
	width := 0.0
	if longest > 0 {
		width = (chartWidth - chartLeft - chartRight) * v / longest
	}
	fmt.Fprintf(b, `<rect x="%g" y="%.0f" width="%.1f" height="%g" fill="%s"/>`, chartLeft, y, width, barHeight, colour)
	fmt.Fprintf(b, `<text x="%.1f" y="%.0f" fill="#333">%s</text>`+"\n", chartLeft+width+6, y+12, escape(label))
	return y + barHeight + barGap
}

func orZero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
