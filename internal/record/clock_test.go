package record

import (
	"testing"
	"time"
)

func TestAClockOnlyGoesForwardUnlessItIsSetBack(t *testing.T) {
	second := int64(time.Second)
	var c Clock
	for i, step := range []struct{ in, want int64 }{
		{10 * second, 10 * second},
		{10 * second, 10*second + 1},
		{10 * second, 10*second + 2},
		{10*second + 1, 10*second + 3},
		{9*second + 500, 10*second + 4},
		{11 * second, 11 * second},
		{10 * second, 10 * second}, // set back by a whole second: believed
		{10 * second, 10*second + 1},
	} {
		if got := c.Next(step.in); got != step.want {
			t.Errorf("step %d: Next(%d) = %d, want %d", i, step.in, got, step.want)
		}
	}
	// Reading again from the same place gives the same.
	a, b := Clock{Last: 10 * second}, Clock{Last: 10 * second}
	for _, ts := range []int64{10 * second, 10 * second, 12 * second} {
		if x, y := a.Next(ts), b.Next(ts); x != y {
			t.Errorf("%d and then %d", x, y)
		}
	}
}
