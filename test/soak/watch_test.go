package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger/census"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

// sample is what agent and dockerd hold at one moment.
type sample struct {
	at                                time.Time
	goroutines, expected              int
	descriptors, explained            int // of the agent; explained is what the census says is open
	dockerd                           int // descriptors; -1 while it is down
	heap, rss                         int64
	lag                               float64 // seconds, of the sink that is most behind
	streams                           int
	turns, acked                      int64
	spooled                           int64 // lines
	unclosed, alarms                  int64
	upstreamLost, dropped, deadletter int64
	why                               string // of upstreamLost
}

// change is one of a component's health.
type change struct {
	at                      time.Time
	component, from, to, by string
}

// record is what was seen.
type record struct {
	samples []sample
	missed  int // samples that could not be taken
	changes []change
	health  map[string]string // of each component, as seen last
}

func (r *rig) measure() (sample, error) {
	s, pid := sample{at: time.Now(), dockerd: -1}, r.agent.PID()
	held, err := r.agent.Resources()
	if err != nil {
		return s, err
	}
	s.goroutines, s.expected = held.Goroutines.Total, held.Goroutines.Expected
	s.descriptors, s.heap = held.Descriptors.Total, held.Heap.LiveBytes
	for _, h := range held.Held {
		switch h.Kind {
		case census.JSONFile, census.LogFile, census.SpoolFile, census.DeadLetterFile, census.SinkFile,
			census.Connection: // streams are connections too
			s.explained += h.Count
		}
		s.unclosed += h.Unclosed
	}
	var errs [2]error
	s.rss, _, errs[0] = harness.RSS(pid)
	m, err := r.agent.Scrape()
	errs[1] = err
	if dockerd := int(r.dockerd.Load()); dockerd > 0 {
		if fds, err := harness.FDs(dockerd); err == nil { // it may end just now
			s.dockerd = len(fds)
		}
	}
	for _, sink := range []string{"calm", "stormy", "loki"} {
		s.lag = max(s.lag, m.Sum("sink_lag_seconds", fmt.Sprintf("sink=%q", sink)))
	}
	s.streams = int(m.Sum("container_streams_active", `mode="stream"`))
	s.turns, s.acked = int64(m.Sum("container_stream_rotations_total")), int64(m.Sum("lines_acked_total"))
	s.spooled, s.alarms = int64(m.Sum("lines_spooled")), int64(m.Sum("leak_alarms_total"))
	s.upstreamLost = int64(m.Sum("lines_upstream_lost_total"))
	s.why = reasons(m)
	s.dropped, s.deadletter = int64(m.Sum("lines_dropped_total")), int64(m.Sum("lines_deadlettered_total"))
	return s, errors.Join(errs[:]...)
}

// watch takes a sample every so often until ctx ends, and says on stderr how far it is.
func (r *rig) watch(ctx context.Context, name string, into *record) {
	said := time.Now()
	for task.Sleep(ctx, r.o.every) {
		s, err := r.measure()
		var h harness.Health
		if err == nil {
			h, err = r.agent.AskHealth()
		}
		if err != nil {
			into.missed++
			fmt.Fprintf(os.Stderr, "%s: no sample: %v\n", name, err)
			continue
		}
		into.samples = append(into.samples, s)
		into.note(s.at, h)
		if time.Since(said) > time.Minute {
			said = time.Now()
			fmt.Fprintf(os.Stderr, "%s: %.0f of %.0f min: %d goroutines, %d expected; %d descriptors, %d of dockerd; %d streams, %d lines, lag %.1f s\n",
				name, s.at.Sub(into.samples[0].at).Minutes(), r.o.during.Minutes(), s.goroutines, s.expected, s.descriptors, s.dockerd, s.streams, s.acked, s.lag)
		}
	}
}

// note adds what changed in health.
func (w *record) note(at time.Time, h harness.Health) {
	if w.health == nil {
		w.health = map[string]string{}
	}
	seen := map[string]bool{}
	for _, c := range h.Components {
		seen[c.Name] = true
		from, known := w.health[c.Name]
		if !known {
			from = "healthy" // a component that is new and well is no change
		}
		if from != c.Status {
			w.changes = append(w.changes, change{at, c.Name, from, c.Status, c.Reason})
		}
		w.health[c.Name] = c.Status
	}
	for name := range w.health {
		if !seen[name] {
			delete(w.health, name) // a sink was removed
		}
	}
}

// floor is the least of a few samples: what is open for a moment only is not in it.
func (r *rig) floor(t *testing.T) sample {
	t.Helper()
	var least sample
	for i := range 20 {
		s, err := r.measure()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			least = s
		}
		least.goroutines, least.expected = min(least.goroutines, s.goroutines), min(least.expected, s.expected)
		least.descriptors, least.explained = min(least.descriptors, s.descriptors), min(least.explained, s.explained)
		least.dockerd = min(least.dockerd, s.dockerd)
		<-time.After(100 * time.Millisecond)
	}
	return least
}

func (w *record) series(of func(s sample) float64) []point {
	out := make([]point, 0, len(w.samples))
	for _, s := range w.samples {
		out = append(out, point{s.at, of(s)})
	}
	return out
}

// settled are the samples but for the first ones, while caches and pools fill.
func (w *record) settled() record {
	return record{samples: w.samples[min(len(w.samples), len(w.samples)/10):]}
}

// reasons are those for which lines were counted as lost, with how many.
func reasons(m harness.Metrics) string {
	var all []string
	for series, n := range m {
		if strings.HasPrefix(series, "log_capturer_lines_upstream_lost_total{") && n > 0 {
			all = append(all, fmt.Sprintf("%s %.0f", strings.TrimPrefix(series, "log_capturer_lines_upstream_lost_total"), n))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
