package leak

import (
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/units"
)

// maxSeries bounds what is watched; an agent has some sixty series.
const maxSeries = 512

// span is a length of time over which growth is looked for.
type span struct {
	name         string
	length, step time.Duration
	// factor of the threshold: what is slow must last.
	factor float64
	// calm is how long nothing may have grown for an alarm of this span to end.
	calm time.Duration
}

const spans = 3

// spanOf returns the i-th, from short to long.
func spanOf(i int) span {
	switch i {
	case 0:
		return span{"90 seconds", 90 * time.Second, 15 * time.Second, 5, 5 * time.Minute}
	case 1:
		return span{"ten minutes", 10 * time.Minute, 30 * time.Second, 1, 10 * time.Minute}
	default:
		return span{"an hour", time.Hour, 2 * time.Minute, 0.25, 30 * time.Minute}
	}
}

// point is one observation. It is small: there are 59 of them for every series.
type point struct {
	at              float64 // minutes on the watch's own clock
	wall            time.Time
	value, expected float64
	load            float64 // what the formulas expect of all counted series
}

// over is what the load does not explain.
func (p point) over() float64 { return p.value - p.expected }

// history is the last points of one span. Of the looks that fall into one step it keeps
// the lowest: what comes and goes leaves no trace, what stays does.
type history struct {
	points []point // oldest first; at most size
	size   int
	every  int // looks for each point
	got    int
	low    point
}

func newHistory(s span, interval time.Duration) history {
	every := max(1, int((s.step+interval/2)/interval))
	// With a long interval the step is longer: the number of points stays.
	size := int(s.length/s.step) + 1
	if length := time.Duration(every) * interval; length > s.step {
		size = max(7, int(s.length/length)+1)
	}
	return history{points: make([]point, 0, size), size: size, every: every}
}

// add takes a look in, and tells whether a point came of it.
func (h *history) add(p point) bool {
	if h.got == 0 || p.over() < h.low.over() {
		h.low = p
	}
	if h.got++; h.got < h.every {
		return false
	}
	h.got = 0
	if len(h.points) == h.size {
		copy(h.points, h.points[1:])
		h.points = h.points[:h.size-1]
	}
	h.points = append(h.points, h.low)
	return true
}

func (h *history) full() bool { return len(h.points) == h.size }

func (h *history) reset() { h.points, h.got = h.points[:0], 0 }

// key is whose series it is.
type key struct{ component, owner, what string }

// series is the memory of one Series.
type series struct {
	now      Series
	known    bool // a formula gives Expected
	last     [2]point
	looks    int
	windows  [spans]history
	alarm    *alarm
	seen     uint64  // number of the look that had it
	gone     float64 // since when it is in no census
	overLong int     // looks in a row with far too many
}

func newSeries(interval time.Duration) *series {
	s := new(series)
	for i := range s.windows {
		s.windows[i] = newHistory(spanOf(i), interval)
	}
	return s
}

// level is the lower of the last two looks: a single high one says nothing.
func (s *series) level() float64 {
	if s.looks < 2 {
		return s.last[1].over()
	}
	return min(s.last[0].over(), s.last[1].over())
}

// add takes a look in and returns for which spans it made a point.
func (s *series) add(p point) (made [spans]bool) {
	s.last[0], s.last[1] = s.last[1], p
	s.looks++
	for i := range s.windows {
		made[i] = s.windows[i].add(p)
	}
	return made
}

// forget starts anew: what was there before does not count any more.
func (s *series) forget() {
	for i := range s.windows {
		s.windows[i].reset()
	}
	s.looks, s.overLong, s.alarm = 0, 0, nil
}

// highBefore returns the highest level that was held before a time, if any was.
func (s *series) highBefore(at float64) (high float64, ok bool) {
	for i := range s.windows {
		for _, p := range s.windows[i].points {
			if p.at < at && (!ok || p.over() > high) {
				high, ok = p.over(), true
			}
		}
	}
	return high, ok
}

func (s *series) isHeap() bool { return s.now.What == Heap }

// threshold is the growth in a minute that the settings allow.
func (s *series) threshold(c Config) float64 {
	if s.isHeap() {
		return float64(c.HeapPerMinute)
	}
	return c.GoroutinesPerMinute
}

// noun names what the series counts.
func (s *series) noun() string {
	what := s.now.What
	if kind, ok := strings.CutPrefix(what, HeldPrefix); ok {
		return "things of kind " + kind
	}
	if kind, ok := strings.CutPrefix(what, Unclosed); ok {
		return "things of kind " + kind + " that were never closed"
	}
	if kind, ok := strings.CutPrefix(what, Descriptors); ok {
		return "descriptors of kind " + kind
	}
	return what
}

// amount writes a number of what the series counts.
func (s *series) amount(n float64) string {
	if s.isHeap() {
		if n < 0 {
			return "-" + units.HumanBytes(-n)
		}
		return units.HumanBytes(n)
	}
	return number(n)
}

// clock counts the minutes between looks. It does not believe in jumps: a step of the
// wall clock, or a process that was stopped, counts as one interval.
type clock struct {
	minutes float64
	last    time.Time
}

func (c *clock) tick(now time.Time, interval time.Duration) float64 {
	passed := now.Sub(c.last)
	if c.last.IsZero() || passed <= 0 || passed > 3*interval {
		passed = interval
	}
	c.last = now
	c.minutes += passed.Minutes()
	return c.minutes
}
