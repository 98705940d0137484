package leak

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/health"
)

// Whatever the load does, what is there follows it with some noise: no alarm.
func TestNoLoadPatternAlarms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		each := float64(rapid.IntRange(1, 4).Draw(t, "for each container"))
		noise := rapid.IntRange(0, 4).Draw(t, "noise")
		memory := rapid.Float64Range(0, 0.6).Draw(t, "MiB for each container")
		late := rapid.IntRange(0, 4).Draw(t, "containers that begin or end while it is counted")
		looks := rapid.IntRange(60, 300).Draw(t, "looks")
		n, aim, speed := 1, 1, 1
		for range looks {
			if n == aim && rapid.IntRange(0, 5).Draw(t, "new aim") == 0 {
				aim, speed = rapid.IntRange(0, 50).Draw(t, "aim"), rapid.IntRange(1, 50).Draw(t, "speed")
			}
			moved := max(-speed, min(speed, aim-n))
			n += moved
			expected := each * float64(n-max(-late, min(late, moved)))
			jitter := func() float64 { return float64(rapid.IntRange(0, noise).Draw(t, "jitter")) }
			v := w.look(t, Sample{Series: []Series{
				streams(each*float64(n)+jitter(), expected),
				{Component: "container_monitor", Owner: stream, What: HeldPrefix + "engine_stream", Value: float64(n) + jitter(), Expected: float64(n)},
				{What: Heap, Value: (15 + memory*float64(n) + jitter()) * mib},
			}})
			if v.Status != health.Healthy {
				t.Fatalf("after %s: %s", w.passed, v.Reason)
			}
		}
	})
}

// Every leak of one object in five seconds or more is told within two minutes and one
// interval, and its owner is named, whatever the load does meanwhile.
func TestEveryLinearLeakIsToldInTimeAndNamed(t *testing.T) {
	kinds := []Series{
		{Component: "container_monitor", Owner: "leaker", What: Goroutines},
		{Component: "sink.loki", Owner: "leaker", What: HeldPrefix + "connection"},
		{Component: "file_monitor", Owner: "leaker", What: HeldPrefix + "log_file", Expected: Unknown},
		{Component: "canary", Owner: "leaker", What: Unclosed + "ticker"},
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		planted := rapid.SampledFrom(kinds).Draw(t, "kind")
		least := 12.0
		if planted.Expected == Unknown {
			least = 48
		}
		perMinute := rapid.Float64Range(least, 2000).Draw(t, "a minute")
		quietFor := time.Duration(rapid.IntRange(0, 240).Draw(t, "looks before")) * w.step
		base := float64(rapid.IntRange(0, stays-1).Draw(t, "base"))
		phase := rapid.Float64Range(0, 10).Draw(t, "phase")
		of := func(at time.Duration) []Series {
			n := math.Round(25 + 24*math.Sin(phase+at.Minutes()))
			s := planted
			s.Value = base + math.Floor(perMinute*max(0, at-quietFor).Minutes())
			return []Series{streams(2*n, 2*n), s, {What: Heap, Value: (20 + n/4) * mib}}
		}
		took, ok := w.untilAlarm(t, quietFor+10*time.Minute, of)
		v := w.Verdict()
		if took -= quietFor; !ok || took <= 0 || took > 2*time.Minute+w.step {
			t.Fatalf("told after %s (%v): %+v", took, ok, v)
		}
		if v.Owner != "leaker" || v.Component != planted.Component || v.What != planted.What {
			t.Fatalf("it blames %+v", v)
		}
	})
}

// The median of the slopes is that of the line, whatever a quarter of the points are.
func TestTheSlopeDoesNotFollowOutliers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slope := rapid.Float64Range(-100, 100).Draw(t, "slope")
		var f fitter
		for i := range 21 {
			f.t, f.y = append(f.t, float64(i)/2), append(f.y, slope*float64(i)/2)
		}
		for range 2 {
			f.y[rapid.IntRange(0, 20).Draw(t, "outlier")] = rapid.Float64Range(-1e6, 1e6).Draw(t, "to")
		}
		if got := f.slope(); math.Abs(got-slope) > 1e-6+0.01*math.Abs(slope) {
			t.Fatalf("the slope is %g, want %g", got, slope)
		}
	})
}
