package leak

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/units"
)

const mib = float64(units.MiB)

// tester is what tests, benchmarks and properties have in common.
type tester interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}

// world is a watch that is shown made-up censuses, one each interval.
type world struct {
	*Watch
	now    time.Time
	passed time.Duration
	step   time.Duration
	told   []health.Status // what Report was told
}

func newWorld(change ...func(*Config, *Deps)) *world {
	w := &world{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	c, d := DefaultConfig(), Deps{Log: slog.New(slog.DiscardHandler), Agent: "log_capturer", Host: "host-1", Version: "v1"}
	d.Report = func(s health.Status, _ string) { w.told = append(w.told, s) }
	for _, f := range change {
		f(&c, &d)
	}
	w.step, w.Watch = c.Interval.Std(), New(c, d)
	return w
}

// look shows one census of the series; those that have no value are zero.
func (w *world) look(t tester, s Sample) Verdict {
	t.Helper()
	w.now, w.passed = w.now.Add(w.step), w.passed+w.step
	s.Time = w.now
	w.Observe(t.Context(), s)
	return w.Verdict()
}

// over shows censuses for a time; of gives the series at each moment since the start.
func (w *world) over(t tester, length time.Duration, of func(at time.Duration) []Series) Verdict {
	t.Helper()
	for end := w.passed + length; w.passed < end; {
		w.look(t, Sample{Series: of(w.passed)})
	}
	return w.Verdict()
}

// untilAlarm shows censuses until there is an alarm, and returns after how long.
func (w *world) untilAlarm(t tester, most time.Duration, of func(at time.Duration) []Series) (time.Duration, bool) {
	t.Helper()
	for begin := w.passed; w.passed-begin < most; {
		at := w.passed + w.step
		if v := w.look(t, Sample{Series: of(at)}); v.Status != health.Healthy {
			return w.passed - begin, true
		}
	}
	return 0, false
}

func (w *world) mustBeSilent(t tester) {
	t.Helper()
	if n := len(w.Alarms()); n != 0 || w.Verdict().Status != health.Healthy {
		t.Fatalf("alarms %v, the verdict is %+v; want none", w.Alarms(), w.Verdict())
	}
}

const stream = "agent/sources/containers/readers/stream"

func streams(value, expected float64) Series {
	return Series{Component: "container_monitor", Owner: stream, What: Goroutines, Value: value, Expected: expected,
		Stack: "net/http.(*persistConn).readLoop < created by net/http"}
}

// an agent's other series: level, with a little noise.
func quiet(r *rand.Rand) []Series {
	return []Series{
		{Component: "sink.loki", Owner: "agent/delivery/sinks/loki/lane", What: Goroutines, Value: 3, Expected: 3},
		{What: Goroutines, Value: 6 + float64(r.IntN(3)), Expected: 6},
		{What: Descriptors + "socket", Value: 5 + float64(r.IntN(4)), Expected: Unknown},
		{What: Heap, Value: 18*mib + r.Float64()*4*mib, Expected: mib},
	}
}

func source() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func TestEveryKindOfLeakIsNamedWithinTwoMinutes(t *testing.T) {
	for name, planted := range map[string]Series{
		"goroutines of a stream":  streams(13, 13),
		"held streams":            {Component: "container_monitor", Owner: stream, What: HeldPrefix + "engine_stream", Value: 5, Expected: 5},
		"tickers":                 {Component: "file_monitor", Owner: "agent/sources/files/pool", What: HeldPrefix + "ticker", Value: 1, Expected: 1},
		"an orphan in a registry": {Component: "sink.loki", Owner: "agent/delivery/sinks/loki/lane", What: HeldPrefix + "registry", Expected: Unknown},
		"never closed":            {Component: "sink.loki", Owner: "agent/delivery/sinks/loki/lane", What: Unclosed + "response_body"},
		"descriptors":             {What: Descriptors + "file", Value: 9, Expected: Unknown},
		"memory":                  {What: Heap, Value: 20 * mib, Expected: mib},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(), source()
			with := func(more float64) []Series {
				s := planted
				s.Value += more
				all := quiet(r)
				if s.What == Heap {
					all = all[:len(all)-1]
				}
				return append(all, s)
			}
			w.over(t, 10*time.Minute, func(time.Duration) []Series { return with(0) })
			w.mustBeSilent(t)
			began, each := w.passed, 1.0 // a second
			if planted.What == Heap {
				each = mib
			}
			took, ok := w.untilAlarm(t, 5*time.Minute, func(at time.Duration) []Series { return with(each * (at - began).Seconds()) })
			v := w.Verdict()
			if !ok || took > 2*time.Minute {
				t.Fatalf("told after %s (%v): %+v", took, ok, v)
			}
			if v.Status != health.Degraded || v.Owner != planted.Owner || v.What != planted.What || v.Component != cmp.Or(planted.Component, nobody) {
				t.Errorf("the verdict is %+v", v)
			}
			if early := v.Since.Sub(w.now.Add(-took)); early < -30*time.Second || early > 30*time.Second {
				t.Errorf("since %s, the leak began at %s", v.Since, w.now.Add(-took))
			}
			if got := v.PerMinute / (each * 60); got < 0.8 || got > 1.2 {
				t.Errorf("%g a minute, want %g", v.PerMinute, each*60)
			}
			t.Logf("after %s: %s", took, v.Reason)
		})
	}
}

