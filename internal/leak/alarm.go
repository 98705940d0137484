package leak

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
)

const (
	// afterGrowth is how long an alarm must go on growing to be unhealthy, in minutes.
	afterGrowth = 5
	// farTooMany goroutines over the expected are unhealthy, for farLooks looks in a row.
	farTooMany, farLooks = 1000, 8
	// heapShare of the memory limit is unhealthy while the heap has an alarm.
	heapShare = 0.9
	// A goroutine owner that stays this many over its formula for ten minutes has an
	// alarm, however they came; and so many more by the share of what is expected.
	stays, staysShare = 20, 0.25
	// unknownFactor is how much more must grow where no formula explains it.
	unknownFactor = 4
	// newShare of the growth must lead to where the series has not been in the last hour.
	newShare = 0.7
	// formulaError is what a formula may be wrong by while the load moves, as a share.
	formulaError = 0.5
	// heapPerLoad is what one more expected goroutine or stream may need, in bytes.
	heapPerLoad = 256 << 10
)

// alarm is one series that leaks, from the look that told it to the one that ended it.
type alarm struct {
	what  cause
	span  int
	since time.Time // when the growth began
	at    float64   // when it was told, in minutes of the watch's clock
	// What is over the expected: before, and the most so far.
	base, peak float64
	grew       float64 // when peak last rose
	fell       float64 // since when it is less than half of that; 0: it is not
	perMinute  float64
	status     health.Status
	site       Site // of the heap: which function's memory grew most
}

// cause is what the alarm is about.
type cause int

const (
	growth cause = iota
	excess       // more than the formula says, without growing
	share        // of the descriptors' limit
)

// judge looks at a series that has just got a point, and tells whether an alarm began.
func (w *Watch) judge(s *series, made [spans]bool, p point, c Config, limit int64) bool {
	began := false
	if s.alarm == nil {
		s.alarm = w.begins(s, made, p, c)
		began = s.alarm != nil
	} else if w.ended(s, p, c) {
		return false
	}
	if s.alarm == nil {
		return false
	}
	s.overLong++
	if !s.known || s.now.What != Goroutines || p.over() < farTooMany {
		s.overLong = 0
	}
	a := s.alarm
	a.status = health.Degraded
	if a.what == growth && a.grew-a.at >= afterGrowth || s.overLong >= farLooks ||
		s.isHeap() && limit > 0 && p.value >= heapShare*float64(limit) {
		a.status = health.Unhealthy
	}
	return began
}

// begins looks for a trend in the spans that have a new point.
func (w *Watch) begins(s *series, made [spans]bool, p point, c Config) *alarm {
	for i := range made {
		points := s.windows[i].points
		if !made[i] || !s.windows[i].full() {
			continue
		}
		w.fit.load(points, point.over)
		need := need(s, points, spanOf(i), c)
		perMinute, ok := w.fit.grows(need)
		if !ok {
			continue
		}
		if s.isHeap() { // and not because less was expected of it
			w.fit.load(points, func(p point) float64 { return p.value })
			if _, ok := w.fit.grows(need); !ok {
				continue
			}
		}
		length := points[len(points)-1].at - points[0].at
		if high, ok := s.highBefore(points[0].at); ok && s.level() < high+newShare*need*length {
			continue // it has been there before: a dip has ended
		}
		from := lowest(points)
		return &alarm{span: i, since: from.wall, at: p.at, base: from.over(), peak: s.level(), grew: p.at, perMinute: perMinute}
	}
	if made[1] && s.stays(1) {
		return &alarm{what: excess, span: 1, since: s.windows[1].points[0].wall, at: p.at, peak: s.level(), grew: p.at}
	}
	return nil
}

// stays tells whether a goroutine owner was over its formula by a part of what is an
// alarm, in all of the ten minutes.
func (s *series) stays(part float64) bool {
	if s.now.What != Goroutines || !s.known || s.now.Owner == "" || !s.windows[1].full() {
		return false
	}
	for _, p := range s.windows[1].points {
		if p.over() < part*max(stays, staysShare*p.expected) {
			return false
		}
	}
	return true
}

