package soak

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// point is a value at a time.
type point struct {
	at time.Time
	v  float64
}

// trend is how a series goes, for each minute: its slope, and half of the 95 % confidence
// interval.
type trend struct{ slope, half float64 }

func (f trend) String() string { return fmt.Sprintf("%+.4f ± %.4f", f.slope, f.half) }

// beyond tells that the slope is surely steeper than limit, upwards or downwards.
func (f trend) beyond(limit float64) bool { return math.Abs(f.slope)-f.half > limit }

// most is how many parts a trend is made from. Samples that follow each other are alike,
// which least squares does not know; those of longer times are more nearly independent.
const most = 40

// trendOf fits a line by least squares to the medians of equal parts of a series: what is
// there for a moment is no trend, and must not hide one.
func trendOf(series []point) trend {
	parts := min(most, len(series)/3)
	if parts < 3 {
		return trend{0, math.Inf(1)}
	}
	xs, ys := make([]float64, parts), make([]float64, parts)
	for i := range parts {
		part := series[i*len(series)/parts : (i+1)*len(series)/parts]
		middle := slices.SortedFunc(slices.Values(part), func(a, b point) int { return cmp.Compare(a.v, b.v) })
		xs[i], ys[i] = part[len(part)/2].at.Sub(series[0].at).Minutes(), middle[len(part)/2].v
	}
	n := float64(parts)
	mx, my := mean(xs), mean(ys)
	var xx, xy float64
	for i := range parts {
		xx += (xs[i] - mx) * (xs[i] - mx)
		xy += (xs[i] - mx) * (ys[i] - my)
	}
	slope, rest := xy/xx, 0.0
	for i := range parts {
		d := ys[i] - my - slope*(xs[i]-mx)
		rest += d * d
	}
	return trend{slope, student(n-2) * math.Sqrt(rest/(n-2)/xx)}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// student is the 97.5 % quantile of Student's t distribution, to 1 % for three degrees of
// freedom and more.
func student(degrees float64) float64 {
	return 1.96 + 2.37/degrees + 2.8/(degrees*degrees) + 2.5/(degrees*degrees*degrees)
}

// growth is how far the floor of a series rose: that of its last third over that of its
// first, where a tenth of the values may be lower. What comes and goes does not count,
// what stays does.
func growth(series []point) float64 {
	third := len(series) / 3
	if third == 0 {
		return 0
	}
	floor := func(part []point) float64 {
		values := make([]float64, len(part))
		for i, p := range part {
			values[i] = p.v
		}
		slices.Sort(values)
		return values[len(values)/10]
	}
	return floor(series[len(series)-third:]) - floor(series[:third])
}