func TestAReasonSaysWhoHowMuchSinceWhenAndWhere(t *testing.T) {
	w := newWorld()
	w.over(t, 5*time.Minute, func(time.Duration) []Series { return []Series{streams(4, 4)} })
	w.untilAlarm(t, 5*time.Minute, func(at time.Duration) []Series {
		return []Series{streams(4+(at-5*time.Minute).Seconds(), 4)}
	})
	want := stream + " (container_monitor) leaks goroutines: 79, 4 expected, growing by 60 a minute since 2026-11-21 12:05:00 UTC; " +
		"most are in net/http.(*persistConn).readLoop < created by net/http"
	if got := w.Verdict().Reason; got != want {
		t.Errorf("the reason is\n%s, want\n%s", got, want)
	}
	if n := w.Alarms()["container_monitor"]; n != 1 {
		t.Errorf("%d alarms were counted, want 1", n)
	}
}

// A leaked stream shows in what is held, in goroutines and in sockets: what names its
// owner goes first.
func TestTheAlarmThatNamesAnOwnerComesFirst(t *testing.T) {
	w, r := newWorld(), source()
	w.over(t, 12*time.Minute, func(at time.Duration) []Series {
		n := math.Max(0, (at - 10*time.Minute).Seconds())
		return []Series{
			{What: Goroutines, Value: 6 + 2*n, Expected: 6},
			{What: Descriptors + "socket", Value: 5 + n, Expected: Unknown},
			{What: Heap, Value: 20*mib + mib*n*2 + r.Float64()},
			{Component: "container_monitor", Owner: stream, What: HeldPrefix + "engine_stream", Value: 1 + n, Expected: 1},
		}
	})
	v := w.Verdict()
	if v.Owner != stream || !strings.Contains(v.Reason, "; also: ") || !strings.HasSuffix(v.Reason, "; and 1 more") {
		t.Errorf("the verdict is %+v", v)
	}
}

func TestTheFunctionWhoseMemoryGrewIsNamed(t *testing.T) {
	w := newWorld()
	for range 60 {
		n := math.Max(0, (w.passed - 10*time.Minute).Seconds())
		w.look(t, Sample{
			Series: []Series{{What: Heap, Value: 60*mib + n*mib}},
			Sites: []Site{
				{Function: "record.NewBatch", Component: "agent", Bytes: 40 << 20},
				{Function: "pool.(*Pool).remember", Component: "file_monitor", Bytes: int64(n) << 20},
			},
		})
	}
	v := w.Verdict()
	if v.Owner != "pool.(*Pool).remember" || v.Component != "file_monitor" || !strings.Contains(v.Reason, "it grew most in pool.(*Pool).remember, which has ") {
		t.Errorf("the verdict is %+v", v)
	}
	if alarms := w.Alarms(); alarms["file_monitor"] != 1 || len(alarms) != 1 {
		t.Errorf("the alarms are %v", alarms)
	}
}

