package soak

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// result is all that a soak has found.
type result struct {
	o           options
	base, final sample // without containers, before and after
	seen        record
	did         counts
	marks       []mark

	expected           int64
	calm, stormy       *harness.Report
	loki               int64 // lines in Loki
	failed, lokiFailed int64 // lines in attempts that failed
	late               int64 // lines that dockerd had left out of a stream
	books              string
	broken             error // of a part of the soak
}

// The most that may stay behind or grow.
const (
	maxSlope  = 0.02 // goroutines that nothing explains, a minute
	maxGrowth = 3    // of the floor, in a short run: a connection or two more at that moment
	// spare are descriptors of its own that dockerd leaves to its garbage collector.
	spare = 2
)

func unexpected(s sample) float64  { return float64(s.goroutines - s.expected) }
func unexplained(s sample) float64 { return float64(s.descriptors - s.explained) }
func heapMiB(s sample) float64     { return float64(s.heap) / (1 << 20) }

// wrong lists what must not be.
func (r *result) wrong() (all []string) {
	add := func(bad bool, format string, args ...any) {
		if bad {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	calm, stormy := *r.calm, *r.stormy
	for _, report := range []*harness.Report{&calm, &stormy} {
		if report.OutOfOrder.N <= r.late {
			report.OutOfOrder = harness.Finding{}
		}
	}
	add(!calm.OK(), "the sink that nothing happened to, %d lines came late: %s", r.late, &calm)
	excused := stormy.Repeated.N <= r.failed
	if excused {
		stormy.Repeated = harness.Finding{}
	}
	add(!stormy.OK(), "the sink behind a broken network, %d lines in attempts that failed: %s", r.failed, &stormy)
	add(r.loki < r.expected || r.loki > r.expected+r.lokiFailed, "Loki has %d lines, %d were written, %d were in attempts that failed", r.loki, r.expected, r.lokiFailed)
	add(r.books != "", "the agent's books: %s", r.books)
	add(r.broken != nil, "the soak did not get through: %v", r.broken)
	add(len(r.seen.samples) < 20 || r.seen.missed > len(r.seen.samples)/20, "%d samples were taken, %d could not be", len(r.seen.samples), r.seen.missed)
	last := r.final
	add(last.upstreamLost > 0, "the agent counts %d lines as lost before it could read them: %s", last.upstreamLost, last.why)
	add(last.dropped+last.deadletter > 0, "the agent dropped %d lines, and %d became dead letters", last.dropped, last.deadletter)
	add(last.unclosed > 0, "%d things were collected as garbage without being closed", last.unclosed)
	add(last.alarms > 0, "the leak watch told %d times of a leak", last.alarms)
	steady := r.seen.settled()
	for _, of := range []struct {
		name  string
		value func(sample) float64
	}{{"goroutines − expected", unexpected}, {"descriptors − explained", unexplained}} {
		series := steady.series(of.value)
		if r.o.during >= long {
			f := trendOf(series)
			add(f.beyond(maxSlope), "%s: slope %s a minute", of.name, f)
			continue
		}
		rose := growth(series)
		add(rose > maxGrowth, "%s: the floor rose by %.0f", of.name, rose)
	}
	all = append(all, r.kept()...)
	for name, status := range r.seen.health {
		add(status != "healthy", "at the end %s is %s", name, status)
	}
	add(r.did.outages < 2 || r.did.reloads < 3 || r.did.engineRestarts < 1 || r.did.removed <= r.o.streams, "too little happened: %+v", r.did)
	return all
}

// kept is what is held without containers that was not held before there were any.
func (r *result) kept() (all []string) {
	b, f := r.base, r.final
	if f.goroutines > b.goroutines || f.descriptors > b.descriptors || f.dockerd > b.dockerd+spare {
		all = append(all, fmt.Sprintf("containers gone: goroutines %d, were %d; descriptors %d, were %d; of dockerd %d, were %d",
			f.goroutines, b.goroutines, f.descriptors, b.descriptors, f.dockerd, b.dockerd))
	}
	return all
}

// markdown is the report.
func (r *result) markdown() string {
	var b strings.Builder
	if len(r.seen.samples) == 0 {
		return fmt.Sprintln("No sample was taken:", r.wrong())
	}
	first, last := r.seen.samples[0], r.seen.samples[len(r.seen.samples)-1]
	verdict := "All that must hold did."
	if wrong := r.wrong(); len(wrong) > 0 {
		verdict = "**This run failed:**\n\n- " + strings.Join(wrong, "\n- ")
	}
	d := r.did
	fmt.Fprintf(&b, "%s, %s of load, a sample every %s: %d samples. %s\n\n", first.at.UTC().Format("2006-01-02"), r.o.during, r.o.every, len(r.seen.samples), verdict)
	fmt.Fprintf(&b, "%d containers at a time, %d read as streams, %d from their files and %d by polls; %d were created, %d removed, %d restarted, %d stopped and started; %d more were `--rm` and lived for seconds. %d stream rotations. %d outages of sinks, %d reloads (%d with a wrong file, refused), %d restarts of dockerd.\n\n",
		r.o.streams+2*r.o.others, r.o.streams, r.o.others, r.o.others, d.created, d.removed, d.restarted, d.stopped, d.brief, last.turns-first.turns, d.outages, d.reloads, d.refused, d.engineRestarts)

	late := fmt.Sprintf("order of what dockerd left out of a stream and the next one brought: at most %d lines", r.late)
	b.WriteString("### Lines\n\n| sink | written | delivered | lost | repeated | out of order | damaged | what the table of delivery.md excuses |\n|---|---|---|---|---|---|---|---|\n")
	for _, of := range []struct {
		name   string
		report *harness.Report
		excuse string
	}{
		{"one that nothing happens to", r.calm, late},
		{"one behind a network that breaks", r.stormy, fmt.Sprintf("%s; repeats of what was in a request that failed: at most %d lines", late, r.failed)},
	} {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %s |\n", of.name, r.expected, of.report.Expected-of.report.Lost.N, of.report.Lost.N, of.report.Repeated.N, of.report.OutOfOrder.N, of.report.Damaged.N, of.excuse)
	}
	fmt.Fprintf(&b, "| Loki, stopped and started | %d | %d | %d | %d | | | what was in a request that failed, at most %d lines, where Loki does not know it any more |\n\n", r.expected, min(r.loki, r.expected), max(0, r.expected-r.loki), max(0, r.loki-r.expected), r.lokiFailed)
	fmt.Fprintf(&b, "Of the lines written, %d are of a log file that is rotated twice a minute. Not among them are %d that dockerd had read and not written to its log when it was stopped: nobody can have them.\n\n", d.files, d.engineLost)

	b.WriteString("### What is held\n\n| | before | first sample | last sample | highest | growth of the floor | slope, each minute, 95 % confidence | containers gone |\n|---|---|---|---|---|---|---|---|\n")
	steady := r.seen.settled()
	for _, of := range []struct {
		name   string
		digits int
		value  func(sample) float64
	}{
		{"goroutines", 0, func(s sample) float64 { return float64(s.goroutines) }},
		{"goroutines − expected", 0, unexpected},
		{"descriptors of the agent", 0, func(s sample) float64 { return float64(s.descriptors) }},
		{"descriptors − explained", 0, unexplained},
		{"descriptors of dockerd", 0, func(s sample) float64 { return float64(s.dockerd) }},
		{"live heap, MiB", 1, heapMiB},
		{"RSS, MiB", 1, func(s sample) float64 { return float64(s.rss) / (1 << 20) }},
		{"streams", 0, func(s sample) float64 { return float64(s.streams) }},
		{"lag, s", 1, func(s sample) float64 { return s.lag }},
	} {
		all := r.seen.series(of.value)
		highest := math.Inf(-1)
		for _, p := range all {
			highest = max(highest, p.v)
		}
		number := func(v float64) string { return fmt.Sprintf("%.*f", of.digits, v) }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", of.name, number(of.value(r.base)), number(of.value(first)), number(of.value(last)),
			number(highest), number(growth(steady.series(of.value))), trendOf(steady.series(of.value)), number(of.value(r.final)))
	}
	fmt.Fprintf(&b, "\nThe leak watch gave %d alarms. %d things were collected as garbage without being closed. Growth and slope leave out the first tenth of the time.\n\n", r.final.alarms, r.final.unclosed)
	b.WriteString(r.healthTable())
	return b.String()
}

// healthTable is how often a component became what it was, and the first reason.
func (r *result) healthTable() string {
	if len(r.seen.changes) == 0 {
		return "### Health\n\nNo sample found it changed.\n"
	}
	type kind struct{ component, to string }
	times, reason := map[kind]int{}, map[kind]string{}
	var order []kind
	for _, c := range r.seen.changes {
		k := kind{c.component, c.to}
		if times[k]++; times[k] == 1 {
			order = append(order, k)
			reason[k] = c.by
		}
	}
	slices.SortStableFunc(order, func(a, b kind) int { return strings.Compare(a.component, b.component) })
	var b strings.Builder
	b.WriteString("### Health\n\nChanges that the samples found:\n\n| component | became | times | the first reason |\n|---|---|---|---|\n")
	for _, k := range order {
		fmt.Fprintf(&b, "| %s | %s | %d | %s |\n", k.component, k.to, times[k], strings.NewReplacer("|", "\\|", "\n", " ").Replace(reason[k]))
	}
	return b.String()
}

// plot draws all of it.
func (r *result) plot() string {
	of := func(name, colour string, value func(sample) float64) curve {
		return curve{name, colour, r.seen.series(value)}
	}
	const red, blue, green = "#c0392b", "#2471a3", "#1e8449"
	samples := r.seen.samples
	if len(samples) == 0 {
		return plot(time.Time{}, time.Time{}, nil, nil)
	}
	return plot(samples[0].at, samples[len(samples)-1].at, r.marks, []panel{
		{"goroutines", []curve{
			of("actual", red, func(s sample) float64 { return float64(s.goroutines) }),
			of("expected", blue, func(s sample) float64 { return float64(s.expected) }),
		}},
		{"descriptors", []curve{
			of("agent", red, func(s sample) float64 { return float64(s.descriptors) }),
			of("of them explained", blue, func(s sample) float64 { return float64(s.explained) }),
			of("dockerd", green, func(s sample) float64 { return max(0, float64(s.dockerd)) }),
		}},
		{"memory, MiB", []curve{
			of("live heap", red, heapMiB),
			of("RSS", blue, func(s sample) float64 { return float64(s.rss) / (1 << 20) }),
		}},
		{"lag of the sink that is most behind, s", []curve{of("lag", red, func(s sample) float64 { return s.lag })}},
		{"streams", []curve{of("open", blue, func(s sample) float64 { return float64(s.streams) })}},
	})
}

// Between these lines of a report's file is what the last run found.
const reportBegin, reportEnd = "<!-- run: begin -->\n", "<!-- run: end -->\n"

// publish writes the plot, and the report between the lines that a file has for it, or as
// the whole file.
func (r *result) publish(path string) error {
	image := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	if err := os.WriteFile(image, []byte(r.plot()), 0o644); err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	text := r.markdown() + fmt.Sprintf("\n![Goroutines, descriptors, memory, lag and streams over time](%s)\n", filepath.Base(image))
	if old, err := os.ReadFile(path); err == nil {
		head, rest, ok := strings.Cut(string(old), reportBegin)
		_, foot, closed := strings.Cut(rest, reportEnd)
		if ok && closed {
			text = head + reportBegin + "\n" + text + "\n" + reportEnd + foot
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
