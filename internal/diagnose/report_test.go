package diagnose

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func minutely() Plan { return Plan{For: 5 * time.Minute, Every: time.Minute} }

// shown prints a report as a terminal without colours shows it.
func shown(r Report) string {
	var out strings.Builder
	p := Printer{Out: &out}
	p.Head()
	for _, row := range r.Rows {
		p.Row(row)
	}
	p.Report(r)
	return out.String()
}

func watched(t *testing.T, agent Agent, plan Plan) Report {
	t.Helper()
	r, err := Watch(t.Context(), agent, plan, func(Row) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheTableOfALeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parts := with(healthy(), "container_monitor", func(p *part) { p.leak = 31.8 })
		agent := newFake(with(parts, "file_monitor", func(p *part) { p.unclosed = 1 }))
		<-time.After(3 * time.Minute) // of the bubble
		got := shown(watched(t, agent, minutely()))
		want := `           GOROUTINES  GROWTH  PER MIN EXPECTED    FDS OF LIMIT LIVE HEAP
T+0               123       -        -       26     40    3.9 %     21 MB
T+1min            155     +32    +32.0       26     40    3.9 %     21 MB
T+2min            187     +32    +32.0       26     40    3.9 %     21 MB
T+3min            218     +31    +31.0       26     40    3.9 %     21 MB
T+4min            250     +32    +32.0       26     40    3.9 %     21 MB
T+5min            282     +32    +32.0       26     40    3.9 %     21 MB

Goroutines by owner
  OWNER                                    COMPONENT          FROM   TO  EXPECTED  PER MIN  UNEXPLAINED
  agent/sources/containers/readers/stream  container_monitor   117  276        20    +31.8        +31.8

Goroutines by stack
  PER MIN  FROM   TO  STACK
    +31.8   117  276  net/http.(*persistConn).readLoop

Given up without being closed, since the agent started: each is a bug
  OWNER                             KIND           COUNT  MEANWHILE
  agent/sources/files/readers/file  response_body      8          5

leak: container_monitor grows by 31.8 goroutines a minute while its load explains 0; owner agent/sources/containers/readers/stream; top of stack net/http.(*persistConn).readLoop; next: log_capturer diagnose --isolate
`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("table (-want +got):\n%s", diff)
		}
	})
}

func TestWhoIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		parts     map[string]part
		finding   Finding
		component string
		says      string
	}{
		"nothing grows":     {healthy(), NoLeak, "", "no leak: goroutines moved by 0 a minute"},
		"a leak":            {with(healthy(), "container_monitor", func(p *part) { p.leak = 32 }), Leak, "container_monitor", "leak: container_monitor grows by 32.0 goroutines a minute while its load explains 0; owner agent/sources/containers/readers/stream; top of stack net/http.(*persistConn).readLoop; next: log_capturer diagnose --isolate"},
		"a slow leak":       {with(healthy(), "file_monitor", func(p *part) { p.leak = 1 }), Leak, "file_monitor", "grows by 1.0 goroutines a minute"},
		"load":              {with(healthy(), "container_monitor", func(p *part) { p.load = func(m float64) float64 { return 40 * m } }), NoLeak, "", "load explains +40.0"},
		"load that falls":   {with(healthy(), "container_monitor", func(p *part) { p.load = func(m float64) float64 { return 400 - 40*m } }), NoLeak, "", "no leak"},
		"load in waves":     {with(healthy(), "container_monitor", func(p *part) { p.load = func(m float64) float64 { return 50 * (1 + math.Sin(3*m)) } }), NoLeak, "", "no leak"},
		"a leak under load": {with(with(healthy(), "container_monitor", func(p *part) { p.load = func(m float64) float64 { return 40 * m } }), "sink.loki", func(p *part) { p.leak = 5 }), Leak, "sink.loki", "leak: sink.loki grows by 5.0 goroutines a minute while its load explains 0"},
		"forgotten tickers": {with(healthy(), "sink.loki", func(p *part) { p.tickers = 6 }), Leak, "sink.loki", "leak: sink.loki holds 6.0 more of ticker a minute while its load explains 0"},
		"what is collected": {with(healthy(), "sink.loki", func(p *part) { p.unclosed = 2 }), Leak, "sink.loki", "leak: 10 of response_body that sink.loki opened were given up meanwhile without being closed"},
		"no expectation":    {with(healthy(), "sink.loki", func(p *part) { p.bodies = 6 }), Suspicion, "sink.loki", "perhaps a leak: sink.loki holds 6.0 more of response_body a minute, and how many its load explains is not known"},
		"a map":             {with(healthy(), "file_monitor", func(p *part) { p.heap = 5e6 }), Suspicion, "file_monitor", "perhaps a leak: live memory grows by 5 MB a minute without the batches in flight, 5 MB of it in file_monitor, allocated by tail.(*Log).Next"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := watched(t, newFake(c.parts), minutely()).Verdict
				if v.Finding != c.finding || v.Component != c.component || !strings.Contains(v.Text, c.says) {
					t.Errorf("got %+v\nwant %s of %q, with: %s", v, c.finding, c.component, c.says)
				}
			})
		})
	}
}

