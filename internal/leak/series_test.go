package leak

import (
	"testing"
	"time"
)

// What comes and goes within a step leaves no trace, and one high look is no level.
func TestTheLowestLookOfAStepCounts(t *testing.T) {
	s := newSeries(15 * time.Second)
	for i := range 400 {
		v := 5.0
		if i%3 == 1 {
			v = 100
		}
		s.add(point{at: float64(i) / 4, value: v, expected: 1})
		if i > 0 && s.level() != 4 {
			t.Fatalf("after look %d the level is %g", i, s.level())
		}
	}
	for _, p := range s.windows[2].points {
		if p.over() != 4 {
			t.Fatalf("a point of the hour is %g", p.over())
		}
	}
	for i, want := range []int{7, 21, 31} {
		if n := len(s.windows[i].points); n != want || !s.windows[i].full() {
			t.Errorf("%s: %d points, want %d", spanOf(i).name, n, want)
		}
	}
}

func TestAJumpOfTheClockIsOneInterval(t *testing.T) {
	var c clock
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i, passed := range []time.Duration{0, 15 * time.Second, 16 * time.Second, -time.Hour, 14 * time.Second, 24 * time.Hour, 15 * time.Second} {
		before := c.minutes
		now = now.Add(passed)
		want := passed
		if passed <= 0 || passed > time.Minute {
			want = 15 * time.Second
		}
		if got := c.tick(now, 15*time.Second) - before; got < want.Minutes()-1e-9 || got > want.Minutes()+1e-9 {
			t.Errorf("step %d, %s: %g minutes, want %g", i, passed, got, want.Minutes())
		}
	}
}
