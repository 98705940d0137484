// Package report makes of the runs of a comparison one table and one chart.
//
// A figure is the median of the rounds; a ratio is taken run by run, between two agents of
// one round, and its median is shown, so that a machine that is slower for a while does not
// count for one of them. A run that lost or repeated a line does not count.
package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/logcapturer/log_capturer/bench/null"
)

// Run is what one agent did in one round of one row.
type Run struct {
	Row   string `json:"row"`
	Agent string `json:"agent"`
	Round int    `json:"round"`
	// Why it could not be run, or did not do its job; empty otherwise.
	Why string `json:"why,omitempty"`
	// Lines and Bytes are what there was to send, Lost what did not come.
	Lines int64 `json:"lines"`
	Bytes int64 `json:"bytes"`
	Lost  int64 `json:"lost"`
	// Seconds is how long it took, CPU the agent's processor time in it, Engine that of
	// dockerd, Limit what the agent's core needs for the same bytes at best; all in seconds.
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_seconds"`
	Engine  float64 `json:"dockerd_cpu_seconds,omitempty"`
	Limit   float64 `json:"limit_seconds,omitempty"`
	// RSS is the peak of the agent's memory in bytes.
	RSS int64 `json:"rss_bytes"`
	// P50 and P99 are how late lines come, in ms.
	P50 float64 `json:"p50_ms,omitempty"`
	P99 float64 `json:"p99_ms,omitempty"`
	// In is how long it took to take all lines, in seconds, while the server was down; Out how
	// long to send them then.
	In  float64 `json:"in_seconds,omitempty"`
	Out float64 `json:"out_seconds,omitempty"`
	// Requests are those of Seconds, Server is what the server saw in all.
	Requests int64       `json:"requests"`
	Server   null.Report `json:"server"`
}

// Counts tells whether every line came, and came once.
func (r Run) Counts() bool { return r.Why == "" && r.Lost == 0 && r.Server.Repeated == 0 }

func (r Run) mb() float64 { return float64(r.Bytes) / 1e6 }

// tick is the least processor time that the kernel tells, in seconds: what took none is not
// better without bounds than what took one.
const tick = 0.01

// Row is a kind of work.
type Row struct {
	ID, Title string
	// Unit is that of Value, by which agents are compared; More tells that more is better.
	Unit  string
	Value func(Run) float64
	More  bool
}

// Rows are all rows of the comparison, in their order.
func Rows() []Row {
	rate := func(r Run) float64 { return r.mb() / max(r.CPU, tick) }
	return []Row{
		{"A", "one large file", "MB per CPU-second", rate, true},
		{"B", "100 files", "MB per CPU-second", rate, true},
		{"C", "a container's json-file", "MB per CPU-second", rate, true},
		{"D", "200 quiet files", "CPU-seconds a minute", perMinute, false},
		{"E", "latency of a line every 10 ms", "p50, ms", func(r Run) float64 { return r.P50 }, false},
		{"F", "output of a real container, by its json-file", "MB per CPU-second of agent and dockerd", withEngine, true},
		{"Fs", "output of a real container, by the engine's API", "MB per CPU-second of agent and dockerd", withEngine, true},
		{"G", "1,000 streams with a line a second each", "CPU-seconds a minute", perMinute, false},
		{"H", "store and forward through the spool", "MB/s in and out together", func(r Run) float64 { return r.mb() / (r.In + r.Out) }, true},
	}
}

func perMinute(r Run) float64  { return max(r.CPU, tick) * 60 / r.Seconds }
func withEngine(r Run) float64 { return r.mb() / max(r.CPU+r.Engine, tick) }

// Median returns the middle of values, or the mean of the two in the middle; NaN of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Percentile returns the value that p percent of the values do not exceed; NaN of none.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	return s[min(len(s)-1, int(math.Ceil(p/100*float64(len(s))))-1)]
}

// cell is what is known of an agent in a row.
type cell struct {
	agent string
	runs  []Run // all of them
	good  []Run // those that count
	ratio float64
	from  float64 // the least ratio
	to    float64 // the greatest
}

// median returns that of a figure of the runs that count.
func (c cell) median(figure func(Run) float64) float64 {
	values := make([]float64, 0, len(c.good))
	for _, r := range c.good {
		values = append(values, figure(r))
	}
	return Median(values)
}

// cells returns the agents of a row in the order in which they ran first, each compared with
// reference, run by run: by how much reference is better.
func cells(row Row, runs []Run, reference string) (all []cell) {
	of := map[int]Run{}
	for _, r := range runs {
		if r.Row != row.ID {
			continue
		}
		at := slices.IndexFunc(all, func(c cell) bool { return c.agent == r.Agent })
		if at < 0 {
			at, all = len(all), append(all, cell{agent: r.Agent})
		}
		all[at].runs = append(all[at].runs, r)
		if r.Counts() {
			all[at].good = append(all[at].good, r)
			if r.Agent == reference {
				of[r.Round] = r
			}
		}
	}
	for i, c := range all {
		var ratios []float64
		for _, r := range c.good {
			ours, ok := of[r.Round]
			if !ok || c.agent == reference {
				continue
			}
			if ratio := row.Value(ours) / row.Value(r); row.More {
				ratios = append(ratios, ratio)
			} else {
				ratios = append(ratios, 1/ratio)
			}
		}
		all[i].ratio = Median(ratios)
		if len(ratios) > 0 {
			all[i].from, all[i].to = slices.Min(ratios), slices.Max(ratios)
		}
	}
	return all
}

// verdict is what is wrong with the runs of an agent; empty when all count.
func (c cell) verdict() string {
	for _, r := range c.runs {
		switch {
		case r.Why != "":
			return r.Why
		case !r.Counts():
			return fmt.Sprintf("does not count: %d lost, %d repeated", r.Lost, r.Server.Repeated)
		}
	}
	return ""
}
