package diagnose

import (
	"math"
	"slices"
	"time"
)

// Trend is how a number moved.
type Trend struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	// PerMinute is the slope that half of all pairs of points lie above and half below
	// (Theil 1950, Sen 1968): up to 29 of 100 points may be off without bending it.
	PerMinute float64 `json:"per_minute"`
	// Grows tells that it rises steadily and by enough.
	Grows bool `json:"grows"`
}

// scale is from when on growth counts.
type scale struct {
	rise      float64 // over the whole time
	perMinute float64
}

const (
	// minPoints are needed to tell a slope from chance.
	minPoints = 5
	// steady is the least surplus of pairs of points that rise over pairs that fall, as a
	// share of all (Kendall's tau, a tie counting as neither). One step of load, however
	// high, makes 0.6 at most, two make 0.7; a line makes 1.
	steady = 0.7
)

// counts is for goroutines, descriptors and the like, heap for bytes.
func counts() scale { return scale{rise: 4, perMinute: 0.1} }
func heap() scale   { return scale{rise: 8 << 20, perMinute: 1 << 20} }

// fit returns the trend of values at times.
func fit(at []time.Duration, values []float64, s scale) Trend {
	if len(values) == 0 {
		return Trend{}
	}
	n := len(values)
	t := Trend{From: values[0], To: values[n-1]}
	slopes, surplus := make([]float64, 0, n*(n-1)/2), 0
	for i := range values {
		for j := i + 1; j < n; j++ {
			minutes := (at[j] - at[i]).Minutes()
			if minutes <= 0 {
				continue
			}
			slopes = append(slopes, (values[j]-values[i])/minutes)
			switch {
			case values[j] > values[i]:
				surplus++
			case values[j] < values[i]:
				surplus--
			}
		}
	}
	if len(slopes) == 0 {
		return t
	}
	t.PerMinute = median(slopes)
	tau := float64(surplus) / float64(len(slopes))
	rise := t.PerMinute * (at[n-1] - at[0]).Minutes()
	t.Grows = n >= minPoints && tau > steady && rise >= s.rise-1e-9 && t.PerMinute >= s.perMinute
	return t
}

// median sorts its argument.
func median(values []float64) float64 {
	slices.Sort(values)
	mid := len(values) / 2
	if len(values)%2 == 1 {
		return values[mid]
	}
	return (values[mid-1] + values[mid]) / 2
}

// round keeps what is worth printing.
func round(x float64) float64 {
	if x = math.Round(x*10) / 10; x == 0 {
		return 0 // and not -0
	}
	return x
}
