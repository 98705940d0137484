// Package canary sends one entry an interval through the whole way, as the lines of
// sources go, and notes when each sink has accepted it. So health is something that
// arrived, and not that nobody complained.
package canary

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/units"
)

// late is after how long a canary that has not arrived is missed: a few retries, and the
// linger, are no reason to worry.
const late = 30 * time.Second

// Config is canary.
type Config struct {
	Enabled  bool           `yaml:"enabled" jsonschema_description:"Send an entry of the agent's own to every sink now and then, and note when it arrives: health and canary_latency_seconds tell."`
	Interval units.Duration `yaml:"interval" jsonschema_description:"How often; 1s to 1h."`
}

// DefaultConfig is what the agent runs with when the file says nothing.
func DefaultConfig() Config { return Config{Enabled: true, Interval: units.Duration(time.Minute)} }

// Validate reports an interval that makes no sense.
func (c Config) Validate() []units.FieldError {
	if c.Interval < units.Duration(time.Second) || c.Interval > units.Duration(time.Hour) {
		return []units.FieldError{units.Errorf("interval", "%s is out of range; expected 1s to 1h", c.Interval)}
	}
	return nil
}

// Deps is what a Canary is made of.
type Deps struct {
	// Arena gives the batches.
	Arena *record.Pool
	// Deliver is the dispatcher's.
	Deliver func(ctx context.Context, b *record.Batch) error
	// Read counts lines that were taken over.
	Read func(src *record.Source, lines, bytes int)
	Log  *slog.Logger
}

// Canary is the source. It is safe for concurrent use.
type Canary struct {
	Deps
	source  *record.Source
	changed chan struct{}

	mu      sync.Mutex
	config  Config
	number  int64
	waiting []time.Time // sent, or tried to be, and not yet late
	due     time.Time   // the newest that should have arrived
	sinks   map[string]*arrivals
}

// arrivals are those at one sink.
type arrivals struct {
	last    time.Time // when the newest that arrived was sent; before the first, when the sink came
	latency time.Duration
	count   int64
}

// New returns a Canary that sends nothing before Run. host is the label host.
func New(config Config, host string, d Deps) *Canary {
	src := &record.Source{ID: record.KindCanary, Kind: record.KindCanary, Name: record.KindCanary}
	src.Streams[record.OutputNone] = record.NewStream(record.Labels{
		{Name: "job", Value: "log_capturer_canary"}, {Name: "host", Value: host},
	}, nil)
	return &Canary{Deps: d, source: src, changed: make(chan struct{}, 1), config: config, sinks: map[string]*arrivals{}}
}

// Reconfigure has config hold from now on.
func (c *Canary) Reconfigure(config Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config == config {
		return
	}
	c.config, c.waiting, c.due = config, nil, time.Time{}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends.
func (c *Canary) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.changed:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		config := c.config
		c.mu.Unlock()
		pause := config.Interval.Std()
		if config.Enabled && !c.send(ctx) {
			pause = min(pause, late)
		}
		timer.Reset(pause)
	}
}

// send sends one, and tells whether there was room. It cannot wait for that: what finds
// none counts as one that did not arrive.
func (c *Canary) send(ctx context.Context) bool {
	now := time.Now()
	c.mu.Lock()
	c.number++
	line := fmt.Appendf(nil, "canary n=%d", c.number)
	c.waiting = append(c.waiting, now)
	c.overdue(now)
	c.mu.Unlock()
	b := c.Arena.Force(len(line))
	b.Source = c.source
	b.Append(now.UnixNano(), record.OutputNone, line)
	b.Filled()
	if err := c.Deliver(ctx, b); err != nil {
		c.Log.Debug("a canary found no room", "error", err)
		return false
	}
	c.Read(c.source, 1, len(line))
	return true
}

// Arrived notes that a sink has accepted the canary that was sent at a time. One of an
// earlier life of the agent, out of a spool, says nothing of now.
func (c *Canary) Arrived(sink string, sent time.Time) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.sinks[sink]
	if a == nil || sent.Before(a.last) {
		return
	}
	a.last, a.latency = sent, now.Sub(sent)
	a.count++
}

// overdue notes which of those that were sent should have arrived.
func (c *Canary) overdue(now time.Time) {
	for len(c.waiting) > 0 && now.Sub(c.waiting[0]) >= late {
		c.due, c.waiting = c.waiting[0], c.waiting[1:]
	}
}

// Missing returns why canaries are missed, or "".
func (c *Canary) Missing() string {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.overdue(now)
	for _, name := range slices.Sorted(maps.Keys(c.sinks)) {
		if a := c.sinks[name]; a.last.Before(c.due) {
			return fmt.Sprintf("nothing has arrived at sink %s for %s", name, now.Sub(a.last).Round(time.Second))
		}
	}
	return ""
}

// SetSinks says at which sinks canaries are to arrive from now on.
func (c *Canary) SetSinks(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.sinks, func(name string, _ *arrivals) bool { return !slices.Contains(names, name) })
	for _, name := range names {
		if c.sinks[name] == nil {
			c.sinks[name] = &arrivals{last: time.Now()}
		}
	}
}

// Figures are the numbers of one sink.
type Figures struct {
	Sink string
	// Arrived is how many came; Latency what the newest of them took.
	Arrived int64
	Latency time.Duration
	// Last is when that one was sent.
	Last time.Time
}

// Figures returns the numbers of the moment, of sinks where one has arrived, and how many
// were sent.
func (c *Canary) Figures() (all []Figures, sent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.sinks)) {
		if a := c.sinks[name]; a.count > 0 {
			all = append(all, Figures{name, a.count, a.latency, a.last})
		}
	}
	return all, c.number
}
