// Package leak watches the agent for leaks: numbers that grow by themselves. It looks at
// a census of who holds what every leak_watch.interval, tells growth from load, and says
// whose it is while the process still runs well.
//
// What is watched are series: the goroutines of each owner, the things each owner holds,
// the descriptors of each kind, and the heap. Each has a value and, where a formula
// knows it, what the load of the moment explains; only what is over that can leak, so
// more containers raise the expectation and not the alarm.
//
// A leak is steady growth over 90 seconds, ten minutes or an hour; the longer the time,
// the slower the growth that is noticed. Noise, steps, bursts that level off and values
// that were there before are none (see trend.go). Degraded comes first, unhealthy when
// it goes on. With the first alarm of an episode one bundle of dumps is written below
// data_dir/diagnostics, and the webhook, if there is one, is told.
//
// How it is used: New with what it needs (Deps), Run in a goroutine of a task.Scope,
// Verdict and Alarms for the API and the metrics. Run does everything in its own
// goroutine; nothing here starts another one. A Tail, which keeps the last lines of the
// agent's log for the bundle, wraps the handler of the agent's logger.
package leak

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger"
)

// Kinds of series: the first word of Series.What.
const (
	Goroutines  = "goroutines"
	HeldPrefix  = "held:"        // and the kind
	Unclosed    = "unclosed:"    // and the kind: collected as garbage without being closed
	Descriptors = "descriptors:" // and the kind
	Heap        = "heap"
)

// Unknown is Series.Expected where no formula knows it.
const Unknown = -1

// Series is one number that must not grow by itself: what is there, and what the load
// of the moment explains.
type Series struct {
	Component, Owner string
	What             string // goroutines, held:KIND, unclosed:KIND, descriptors:KIND, heap
	Value            float64
	Expected         float64 // Unknown: no formula
	Stack            string  // where the most of them are; may be empty
	Oldest           time.Time
}

// Sample is one census. The Watch keeps none of its slices.
type Sample struct {
	Time                         time.Time
	Series                       []Series
	Descriptors, DescriptorLimit int   // limit 0: not known
	HeapLive, HeapLimit          int64 // bytes; limit 0: none
	Sites                        []Site
	// Census is the whole of it for a bundle's snapshot.json; nil: the Sample itself.
	Census any `json:"-"`
}

// Deps is what a Watch is made of. Only Sample, Report and Log must be given.
type Deps struct {
	// Sample takes a census.
	Sample func() Sample
	// Report is told the verdict after every look.
	Report func(status health.Status, reason string)
	Log    *slog.Logger
	// Dir is where bundles are kept, data_dir/diagnostics; "": none are written.
	Dir string
	// Effective returns the effective configuration with secrets masked.
	Effective func() ([]byte, error)
	// LastLines returns the end of the agent's log.
	LastLines func() []byte
	// Agent and Version are who tells the webhook: the host's name for Host.
	Agent, Host, Version string
	// Collector is asked before every look; nil: the runtime's.
	Collector Collector
}

// Verdict is what the watch thinks, in the words of the alarm that weighs most.
type Verdict struct {
	Status    health.Status `json:"status"`
	Reason    string        `json:"reason,omitempty"`
	Owner     string        `json:"owner,omitempty"`
	Component string        `json:"component,omitempty"`
	What      string        `json:"what,omitempty"`
	Value     float64       `json:"value,omitempty"`
	Expected  float64       `json:"expected,omitempty"`
	PerMinute float64       `json:"per_minute,omitempty"`
	Since     time.Time     `json:"since,omitzero"`
	Stack     string        `json:"stack,omitempty"`
	Bundle    string        `json:"bundle,omitempty"` // the directory of this episode's dumps
}

// Watch finds leaks. Verdict, Alarms and Reconfigure are safe for concurrent use; Run
// or Observe have one caller.
type Watch struct {
	Deps
	// Tickers are those that run.
	Tickers ledger.Account

	changed chan struct{}
	clock   clock
	fit     fitter
	series  map[key]*series
	share   *alarm
	// shareBefore is that of the last look.
	shareBefore float64
	hook        webhook
	sites       sites
	seen        uint64 // of the looks, the newest's number
	active      map[string]bool
	totals      totals

	mu        sync.Mutex
	config    Config
	verdict   Verdict
	alarms    map[string]int64
	refused   int64
	perMinute map[string]float64
}

// New returns a Watch that does nothing before Run.
func New(config Config, d Deps) *Watch {
	if d.Collector == nil {
		d.Collector = new(runtimeCollector)
	}
	w := &Watch{
		Deps: d, config: config, changed: make(chan struct{}, 1),
		series: map[key]*series{}, active: map[string]bool{}, alarms: map[string]int64{},
		verdict: Verdict{Status: health.Healthy},
	}
	w.hook.log = d.Log
	w.totals.begin(config.Interval.Std())
	return w
}

// Reconfigure has config hold from now on. A new interval forgets the history.
func (w *Watch) Reconfigure(config Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.config == config {
		return
	}
	w.config = config
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Run looks every interval until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	config := w.current()
	w.begin(config)
	tick := ledger.NewTicker(ctx, &w.Tickers, config.Interval.Std())
	defer tick.Stop()
	for {
		if config.Enabled {
			w.Collector.Freshen(config.HeapPerMinute)
			w.Observe(ctx, w.Sample())
		}
		select {
		case <-tick.C:
		case <-w.changed:
			before := config
			config = w.current()
			tick.Reset(config.Interval.Std())
			if before.Interval != config.Interval || before.Enabled != config.Enabled {
				w.begin(config)
			}
		case <-ctx.Done():
			return
		}
	}
}

// begin forgets what was seen. One that is not enabled has nothing to complain of.
func (w *Watch) begin(config Config) {
	clear(w.series)
	w.totals.begin(config.Interval.Std())
	clear(w.active)
	w.share = nil
	if !config.Enabled {
		w.publish(Verdict{Status: health.Healthy})
	}
}

func (w *Watch) current() Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.config
}

// Verdict returns what the last look found.
func (w *Watch) Verdict() Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.verdict
}

// Alarms returns how often a component went from having no alarm to having one, by
// component; "agent" is what belongs to none.
func (w *Watch) Alarms() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.alarms)
}

// Refused returns how many series were not watched since there were too many.
func (w *Watch) Refused() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

func (w *Watch) publish(v Verdict) {
	w.mu.Lock()
	w.verdict = v
	w.mu.Unlock()
	w.Report(v.Status, v.Reason)
}