// What is forgotten is held until the garbage collector comes by, which may be every minute
// or two. That makes a saw of the one count and steps of the other.
func TestWhatIsForgottenIsFoundHoweverSeldomTheCollectorComes(t *testing.T) {
	w := newWorld()
	passed, ok := w.untilAlarm(t, 3*time.Minute, func(at time.Duration) []Series {
		lost := int(2 * at.Seconds())
		unclosed := lost / 150 * 150
		return FromSnapshot(ledger.Snapshot{Held: []ledger.Held{
			{Owner: stream, Component: "container_monitor", Kind: "ticker", Count: 1 + lost - unclosed, Expected: 1, Unclosed: int64(unclosed)},
		}}).Series
	})
	if v := w.Verdict(); !ok || passed > 2*time.Minute || v.Owner != stream {
		t.Errorf("after %s: %+v", passed, v)
	}
}

func TestNoLoadIsTakenForALeak(t *testing.T) {
	const long = 3 * time.Hour
	minute := func(at time.Duration) float64 { return at.Minutes() }
	// upAndDown is 1 → 50 → 1 in ten minutes, with ramps of some seconds to minutes.
	upAndDown := func(at time.Duration, ramp float64) float64 {
		m := math.Mod(minute(at), 10)
		return math.Round(1 + 49*math.Max(0, math.Min(1, math.Min(m, 5+ramp-m)/ramp)))
	}
	for name, of := range map[string]func(at time.Duration, r *rand.Rand) []Series{
		"containers come and go, the formula is right": func(at time.Duration, r *rand.Rand) []Series {
			n := upAndDown(at, 2)
			return append(quiet(r), streams(3*n, 3*n))
		},
		"the formula is late by some streams": func(at time.Duration, r *rand.Rand) []Series {
			n := upAndDown(at, 3)
			return append(quiet(r), streams(3*n+float64(r.IntN(8)), 3*n))
		},
		"the formula is a third short": func(at time.Duration, r *rand.Rand) []Series {
			n := upAndDown(at, 4)
			return append(quiet(r), streams(3*n, 2*n))
		},
		"files without a formula, one container after the other": func(at time.Duration, r *rand.Rand) []Series {
			return append(quiet(r), Series{What: HeldPrefix + "json_file", Value: math.Round(49 * math.Min(1, at.Seconds()/90)), Expected: Unknown})
		},
		"files without a formula, in seconds": func(at time.Duration, r *rand.Rand) []Series {
			return append(quiet(r), Series{What: Descriptors + "json_file", Value: upAndDown(at, 0.5), Expected: Unknown})
		},
		"memory goes with the streams": func(at time.Duration, r *rand.Rand) []Series {
			n := upAndDown(at, 4)
			return []Series{streams(3*n, 3*n), {What: Heap, Value: (20 + 2*n + 3*r.Float64()) * mib, Expected: mib}}
		},
		"a queue fills for minutes, and is emptied": func(at time.Duration, r *rand.Rand) []Series {
			full := 60 * math.Abs(math.Mod(minute(at), 12)-6) / 6
			return []Series{{What: Heap, Value: (20 + full + 2*r.Float64()) * mib, Expected: full * mib}}
		},
		"what was in flight is kept": func(at time.Duration, r *rand.Rand) []Series {
			return []Series{{What: Heap, Value: 420 * mib, Expected: 400 * mib * math.Abs(math.Mod(minute(at), 24)-12) / 12}}
		},
		"a sawtooth of memory": func(at time.Duration, r *rand.Rand) []Series {
			return []Series{{What: Heap, Value: 20*mib + 60*mib*math.Mod(at.Seconds(), 75)/75 + r.Float64()*5*mib}}
		},
		"noise of memory": func(at time.Duration, r *rand.Rand) []Series {
			return []Series{{What: Heap, Value: 30*mib + r.Float64()*50*mib}}
		},
		"a heap that has grown once": func(at time.Duration, r *rand.Rand) []Series {
			v := 20 * mib
			if at > time.Hour {
				v += 400 * mib
			}
			return []Series{{What: Heap, Value: v + r.Float64()*3*mib}}
		},
		"a new sink's connections": func(at time.Duration, r *rand.Rand) []Series {
			v := 3.0
			if at > 20*time.Minute {
				v += 14
			}
			return append(quiet(r), Series{Component: "sink.b", Owner: "agent/delivery/sinks/b/lane", What: Goroutines, Value: v, Expected: 3})
		},
		"connections of a server come and go": func(at time.Duration, r *rand.Rand) []Series {
			return []Series{
				{What: Goroutines, Value: 6 + 40*r.Float64(), Expected: 6},
				{What: Descriptors + "socket", Value: 5 + 80*r.Float64(), Expected: Unknown},
			}
		},
		"bursts that level off": func(at time.Duration, r *rand.Rand) []Series {
			m := math.Mod(minute(at), 30)
			return append(quiet(r), Series{What: Descriptors + "socket", Value: math.Round(200 * (1 - math.Exp(-m*60/20))), Expected: Unknown})
		},
		"three steps": func(at time.Duration, r *rand.Rand) []Series {
			return append(quiet(r), Series{Owner: "a", What: HeldPrefix + "connection", Value: 40 * math.Min(3, math.Floor(at.Seconds()/40)), Expected: Unknown})
		},
		"warming up": func(at time.Duration, r *rand.Rand) []Series {
			up := 1 - math.Exp(-at.Seconds()/25)
			return []Series{
				{What: Goroutines, Value: math.Round(6 + 60*up), Expected: 6},
				{What: Descriptors + "socket", Value: math.Round(5 + 60*up), Expected: Unknown},
				{What: Heap, Value: (8 + 60*up + 2*r.Float64()) * mib},
			}
		},
		"just below the threshold": func(at time.Duration, r *rand.Rand) []Series {
			return append(quiet(r), streams(math.Floor(0.4*minute(at)), 0))
		},
		"parts are restarted": func(at time.Duration, r *rand.Rand) []Series {
			if int(minute(at))%4 == 3 {
				return quiet(r)
			}
			return append(quiet(r), streams(40, 40), Series{Owner: stream, What: HeldPrefix + "json_file", Value: 60, Expected: Unknown})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, length := source(), long
			if name == "just below the threshold" {
				length = 40 * time.Minute // then it is 20 more than explained: an alarm by itself
			}
			w := newWorld()
			for w.passed < length {
				if v := w.look(t, Sample{Series: of(w.passed, r)}); v.Status != health.Healthy {
					t.Fatalf("after %s: %s", w.passed, v.Reason)
				}
			}
			w.mustBeSilent(t)
		})
	}
}

