package leak

import (
	"math"
	"testing"
)

func fitted(y ...float64) *fitter {
	f := new(fitter)
	for i, v := range y {
		f.t, f.y = append(f.t, float64(i)), append(f.y, v)
	}
	return f
}

func TestTheScoreOfMannAndKendall(t *testing.T) {
	for _, c := range []struct {
		y    []float64
		want float64
	}{
		{[]float64{1, 2, 3, 4, 5, 6, 7}, 20 / math.Sqrt(7*6*19/18.0)},
		{[]float64{1, 1, 2, 2, 3}, 7 / math.Sqrt((5*4*15-2*2*1*9)/18.0)},
		{[]float64{7, 6, 5}, 0},
		{[]float64{4, 4, 4, 4}, 0},
	} {
		if got := fitted(c.y...).score(); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: %g, want %g", c.y, got, c.want)
		}
	}
}

// Pure noise, with a threshold that any rise passes: what is left is chance. The real
// threshold, and that a level must be new, come on top.
func TestNoiseIsHardlyEverTakenForATrend(t *testing.T) {
	r := source()
	for n, most := range map[int]int{7: 60, 21: 20, 31: 20} {
		taken := 0
		for range 20_000 {
			y := make([]float64, n)
			for i := range y {
				y[i] = r.Float64()
			}
			if _, ok := fitted(y...).grows(1e-6); ok {
				taken++
			}
		}
		t.Logf("%d points: %d of 20000", n, taken)
		if taken > most {
			t.Errorf("%d points: %d of 20000 were taken for a trend, want at most %d", n, taken, most)
		}
	}
}

// Three up, two down, and so on: it goes somewhere, but not steadily.
func TestWhatFallsAsOftenIsNoTrend(t *testing.T) {
	var y []float64
	for i := range 21 {
		y = append(y, float64(i)+3*float64(i%2))
	}
	if _, ok := fitted(y...).grows(0.5); ok {
		t.Error("a sawtooth that climbs was taken for steady growth")
	}
}
