package leak

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/units"
)

type countedCollector struct{ asked atomic.Int64 }

func (c *countedCollector) Freshen(units.Size) { c.asked.Add(1) }

func TestRunLooksEveryIntervalAndFollowsItsSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		began := time.Now()
		collector := new(countedCollector)
		config := DefaultConfig()
		w := New(config, Deps{
			Log: slog.New(slog.DiscardHandler), Report: func(health.Status, string) {}, Collector: collector,
			Sample: func() Sample {
				looks.Add(1)
				return Sample{Time: time.Now(), Series: []Series{streams(time.Since(began).Seconds(), 0)}}
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		pass := func(d time.Duration) int64 {
			before := looks.Load()
			<-time.After(d)
			synctest.Wait()
			return looks.Load() - before
		}
		if n := pass(2 * time.Minute); n != 9 || collector.asked.Load() != n {
			t.Errorf("%d looks in two minutes, %d collections asked for", n, collector.asked.Load())
		}
		if v := w.Verdict(); v.Status != health.Degraded || v.Owner != stream {
			t.Errorf("after two minutes it is %+v", v)
		}
		config.Enabled = false
		w.Reconfigure(config)
		if n := pass(time.Minute); n != 0 || w.Verdict().Status != health.Healthy {
			t.Errorf("%d looks while it is off, %+v", n, w.Verdict())
		}
		config.Enabled, config.Interval = true, units.Duration(time.Second)
		w.Reconfigure(config)
		if n := pass(time.Minute); n < 59 || n > 61 {
			t.Errorf("%d looks in a minute of seconds", n)
		}
		pass(time.Minute)
		if v := w.Verdict(); v.Status != health.Degraded {
			t.Errorf("with looks each second it is %+v", v)
		}
		cancel()
		<-done
	})
}

func TestACollectionIsMadeWhenTheLiveHeapIsOldAndMuchIsNew(t *testing.T) {
	c := new(runtimeCollector)
	cycles := func() uint64 { n, _, _ := c.read(); return n }
	runtime.GC()
	c.Freshen(units.GiB) // learns the number of collections
	c.Freshen(units.GiB) // gives back what other tests left
	before := cycles()
	c.Freshen(units.GiB)
	if now := cycles(); now != before {
		t.Errorf("%d collections for nothing", now-before)
	}
	kept := make([]byte, 1<<20)
	c.Freshen(512 * units.KiB)
	if cycles() == before {
		t.Error("no collection though a megabyte is new")
	}
	runtime.GC() // the agent is busy, and collects by itself
	more, before := make([]byte, 1<<20), cycles()
	c.Freshen(512 * units.KiB)
	if now := cycles(); now != before {
		t.Errorf("%d collections though there had been one", now-before)
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(more)
}

func TestAnAgentThatHasBecomeQuietGivesItsMemoryBack(t *testing.T) {
	c := new(runtimeCollector)
	free := func() int64 { _, _, n := c.read(); return n }
	much := make([]byte, 64<<20)
	for i := range much {
		much[i] = 1
	}
	runtime.KeepAlive(much)
	runtime.GC()
	if n := free(); n < 32<<20 {
		t.Fatalf("%d bytes are free: too few to see anything", n)
	}
	c.Freshen(units.GiB) // there was a collection: it is not known to be quiet
	c.Freshen(units.GiB)
	if n := free(); n > 8<<20 { // other tests run on
		t.Errorf("%d bytes are kept for nothing", n)
	}
}

func TestACensusBecomesASample(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	census := ledger.Snapshot{
		Time:        at,
		Goroutines:  ledger.Goroutines{Owners: []ledger.GoroutineOwner{{Owner: stream, Component: "container_monitor", Count: 12, Expected: 9, Stack: "a < b", Oldest: at}}},
		Descriptors: ledger.Descriptors{Total: 30, Limit: 1024, Kinds: map[string]int{"engine_stream": 4}},
		Heap:        ledger.Heap{LiveBytes: 20, LimitBytes: 100, BatchBytes: 5, Sites: []ledger.HeapSite{{Function: "f", Component: "canary", Bytes: 9}}},
		Held: []ledger.Held{
			{Owner: stream, Component: "container_monitor", Kind: "engine_stream", Count: 2, Expected: 2, Oldest: at, Endpoint: "a"},
			{Owner: stream, Component: "container_monitor", Kind: "engine_stream", Count: 1, Expected: 1, Oldest: at.Add(-time.Hour), Endpoint: "b", Unclosed: 3},
			{Owner: stream, Component: "container_monitor", Kind: "ticker", Count: 1, Expected: -1},
		},
	}
	got := FromSnapshot(census)
	if got.Census == nil {
		t.Error("the census is not kept for the bundle")
	}
	got.Census = nil
	want := Sample{
		Time: at, Descriptors: 30, DescriptorLimit: 1024, HeapLive: 20, HeapLimit: 100,
		Series: []Series{
			{"container_monitor", stream, Goroutines, 12, 9, "a < b", at},
			{"container_monitor", stream, "held:engine_stream", 6, 3, "", at.Add(-time.Hour)},
			{"container_monitor", stream, "unclosed:engine_stream", 3, 0, "", time.Time{}},
			{"container_monitor", stream, "held:ticker", 1, Unknown, "", time.Time{}},
			{"", "", "descriptors:engine_stream", 4, 3, "", time.Time{}},
			{"", "", Heap, 20, 5, "", time.Time{}},
		},
		Sites: []Site{{"f", "canary", 9}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for kind, want := range map[string]float64{"pipe": Unknown, "socket": 0} {
		census.Descriptors.Kinds = map[string]int{kind: 2}
		if s := FromSnapshot(census).Series[4]; s.What != Descriptors+kind || s.Expected != want {
			t.Errorf("%s is %+v", kind, s)
		}
	}
	census.Descriptors.Kinds = map[string]int{"socket": 2}
	census.Held = append(census.Held, ledger.Held{Owner: "z", Kind: "connection", Count: 5, Expected: -1})
	for _, s := range FromSnapshot(census).Series {
		if s.What == Descriptors+"socket" && s.Expected != 2 {
			t.Errorf("five connections, three of them streams: %+v", s)
		}
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	if errs := DefaultConfig().Validate(); len(errs) != 0 {
		t.Errorf("the defaults are refused: %v", errs)
	}
	for path, change := range map[string]func(*Config){
		"interval":              func(c *Config) { c.Interval = units.Duration(2 * time.Minute) },
		"goroutines_per_minute": func(c *Config) { c.GoroutinesPerMinute = math.NaN() },
		"descriptors_share":     func(c *Config) { c.DescriptorsShare = 20 },
		"heap_per_minute":       func(c *Config) { c.HeapPerMinute = 1 },
		"keep":                  func(c *Config) { c.Keep = -1 },
		"webhook_url":           func(c *Config) { c.WebhookURL = units.NewSecret("ftp://" + secret) },
	} {
		c := DefaultConfig()
		change(&c)
		errs := c.Validate()
		if len(errs) != 1 || errs[0].Path != path || strings.Contains(errs[0].Msg, secret) {
			t.Errorf("%s: %v", path, errs)
		}
	}
	c := DefaultConfig()
	c.WebhookURL = units.NewSecret("http://host/" + secret)
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, secret) {
		t.Errorf("printing the settings tells the secret: %s", text)
	}
}