func TestASlowLeakIsFoundByALongerLook(t *testing.T) {
	for rate, most := range map[float64]time.Duration{3: 13 * time.Minute, 0.8: 75 * time.Minute} {
		t.Run(fmt.Sprintf("%g a minute", rate), func(t *testing.T) {
			w, r := newWorld(), source()
			leaked := func(at time.Duration) []Series {
				return append(quiet(r), Series{
					Component: "file_monitor", Owner: "agent/sources/files/pool", What: HeldPrefix + "log_file",
					Value: 10 + math.Floor(rate*math.Max(0, at.Minutes()-60)), Expected: 10,
				})
			}
			w.over(t, time.Hour, leaked)
			took, ok := w.untilAlarm(t, 2*time.Hour, leaked)
			if !ok || took > most || w.Verdict().Component != "file_monitor" {
				t.Fatalf("told after %s (%v): %+v", took, ok, w.Verdict())
			}
			t.Logf("after %s: %s", took, w.Verdict().Reason)
		})
	}
}

// Every ten minutes a reconnect leaves six behind: no short look sees a trend.
func TestALeakInStepsIsFoundWithinTwoHours(t *testing.T) {
	w := newWorld()
	took, ok := w.untilAlarm(t, 2*time.Hour, func(at time.Duration) []Series {
		return []Series{{Owner: "a", What: HeldPrefix + "connection", Value: 6 * math.Floor(at.Minutes()/10), Expected: 0}}
	})
	if !ok {
		t.Fatal("it was not found")
	}
	t.Logf("after %s: %s", took, w.Verdict().Reason)
}

