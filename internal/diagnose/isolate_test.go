package diagnose

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// isolate runs an isolation of two minutes a phase.
func isolate(ctx context.Context, agent Agent) (o Isolation, said []string, err error) {
	i := Isolator{Agent: agent, For: 2 * time.Minute, Tell: func(s string) { said = append(said, s) }, Tick: func(string, time.Duration) {}}
	o, err = i.Run(ctx)
	return o, said, err
}

func TestIsolationNamesTheComponent(t *testing.T) {
	for name, c := range map[string]struct {
		parts     map[string]part
		finding   Finding
		component string
		says      string
	}{
		"nothing grows": {healthy(), NoLeak, "", "none was switched off"},
		"only load": {with(healthy(), "container_monitor", func(p *part) { p.load = func(m float64) float64 { return 40 * m } }),
			NoLeak, "", "none was switched off"},
		"the first leaks": {with(healthy(), "container_monitor", func(p *part) { p.leak = 31.8 }),
			Leak, "container_monitor", "and without container_monitor they do not: it is container_monitor"},
		"the last leaks, under load": {with(with(healthy(), "sink.loki", func(p *part) { p.leak = 6 }), "container_monitor", func(p *part) { p.load = func(m float64) float64 { return 20 * m } }),
			Leak, "sink.loki", "goroutines grow by 6.0 a minute, and without sink.loki they do not"},
		"a map": {with(healthy(), "file_monitor", func(p *part) { p.heap = 9e6 }),
			Suspicion, "file_monitor", "perhaps a leak: live heap grows by 9 MB a minute, and without file_monitor it does not: it is file_monitor, or its load"},
		"tickers": {with(healthy(), "sink.loki", func(p *part) { p.tickers = 10 }),
			Leak, "sink.loki", "held ticker grow by 10.0 a minute, and without sink.loki they do not"},
		"bodies that are given up": {with(healthy(), "sink.loki", func(p *part) { p.unclosed = 10 }),
			Leak, "sink.loki", "unclosed response_body grow by 10.0 a minute"},
		"tickers that the collector finds now and then": {with(healthy(), "sink.loki", func(p *part) { p.tickers, p.collected = 10, true }),
			Leak, "sink.loki", "held ticker grow by 10.0 a minute, and without sink.loki they do not"},
		"connections, of which the server has some": {with(with(healthy(), "sink.loki", func(p *part) { p.connections = 10 }), "file_monitor", func(p *part) { p.asked = 3 }),
			Leak, "sink.loki", "leak: held connection grow by 10.0 a minute, and without sink.loki they do not: it is sink.loki"},
		"one that another feeds": {with(healthy(), "sink.loki", func(p *part) { p.leak, p.feeds = 20, "file_monitor" }),
			Leak, "sink.loki", "bears the label of sink.loki"},
		"two": {with(with(healthy(), "sink.loki", func(p *part) { p.leak = 20 }), "file_monitor", func(p *part) { p.leak = 20 }),
			Leak, "", "no component alone ends it, and without these a part is missing: file_monitor (50 %) and sink.loki (50 %)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent := newFake(c.parts)
				o, _, err := isolate(t.Context(), agent)
				if v := o.Verdict; err != nil || v.Finding != c.finding || v.Component != c.component || !strings.Contains(v.Text, c.says) {
					t.Errorf("%v, %+v\nwant %s of %q, with: %s", err, v, c.finding, c.component, c.says)
				}
				if err := agent.allOn(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestNothingIsSwitchedOffWhenNothingGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := newFake(healthy())
		if _, _, err := isolate(t.Context(), agent); err != nil || strings.Contains(strings.Join(agent.switched, ","), "false") {
			t.Errorf("%v, %q", err, agent.switched)
		}
	})
}

// Growth that ends by itself while a component is off is not that component's.
func TestGrowthThatEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := newFake(with(healthy(), "sink.loki", func(p *part) { p.leak = 20 }))
		agent.after = func(call string) error {
			if call == "switch sink.loki false" { // the last one
				p := agent.parts["sink.loki"]
				p.leak, p.base = 0, p.base+100
				agent.parts["sink.loki"] = p
			}
			return nil
		}
		o, _, err := isolate(t.Context(), agent)
		if err != nil || o.Verdict.Component != "" || o.Again == nil || !strings.Contains(o.Verdict.Text, "not any more with all components on again") {
			t.Errorf("%v, %+v", err, o)
		}
	})
}

func TestWhatWasOffStaysOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := newFake(with(healthy(), "sink.loki", func(p *part) { p.leak = 20 }))
		agent.running["file_monitor"] = false
		o, _, err := isolate(t.Context(), agent)
		if err != nil || agent.running["file_monitor"] || len(o.Skipped) != 1 || strings.Contains(strings.Join(agent.switched, ","), "file_monitor") {
			t.Errorf("%v, %q, %+v", err, agent.switched, o)
		}
		if o.Verdict.Component != "sink.loki" {
			t.Errorf("%+v", o.Verdict)
		}
	})
}

