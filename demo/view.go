package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

const (
	redrawEvery = time.Second
	lineEvery   = 5 * time.Second // without a terminal
)

// watch prints the state until ctx ends, which is no error.
func (s *stage) watch(ctx context.Context, out io.Writer) error {
	every := lineEvery
	if s.o.terminal {
		every = redrawEvery
	} else {
		fmt.Fprintf(out, "Captured logs: %s\nLook at them:  %s\n", s.dir, s.look())
	}
	height := 0
	var before view
	for {
		v, err := s.state(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // its end is why the call failed
		}
		if err != nil {
			return err
		}
		v.rates(before)
		before = v
		if !s.o.terminal {
			fmt.Fprintln(out, v.line())
		} else {
			text := v.table(s.look())
			if height > 0 {
				fmt.Fprintf(out, "\x1b[%dA\x1b[J", height)
			}
			fmt.Fprint(out, text)
			height = strings.Count(text, "\n")
		}
		if !task.Sleep(ctx, every) {
			return nil
		}
	}
}

func (s *stage) look() string { return "tail -f " + filepath.Join(s.dir, "*.log") }

// state asks everybody once.
func (s *stage) state(ctx context.Context) (view, error) {
	if !s.agent.Running() {
		return view{}, fmt.Errorf("the agent ended:\n%s", s.agent.Log())
	}
	v := view{at: time.Now(), started: s.started, sinks: []string{"local_file"}}
	if s.o.lokiURL != "" {
		v.sinks = append(v.sinks, "loki")
	}
	captured, err := s.captured.count()
	if err != nil {
		return v, err
	}
	v.captured = maps.Clone(captured)
	// After what came out is counted, or more would come out than went in.
	if v.written, err = s.written(ctx); err != nil {
		return v, err
	}
	v.metrics, err = s.agent.Scrape()
	return v, err
}

// view is the state at one moment.
type view struct {
	at, started       time.Time
	written, captured map[string]int64
	rate              map[string]float64 // lines written per second
	metrics           harness.Metrics
	sinks             []string
}

func (v *view) rates(before view) {
	v.rate = map[string]float64{}
	from, past := v.started, before.written
	if past != nil {
		from = before.at
	}
	for id, n := range v.written {
		v.rate[id] = float64(n-past[id]) / max(v.at.Sub(from).Seconds(), 0.001)
	}
}

func (v *view) memory() float64 {
	if rss := v.metrics.Sum("process_resident_memory_bytes"); rss > 0 {
		return rss
	}
	return v.metrics.Sum("memory_usage_bytes")
}

func (v *view) sink(name string) (delivered int64, lag float64) {
	label := fmt.Sprintf("sink=%q", name)
	return int64(v.metrics.Sum("lines_acked_total", label)), v.metrics.Sum("sink_lag_seconds", label)
}

// line is the state in one line, for a log.
func (v *view) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5s  written %s, captured %s", v.at.Sub(v.started).Round(time.Second), thousands(sum(v.written)), thousands(sum(v.captured)))
	for _, s := range samples {
		fmt.Fprintf(&b, "%s%s %d/%d", map[bool]string{true: " (", false: ", "}[s.id == samples[0].id], s.id, v.captured[s.id], v.written[s.id])
	}
	b.WriteByte(')')
	fmt.Fprintf(&b, "; lines in %s", thousands(int64(v.metrics.Sum("lines_read_total"))))
	for _, name := range v.sinks {
		n, lag := v.sink(name)
		fmt.Fprintf(&b, "; %s delivered %s, lag %.1f s", name, thousands(n), lag)
	}
	fmt.Fprintf(&b, "; %.0f goroutines, %.0f MB", v.metrics.Sum("goroutines"), v.memory()/1e6)
	return b.String()
}

// The colours of a terminal.
const (
	bold, dim, green, yellow, off = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
)

// table is the state for a terminal.
func (v *view) table(look string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %slog_capturer demo%s  %s\n\n", bold, off, v.at.Sub(v.started).Round(time.Second))
	fmt.Fprintf(&b, "  %s%-8s %-32s %10s %10s %8s%s\n", dim, "source", "", "written", "captured", "per s", off)
	for _, s := range samples {
		w, c := v.written[s.id], v.captured[s.id]
		fmt.Fprintf(&b, "  %-8s %s%-32s%s %10s %s%10s%s %8.0f\n", s.id, dim, s.what, off,
			thousands(w), tint(w-c <= int64(2*v.rate[s.id])+60), thousands(c), off, v.rate[s.id])
	}
	fmt.Fprintf(&b, "  %s%-8s %-32s %10s %10s%s\n\n", bold, "all", "", thousands(sum(v.written)), thousands(sum(v.captured)), off)
	fmt.Fprintf(&b, "  lines in %s\n", thousands(int64(v.metrics.Sum("lines_read_total"))))
	for _, name := range v.sinks {
		n, lag := v.sink(name)
		fmt.Fprintf(&b, "  → %-10s delivered %s, lag %s%.1f s%s\n", name, thousands(n), tint(lag < 5), lag, off)
	}
	fmt.Fprintf(&b, "  agent      %.0f goroutines, %.0f MB memory\n\n", v.metrics.Sum("goroutines"), v.memory()/1e6)
	fmt.Fprintf(&b, "  look at the captured logs:  %s\n", look)
	fmt.Fprintf(&b, "  %sCtrl-C ends it and cleans up%s\n", dim, off)
	return b.String()
}

func tint(good bool) string {
	if good {
		return green
	}
	return yellow
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