// need is the growth in a minute that is an alarm over a span.
func need(s *series, points []point, sp span, c Config) float64 {
	n := s.threshold(c) * sp.factor
	if !s.known {
		n *= unknownFactor
	}
	first := points[0]
	expected, load := [2]float64{first.expected, first.expected}, [2]float64{first.load, first.load}
	for _, p := range points {
		expected[0], expected[1] = min(expected[0], p.expected), max(expected[1], p.expected)
		load[0], load[1] = min(load[0], p.load), max(load[1], p.load)
	}
	length := points[len(points)-1].at - first.at
	n += formulaError * (expected[1] - expected[0]) / length
	if s.isHeap() {
		n += heapPerLoad * (load[1] - load[0]) / length
	}
	return n
}

// lowest is the last of the lowest points: from there it grew.
func lowest(points []point) point {
	low := points[0]
	for _, p := range points {
		if p.over() <= low.over() {
			low = p
		}
	}
	return low
}

// ended follows an alarm, and tells whether it is over: nothing grew for long, or what
// had grown is gone.
func (w *Watch) ended(s *series, p point, c Config) bool {
	a, level := s.alarm, s.level()
	if level >= a.peak+max(1, s.threshold(c)/4) {
		if a.what == growth {
			a.perMinute = (level - a.base) / max(p.wall.Sub(a.since).Minutes(), 1)
		}
		a.peak, a.grew = level, p.at
	}
	if level > a.base+(a.peak-a.base)/2 {
		a.fell = 0
	} else if a.fell == 0 {
		a.fell = p.at
	}
	if a.fell > 0 && p.at-a.fell >= 1 {
		s.forget() // a new growth starts from here
		return true
	}
	if a.what == growth && p.at-a.grew >= spanOf(a.span).calm.Minutes() {
		s.alarm, s.overLong = nil, 0
		return true
	}
	return false
}

// reason is the alarm in one sentence.
func (s *series) reason() string {
	a, n := s.alarm, s.now
	who := n.Owner
	switch {
	case who == "" && n.Component == "":
		who = "the agent"
	case who == "":
		who = n.Component
	case n.Component != "" && n.Component != who:
		who += " (" + n.Component + ")"
	}
	expected := "no formula knows how many are right"
	switch {
	case s.isHeap():
		expected = s.amount(s.last[1].expected) + " are explained by lines in flight"
	case s.known:
		expected = s.amount(s.last[1].expected) + " expected"
	}
	var text string
	if a.what == excess {
		text = fmt.Sprintf("%s has more %s than the load explains: %s, %s, since %s",
			who, s.noun(), s.amount(n.Value), expected, clockTime(a.since))
	} else {
		text = fmt.Sprintf("%s leaks %s: %s, %s, growing by %s a minute since %s",
			who, s.noun(), s.amount(n.Value), expected, s.amount(a.perMinute), clockTime(a.since))
	}
	if a.site.Function != "" {
		text += "; it grew most in " + shorten(a.site.String(), 300)
	} else if n.Stack != "" {
		text += "; most are in " + shorten(n.Stack, 300)
	}
	return text
}

// less orders alarms by how much they say: the worst first, those that name an owner
// before those that do not, the heap last.
func less(a, b *series) bool {
	if a.alarm.status != b.alarm.status {
		return a.alarm.status == health.Unhealthy
	}
	if x, y := a.vagueness(), b.vagueness(); x != y {
		return x < y
	}
	if a.alarm.perMinute != b.alarm.perMinute {
		return a.alarm.perMinute > b.alarm.perMinute
	}
	return a.now.Owner+a.now.What < b.now.Owner+b.now.What
}

func (s *series) vagueness() int {
	switch {
	case s.isHeap():
		return 3
	case s.now.Owner == "":
		return 2
	case s.alarm.what == excess:
		return 1
	}
	return 0
}

func clockTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// number writes whole numbers as such, others with one digit.
func number(n float64) string {
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64)
}

func shorten(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}