func TestALeakIsFoundWhileTheLoadMoves(t *testing.T) {
	w, r := newWorld(), source()
	took, ok := w.untilAlarm(t, 30*time.Minute, func(at time.Duration) []Series {
		n := math.Round(25 + 24*math.Sin(at.Minutes()*2))
		return append(quiet(r), streams(n+math.Max(0, at.Seconds()-600), n))
	})
	if !ok || took < 10*time.Minute || took > 12*time.Minute+w.step {
		t.Fatalf("told after %s (%v): %+v", took, ok, w.Verdict())
	}
}

func TestAnOwnerThatKeepsMoreThanItsFormulaSaysIsDegraded(t *testing.T) {
	w := newWorld()
	step := func(n float64) func(time.Duration) []Series {
		return func(time.Duration) []Series { return []Series{streams(10+n, 10)} }
	}
	w.over(t, 20*time.Minute, step(stays-1))
	w.mustBeSilent(t)
	w.over(t, 9*time.Minute, step(stays+1))
	w.mustBeSilent(t)
	if v := w.over(t, 3*time.Minute, step(stays+1)); v.Status != health.Degraded || !strings.Contains(v.Reason, "more goroutines than the load explains: 31, 10 expected") {
		t.Errorf("the verdict is %+v", v)
	}
	if v := w.over(t, time.Hour, step(stays+1)); v.Status != health.Degraded {
		t.Errorf("the verdict is %+v", v)
	}
	if v := w.over(t, 5*time.Minute, step(0)); v.Status != health.Healthy {
		t.Errorf("the verdict is %+v", v)
	}
}

func TestWhatGoesOnGrowingIsUnhealthyAndWhatLevelsOffIsHealthyAgain(t *testing.T) {
	w := newWorld()
	held := func(n float64) []Series {
		return []Series{{Component: "canary", Owner: "agent/sources/canary", What: HeldPrefix + "ticker", Value: n}}
	}
	leaking := func(at time.Duration) []Series { return held(at.Minutes() * 30) }
	w.untilAlarm(t, 5*time.Minute, leaking)
	if v := w.over(t, 4*time.Minute, leaking); v.Status != health.Degraded {
		t.Fatalf("after four minutes it is %s", v.Status)
	}
	if v := w.over(t, 90*time.Second, leaking); v.Status != health.Unhealthy {
		t.Fatalf("after more than five minutes it is %s", v.Status)
	}
	most := w.passed.Minutes() * 30
	level := func(time.Duration) []Series { return held(most) }
	if v := w.over(t, 4*time.Minute, level); v.Status != health.Unhealthy {
		t.Fatalf("it has forgotten too soon: %s", v.Status)
	}
	if v := w.over(t, 2*time.Minute, level); v.Status != health.Healthy {
		t.Fatalf("it did not recover: %+v", v)
	}
	if v := w.over(t, 2*time.Hour, level); v.Status != health.Healthy || w.Alarms()["canary"] != 1 {
		t.Fatalf("it came back: %+v, alarms %v", v, w.Alarms())
	}
	if took, ok := w.untilAlarm(t, 5*time.Minute, func(at time.Duration) []Series {
		return held(most + (at-2*time.Hour).Minutes()*30)
	}); !ok {
		t.Fatalf("the next leak was not seen (%s)", took)
	}
}

func TestWhatIsGoneIsForgottenSoonAndANewLeakIsSeenFromThere(t *testing.T) {
	w := newWorld()
	leak := func(from time.Duration) func(time.Duration) []Series {
		return func(at time.Duration) []Series { return []Series{streams((at - from).Seconds(), 0)} }
	}
	w.over(t, 4*time.Minute, leak(0))
	if w.Verdict().Status != health.Degraded {
		t.Fatal("no alarm")
	}
	none := func(time.Duration) []Series { return nil } // its component was switched off
	if v := w.over(t, 2*time.Minute, none); v.Status != health.Healthy {
		t.Fatalf("it is %+v two minutes after all was gone", v)
	}
	w.over(t, 3*time.Minute, none)
	if took, ok := w.untilAlarm(t, 5*time.Minute, leak(w.passed)); !ok || took > 2*time.Minute {
		t.Errorf("the second leak was told after %s (%v)", took, ok)
	}
}