func TestOneStepOfAnythingIsNoTrend(t *testing.T) {
	at, values := []time.Duration{}, []float64{}
	for i := range 21 {
		at = append(at, time.Duration(i)*15*time.Second)
		values = append(values, 10)
	}
	for step := range values {
		stepped := append([]float64{}, values...)
		for i := step; i < len(stepped); i++ {
			stepped[i] += 500
		}
		if got := fit(at, stepped, counts()); got.Grows {
			t.Errorf("a step at %d grows: %+v", step, got)
		}
	}
}

func TestOutliersDoNotBendTheSlope(t *testing.T) {
	var at []time.Duration
	var values []float64
	for i := range 20 {
		at, values = append(at, time.Duration(i)*time.Minute), append(values, float64(3*i))
	}
	values[4], values[11], values[17] = 900, -700, 5000
	if got := fit(at, values, counts()); got.PerMinute < 2.9 || got.PerMinute > 3.1 || !got.Grows {
		t.Errorf("got %+v, want 3 a minute", got)
	}
}

func TestAnInterruptGivesTheVerdictSoFar(t *testing.T) {
	for after, want := range map[time.Duration]Finding{20 * time.Second: TooShort, 3*time.Minute + time.Second: Leak} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			agent := newFake(with(healthy(), "sink.loki", func(p *part) { p.leak = 30 }))
			r, err := Watch(ctx, agent, minutely(), func(Row) {}, nil)
			if err != nil || r.Stopped != "interrupted" || r.Verdict.Finding != want || len(r.Rows) != 1+int(after.Minutes()) {
				t.Errorf("after %s: %v, %q, %d rows, %+v", after, err, r.Stopped, len(r.Rows), r.Verdict)
			}
		})
	}
}

func TestAnAgentThatDoesNotAnswer(t *testing.T) {
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		fails   func(asked int) bool
		err     error
		stopped string
	}{
		"at once":      {func(int) bool { return true }, gone, ""},
		"now and then": {func(asked int) bool { return asked%3 == 2 }, nil, ""},
		"from then on": {func(asked int) bool { return asked > 9 }, nil, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent := newFake(with(healthy(), "sink.loki", func(p *part) { p.leak = 30 }))
				asked := 0
				agent.fail = func(string) error {
					if asked++; c.fails(asked) {
						return gone
					}
					return nil
				}
				r, err := Watch(t.Context(), agent, minutely(), func(Row) {}, nil)
				if !errors.Is(err, c.err) || r.Stopped != c.stopped || err == nil && r.Verdict.Finding != Leak {
					t.Errorf("%v, %+v", err, r)
				}
			})
		})
	}
}

func TestAnAgentThatIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := newFake(healthy())
		agent.after = func(string) error {
			if agent.asked == 8 {
				agent.started = time.Now()
			}
			return nil
		}
		r := watched(t, agent, minutely())
		if r.Stopped != ErrRestarted.Error() || r.Censuses != 8 {
			t.Errorf("%d censuses, %q", r.Censuses, r.Stopped)
		}
	})
}

func TestProgressIsShownAndTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, terminal strings.Builder
		p := Printer{Out: &out, Progress: &terminal}
		if _, err := Watch(t.Context(), newFake(healthy()), Plan{For: 4 * time.Second, Every: 2 * time.Second}, p.Row, p.Tick); err != nil {
			t.Fatal(err)
		}
		p.Done()
		if s := terminal.String(); !strings.Contains(s, "\r\x1b[K3s left; Ctrl-C") || !strings.HasSuffix(s, "\r\x1b[K") || strings.Count(out.String(), "\n") != 3 {
			t.Errorf("progress %q, table %q", s, out.String())
		}
	})
}

func TestEachRowIsACensus(t *testing.T) {
	for _, c := range []struct{ every, total, want time.Duration }{
		{time.Minute, 5 * time.Minute, 15 * time.Second},
		{time.Second, 5 * time.Second, 250 * time.Millisecond},
		{10 * time.Minute, 24 * time.Hour, 10 * time.Minute / 7},
		{50 * time.Second, 5 * time.Minute, 12500 * time.Millisecond},
	} {
		if got := step(c.every, c.total); got != c.want {
			t.Errorf("every %s for %s: a census each %s, want %s", c.every, c.total, got, c.want)
		}
	}
}
