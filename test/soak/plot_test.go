package soak

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// curve is one line of a panel.
type curve struct {
	name, colour string
	points       []point
}

// panel is a part of the plot with a scale of its own.
type panel struct {
	title  string
	curves []curve
}

var colours = map[string]string{"outage": "#f5b7b1", "reload": "#aed6f1", "restart": "#c39bd3"}

// Of the plot, in pixels.
const (
	plotWidth, plotLeft, plotRight = 900.0, 60.0, 20.0
	panelHeight, panelGap, plotTop = 130.0, 38.0, 40.0
)

// plot draws panels over the same time, as SVG, with what happened behind them.
func plot(from, to time.Time, marks []mark, panels []panel) string {
	var b strings.Builder
	height := plotTop + float64(len(panels))*(panelHeight+panelGap) + 10
	inner := plotWidth - plotLeft - plotRight
	x := func(at time.Time) float64 {
		return plotLeft + inner*at.Sub(from).Seconds()/max(1, to.Sub(from).Seconds())
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", plotWidth, height)
	legend := plotLeft
	for _, kind := range []string{"outage", "reload", "restart"} {
		fmt.Fprintf(&b, `<rect x="%g" y="8" width="14" height="12" fill="%s"/><text x="%g" y="18">%s</text>`+"\n",
			legend, colours[kind], legend+18, map[string]string{"outage": "a sink is out of reach", "reload": "a reload", "restart": "dockerd is restarted"}[kind])
		legend += 190
	}
	for i, p := range panels {
		top := plotTop + float64(i)*(panelHeight+panelGap)
		bottom := top + panelHeight
		for _, m := range marks {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%g" width="%.1f" height="%g" fill="%s"/>`+"\n", x(m.from), top, max(1, x(m.to)-x(m.from)), panelHeight, colours[m.kind])
		}
		highest := 0.0
		for _, c := range p.curves {
			for _, q := range c.points {
				highest = max(highest, q.v)
			}
		}
		highest = round(highest)
		fmt.Fprintf(&b, `<path d="M%g %gV%gH%g" stroke="#888" fill="none"/>`+"\n", plotLeft, top, bottom, plotWidth-plotRight)
		for _, share := range []float64{0, 0.5, 1} {
			fmt.Fprintf(&b, `<text x="%g" y="%.1f" text-anchor="end" fill="#555">%g</text>`+"\n", plotLeft-6, bottom-share*panelHeight+4, highest*share)
		}
		label := plotLeft + 6
		fmt.Fprintf(&b, `<text x="%g" y="%g" font-weight="bold">%s</text>`+"\n", label, top-5, p.title)
		label += 7.2*float64(len(p.title)) + 14
		for _, c := range p.curves {
			fmt.Fprintf(&b, `<text x="%g" y="%g" fill="%s">%s</text>`+"\n", label, top-5, c.colour, c.name)
			label += 6.6*float64(len(c.name)) + 14
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.3"/>`+"\n", path(c.points, x, func(v float64) float64 { return bottom - panelHeight*v/highest }), c.colour)
		}
		for tick := range 7 {
			at := from.Add(to.Sub(from) * time.Duration(tick) / 6)
			fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle" fill="#555">%.3g min</text>`+"\n", x(at), bottom+15, at.Sub(from).Minutes())
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// path is a line through the greatest value of each pixel: peaks show, and a day takes no
// more bytes than an hour.
func path(points []point, x func(time.Time) float64, y func(float64) float64) string {
	var out strings.Builder
	for i := 0; i < len(points); {
		at, highest := math.Floor(x(points[i].at)), points[i].v
		for ; i < len(points) && math.Floor(x(points[i].at)) == at; i++ {
			highest = max(highest, points[i].v)
		}
		fmt.Fprintf(&out, "%.0f,%.1f ", at, y(highest))
	}
	return strings.TrimSuffix(out.String(), " ")
}

// round is the next number upwards of 1, 2, 3, 4, 5, 6 or 8 times a power of ten.
func round(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 3, 4, 5, 6, 8} {
		if v <= n*power {
			return n * power
		}
	}
	return 10 * power
}
