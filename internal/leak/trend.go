package leak

import (
	"math"
	"slices"
)

// What growth must be to be a leak. Each test refuses what the others let pass.
const (
	// minScore is that of Mann and Kendall, in standard deviations: chance makes less.
	minScore = 2.5
	// minRises is how often it must have gone up: two or three steps are no trend.
	minRises = 4
	// partShare of the rate must be there in every third of the time: a step, or a
	// burst that has levelled off, is not.
	partShare = 0.4
	// lateShare of the first third's growth must be there in the last one: what warms
	// up grows less and less.
	lateShare = 0.6
)

// fitter holds the scratch memory of the tests, so that a look allocates nothing.
type fitter struct {
	t, y, slopes, sorted []float64
}

// load takes the points in: their times in minutes, and y of each.
func (f *fitter) load(points []point, y func(point) float64) {
	f.t, f.y = f.t[:0], f.y[:0]
	for _, p := range points {
		f.t, f.y = append(f.t, p.at), append(f.y, y(p))
	}
}

// grows tells whether what was loaded grows steadily by at least need a minute, and by
// how much.
func (f *fitter) grows(need float64) (perMinute float64, ok bool) {
	n := len(f.y)
	if n < minRises+1 {
		return 0, false
	}
	length := f.t[n-1] - f.t[0]
	// Cheap, and true of nearly all that is looked at.
	if length <= 0 || f.y[n-1]-f.y[0] < need*length/2 {
		return 0, false
	}
	rises, falls := f.steps()
	if rises < minRises || rises < 2*falls || !f.everywhere(need) {
		return 0, false
	}
	perMinute = f.slope()
	return perMinute, perMinute >= need && f.score() >= minScore
}

func (f *fitter) steps() (rises, falls int) {
	for i := 1; i < len(f.y); i++ {
		switch {
		case f.y[i] > f.y[i-1]:
			rises++
		case f.y[i] < f.y[i-1]:
			falls++
		}
	}
	return rises, falls
}

// everywhere tells whether it grew in each third of the time, and has not slowed down.
// It compares medians of neighbours, so that one odd look does not decide.
func (f *fitter) everywhere(need float64) bool {
	n := len(f.y)
	reach := max(1, n/10)
	var rates [3]float64
	before, at := 0.0, 0.0
	for q := range 4 {
		center := q * (n - 1) / 3
		lo, hi := max(0, center-reach), min(n, center+reach+1)
		y, t := f.median(f.y[lo:hi]), f.median(f.t[lo:hi])
		if q > 0 {
			rates[q-1] = (y - before) / (t - at)
		}
		before, at = y, t
	}
	for _, rate := range rates {
		if !(rate >= partShare*need) {
			return false
		}
	}
	return rates[2] >= lateShare*rates[0]
}

// slope is the median of the slopes between all pairs (Theil and Sen): a third of the
// points may be anything without moving it.
func (f *fitter) slope() float64 {
	f.slopes = f.slopes[:0]
	for i := range f.y {
		for j := i + 1; j < len(f.y); j++ {
			if dt := f.t[j] - f.t[i]; dt > 0 {
				f.slopes = append(f.slopes, (f.y[j]-f.y[i])/dt)
			}
		}
	}
	if len(f.slopes) == 0 {
		return 0
	}
	slices.Sort(f.slopes)
	return middle(f.slopes)
}

// score is the statistic of Mann and Kendall, corrected for ties, in standard
// deviations: how much more often a later point is higher than lower.
func (f *fitter) score() float64 {
	s, n := 0.0, float64(len(f.y))
	for i := range f.y {
		for j := i + 1; j < len(f.y); j++ {
			switch {
			case f.y[j] > f.y[i]:
				s++
			case f.y[j] < f.y[i]:
				s--
			}
		}
	}
	variance := n * (n - 1) * (2*n + 5)
	f.sorted = append(f.sorted[:0], f.y...)
	slices.Sort(f.sorted)
	for i := 0; i < len(f.sorted); {
		j := i
		for j < len(f.sorted) && f.sorted[j] == f.sorted[i] {
			j++
		}
		ties := float64(j - i)
		variance -= ties * (ties - 1) * (2*ties + 5)
		i = j
	}
	if variance <= 0 || s <= 0 {
		return 0
	}
	return (s - 1) / math.Sqrt(variance/18)
}

func (f *fitter) median(v []float64) float64 {
	f.sorted = append(f.sorted[:0], v...)
	slices.Sort(f.sorted)
	return middle(f.sorted)
}

// middle is the median of what is sorted.
func middle(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
