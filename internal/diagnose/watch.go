package diagnose

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Sample is a census, and when it was taken after the first.
type Sample struct {
	After time.Duration
	Snapshot
}

// ErrRestarted says that the agent is not the one that was asked before.
var ErrRestarted = errors.New("the agent was restarted meanwhile, and its counts began anew; ask again")

const (
	// longestStep is the most time between two censuses, mostSteps how many there are.
	longestStep = 15 * time.Second
	mostSteps   = 1000
	// patience is how many censuses in a row may fail.
	patience = 3
)

// step returns the time between two censuses: a whole part of every, so that each row of
// the table is one.
func step(every, total time.Duration) time.Duration {
	want := max(min(every/4, longestStep), total/mostSteps)
	if want <= 0 || want > every {
		return every
	}
	return every / ((every + want - 1) / want)
}

// watch takes a census at once and then each step until total has passed or ctx ends,
// which is no error: each is called with every one. With an error, what was taken before
// is returned too.
func watch(ctx context.Context, agent Agent, step, total time.Duration, each func(Sample), tick Tick) ([]Sample, error) {
	var all []Sample
	begin := time.Now()
	failed := 0
	for n := time.Duration(0); n*step <= total; n++ {
		if !wait(ctx, begin.Add(n*step), begin.Add(total), tick) {
			return all, nil
		}
		s, err := agent.Resources(ctx)
		if ctx.Err() != nil {
			return all, nil //nolint:nilerr // whatever it said: nobody waits for it any more
		}
		switch {
		case err != nil:
			if failed++; failed == patience || len(all) == 0 {
				return all, err
			}
			continue
		case len(all) > 0 && !s.Started.Equal(all[0].Started):
			return all, ErrRestarted
		}
		failed = 0
		sample := Sample{After: n * step, Snapshot: s}
		if late := time.Since(begin); late > sample.After+step/4 {
			sample.After = late // the agent was slow to answer
		}
		all = append(all, sample)
		each(sample)
	}
	return all, nil
}

// wait waits until a time, and says each second how long it is to the end of all. It
// returns false when ctx ended.
func wait(ctx context.Context, until, end time.Time, tick Tick) bool {
	for {
		left := time.Until(until)
		if left <= 0 {
			return ctx.Err() == nil
		}
		if tick != nil {
			tick("", time.Until(end))
		}
		timer := time.NewTimer(min(left, time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// times returns when samples were taken.
func times(samples []Sample) []time.Duration {
	out := make([]time.Duration, len(samples))
	for i, s := range samples {
		out[i] = s.After
	}
	return out
}

// collect makes a series for each key; where a sample does not have it, it is 0.
func collect[K comparable](samples []Sample, from func(s Snapshot, add func(K, float64))) map[K][]float64 {
	out := map[K][]float64{}
	for i := range samples {
		from(samples[i].Snapshot, func(key K, v float64) {
			if out[key] == nil {
				out[key] = make([]float64, len(samples))
			}
			out[key][i] += v
		})
	}
	return out
}

// tooShort says why nothing can be told, or "".
func tooShort(samples []Sample) string {
	if len(samples) >= minPoints {
		return ""
	}
	return fmt.Sprintf("%d of the %d censuses that are needed", len(samples), minPoints)
}
