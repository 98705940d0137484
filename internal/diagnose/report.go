package diagnose

import (
	"context"
	"time"
)

// Plan is how long an agent is looked at, and how often a row is made.
type Plan struct{ For, Every time.Duration }

// Row is a line of the table.
type Row struct {
	Seconds float64 `json:"seconds"`
	// Goroutines, and how many more they are than in the row before.
	Goroutines int     `json:"goroutines"`
	Growth     int     `json:"growth"`
	PerMinute  float64 `json:"per_minute"`
	Expected   int     `json:"expected"`
	// Descriptors that are open, and how many may be; 0 = not known.
	Descriptors int   `json:"descriptors"`
	Limit       int   `json:"descriptors_limit"`
	HeapBytes   int64 `json:"heap_live_bytes"`
}

// Report is what was seen of an agent.
type Report struct {
	Rows        []Row    `json:"rows"`
	Censuses    int      `json:"censuses"`
	Seconds     float64  `json:"seconds"`
	Goroutines  Growth   `json:"goroutines"`
	Owners      []Growth `json:"owners"`
	Components  []Growth `json:"components"`
	Stacks      []Growth `json:"stacks"`
	Held        []Growth `json:"held"`
	Descriptors []Growth `json:"descriptors"`
	Heap        Growth   `json:"heap"`
	HeapSites   []Growth `json:"heap_sites"`
	Verdict     Verdict  `json:"verdict"`
	// Stopped is why it ended before its time; empty when it did not.
	Stopped string `json:"stopped,omitempty"`
}

// Watch looks at an agent for the time of the plan, or until ctx ends, and calls row with
// each line of the table when it is there. An agent that ceases to answer ends it too: the
// report is of what was seen until then. The error is that of an agent which did not
// answer at all.
func Watch(ctx context.Context, agent Agent, plan Plan, row func(Row), tick Tick) (Report, error) {
	var rows []Row
	next := time.Duration(0)
	samples, err := watch(ctx, agent, step(plan.Every, plan.For), plan.For, func(s Sample) {
		if s.After < next {
			return
		}
		next += plan.Every
		rows = append(rows, rowOf(s, rows))
		row(rows[len(rows)-1])
	}, tick)
	if len(samples) == 0 && err != nil {
		return Report{}, err
	}
	r := examine(samples)
	r.Rows = rows
	switch {
	case err != nil:
		r.Stopped = err.Error()
	case ctx.Err() != nil:
		r.Stopped = "interrupted"
	}
	return r, nil
}

func rowOf(s Sample, before []Row) Row {
	r := Row{Seconds: s.After.Seconds(), Goroutines: s.Goroutines.Total, Expected: s.Goroutines.Expected,
		Descriptors: s.Descriptors.Total, Limit: s.Descriptors.Limit, HeapBytes: s.Heap.LiveBytes}
	if len(before) > 0 {
		was := before[len(before)-1]
		r.Growth = r.Goroutines - was.Goroutines
		if minutes := (r.Seconds - was.Seconds) / 60; minutes > 0 {
			r.PerMinute = round(float64(r.Growth) / minutes)
		}
	}
	return r
}

// examine makes a report of samples, its rows apart.
func examine(samples []Sample) Report {
	r := Report{Censuses: len(samples), Goroutines: total(samples), Owners: byOwner(samples), Components: byComponent(samples),
		Stacks: byStack(samples), Held: held(samples), Descriptors: descriptors(samples), Heap: liveHeap(samples), HeapSites: sites(samples)}
	if len(samples) > 0 {
		r.Seconds = samples[len(samples)-1].After.Seconds()
	}
	r.Verdict = judge(r, tooShort(samples))
	return r
}