func TestAllIsOnAgainHoweverItEnds(t *testing.T) {
	gone, refused := errors.New("connection refused"), errors.New("401")
	leaking := func() map[string]part { return with(healthy(), "sink.loki", func(p *part) { p.leak = 20 }) }
	count := func(n int) func() bool {
		return func() bool { n--; return n < 0 }
	}
	for name, c := range map[string]struct {
		prepare func(*fake, context.CancelFunc)
		err     error
		stopped string
		still   int
	}{
		"interrupted while it is off": {prepare: func(f *fake, cancel context.CancelFunc) {
			f.after = func(call string) error {
				if call == "resources" && !f.running["file_monitor"] {
					cancel()
				}
				return nil
			}
		}, stopped: "interrupted"},
		"interrupted in the middle of the call": {prepare: func(f *fake, cancel context.CancelFunc) {
			f.after = func(call string) error {
				if strings.HasSuffix(call, "false") {
					cancel()
					return context.Canceled
				}
				return nil
			}
		}, stopped: "interrupted"},
		"the answer is lost": {prepare: func(f *fake, _ context.CancelFunc) {
			f.after = func(call string) error {
				if strings.HasSuffix(call, "false") {
					return gone
				}
				return nil
			}
		}, err: gone, stopped: "connection refused"},
		"it refuses": {prepare: func(f *fake, _ context.CancelFunc) {
			f.fail = func(call string) error {
				if strings.HasSuffix(call, "false") {
					return refused
				}
				return nil
			}
		}, err: refused, stopped: "401"},
		"it does not answer censuses any more": {prepare: func(f *fake, _ context.CancelFunc) {
			f.fail = func(call string) error {
				if call == "resources" && !f.running["file_monitor"] {
					return gone
				}
				return nil
			}
		}, err: gone, stopped: "connection refused"},
		"the token is wrong": {prepare: func(f *fake, _ context.CancelFunc) {
			f.fail = func(call string) error {
				if strings.HasPrefix(call, "switch") {
					return refused
				}
				return nil
			}
		}, err: refused},
		"switching on fails a few times": {prepare: func(f *fake, _ context.CancelFunc) {
			over := count(5)
			f.fail = func(call string) error {
				if !f.running["file_monitor"] && call != "resources" && !over() {
					return gone
				}
				return nil
			}
		}},
		"switching on works, and its answer is lost": {prepare: func(f *fake, _ context.CancelFunc) {
			f.after = func(call string) error {
				if strings.HasSuffix(call, "true") && len(f.switched) > 1 {
					return gone
				}
				return nil
			}
		}},
		"the agent dies": {prepare: func(f *fake, _ context.CancelFunc) {
			f.fail = func(string) error {
				if !f.running["file_monitor"] {
					return gone
				}
				return nil
			}
		}, err: gone, stopped: "connection refused", still: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				agent := newFake(leaking())
				c.prepare(agent, cancel)
				begin := time.Now()
				o, _, err := isolate(ctx, agent)
				if !errors.Is(err, c.err) || !strings.Contains(o.Stopped, c.stopped) || c.stopped == "" && o.Stopped != "" || len(o.StillOff) != c.still {
					t.Errorf("error %v, want %v; stopped %q, want %q; still off %q", err, c.err, o.Stopped, c.stopped, o.StillOff)
				}
				if on := agent.allOn(); (on == nil) != (c.still == 0) {
					t.Errorf("%v, still off by its own account: %q", on, o.StillOff)
				}
				var off *StillOffError
				if errors.As(err, &off) != (c.still > 0) {
					t.Errorf("error %v", err)
				}
				if c.stopped != "" && time.Since(begin) > 7*time.Minute {
					t.Errorf("it took %s", time.Since(begin))
				}
			})
		})
	}
}

func TestTheTableOfAnIsolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := newFake(with(healthy(), "container_monitor", func(p *part) { p.leak, p.noise = 32, 0 }))
		o, said, err := isolate(t.Context(), agent)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		p := Printer{Out: &out}
		p.Isolation(o)
		want := `Growth a minute: goroutines
  COMPONENT           WITH  WITHOUT  VERDICT
  container_monitor  +32.0        0  it stops
  file_monitor       +32.0    +32.0  no difference
  sink.loki          +32.0    +32.0  no difference

leak: goroutines grow by 32.0 a minute, and without container_monitor they do not: it is container_monitor
`
		if out.String() != want {
			t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
		}
		if got := strings.Join(said, "; "); got != "measuring with all components on; switching off container_monitor; container_monitor is on again; switching off file_monitor; file_monitor is on again; switching off sink.loki; sink.loki is on again" {
			t.Errorf("said %s", got)
		}
	})
}