func TestAThousandTooManyAreUnhealthyAtOnce(t *testing.T) {
	w := newWorld()
	var since time.Duration
	w.over(t, 6*time.Minute, func(at time.Duration) []Series {
		if n := at.Seconds() * 10; w.Verdict().Status == health.Unhealthy && since == 0 {
			since = at
		} else if n < 0 {
			t.Fatal("no time has passed")
		}
		return []Series{streams(at.Seconds()*10, 0)}
	})
	if since == 0 || since > 5*time.Minute {
		t.Errorf("unhealthy after %s", since)
	}
}

func TestDescriptorsNearTheirLimit(t *testing.T) {
	w := newWorld()
	at := func(n int) Verdict {
		t.Helper()
		s := Sample{Descriptors: n, DescriptorLimit: 1000, Series: []Series{
			{What: Descriptors + "json_file", Value: float64(n - 50), Expected: Unknown},
			{What: Descriptors + "socket", Value: 50, Expected: Unknown},
		}}
		w.look(t, s)
		return w.look(t, s)
	}
	for _, step := range []struct {
		open int
		want health.Status
	}{{199, health.Healthy}, {200, health.Degraded}, {190, health.Degraded}, {179, health.Healthy}, {800, health.Unhealthy}, {500, health.Degraded}, {100, health.Healthy}} {
		v := at(step.open)
		if v.Status != step.want {
			t.Fatalf("%d open: %+v, want %s", step.open, v, step.want)
		}
		if step.open == 800 && !strings.Contains(v.Reason, "800 descriptors open, 80 % of its limit of 1000") || step.open == 800 && !strings.HasSuffix(v.Reason, "most are json_file 750, socket 50") {
			t.Errorf("the reason is %q", v.Reason)
		}
	}
	if n := w.Alarms()[nobody]; n != 2 {
		t.Errorf("%d alarms, want 2", n)
	}
}

func TestAHeapNearItsLimitIsUnhealthyWhenItLeaks(t *testing.T) {
	w := newWorld()
	for w.passed < 6*time.Minute && w.Verdict().Status != health.Unhealthy {
		live := 50*mib + mib*w.passed.Seconds()
		w.look(t, Sample{Series: []Series{{What: Heap, Value: live}}, HeapLive: int64(live), HeapLimit: 300 << 20})
	}
	if w.passed > 4*time.Minute {
		t.Errorf("unhealthy after %s only", w.passed)
	}
}

// The wall clock goes an hour back, or the process sleeps for a day: no alarm of a level
// series, and a leak is found all the same.
func TestTheClockMayJump(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, 24 * time.Hour, -400 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			w, r := newWorld(), source()
			level := func(time.Duration) []Series { return append(quiet(r), streams(4, 4)) }
			w.over(t, 10*time.Minute, level)
			w.now = w.now.Add(jump)
			w.over(t, 10*time.Minute, level)
			w.mustBeSilent(t)
			began := w.passed
			took, ok := w.untilAlarm(t, 5*time.Minute, func(at time.Duration) []Series {
				if at-began == 45*time.Second {
					w.now = w.now.Add(jump)
				}
				return append(quiet(r), streams(4+(at-began).Seconds(), 4))
			})
			if !ok || took > 2*time.Minute+w.step {
				t.Errorf("told after %s (%v)", took, ok)
			}
		})
	}
}

func TestTheNumberOfSeriesIsBounded(t *testing.T) {
	w := newWorld()
	for i := range 4 {
		var all []Series
		for j := range maxSeries {
			all = append(all, Series{Owner: fmt.Sprint(i*maxSeries + j), What: Goroutines})
		}
		w.look(t, Sample{Series: all})
	}
	if len(w.series) != maxSeries || w.Refused() != 3*maxSeries {
		t.Errorf("%d series, %d refused", len(w.series), w.Refused())
	}
	w.over(t, 62*time.Minute, func(time.Duration) []Series { return nil })
	if len(w.series) != 0 {
		t.Errorf("%d series are left an hour after they were seen", len(w.series))
	}
}

func TestEveryLookIsReported(t *testing.T) {
	w := newWorld()
	w.over(t, time.Minute, func(time.Duration) []Series { return nil })
	if len(w.told) != 4 || w.told[3] != health.Healthy {
		t.Errorf("it told %v", w.told)
	}
}
