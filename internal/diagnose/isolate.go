package diagnose

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Measure is something that may grow.
type Measure string

// The measures; what the register holds is "held KIND".
const (
	CountOfGoroutines  Measure = "goroutines"
	CountOfDescriptors Measure = "descriptors"
	LiveHeap           Measure = "live heap"
)

// Phase is how everything moved while one component was off, or none.
type Phase struct {
	// Without is the component that was off; empty = none.
	Without string            `json:"without,omitempty"`
	Moved   map[Measure]Trend `json:"moved"`
	// Unsure are the measures that load may explain.
	Unsure []Measure `json:"load_not_known,omitempty"`
	// Error is why it could not be measured.
	Error string `json:"error,omitempty"`
}

// Isolation is the outcome of switching components off one at a time.
type Isolation struct {
	Base   Phase   `json:"with_all"`
	Phases []Phase `json:"without"`
	// Again is with all components on once more, when Base alone would not tell; else nil.
	Again *Phase `json:"with_all_again,omitempty"`
	// Skipped were off before.
	Skipped []string `json:"skipped,omitempty"`
	// Labelled is the component whose goroutines grew most, by their labels.
	Labelled string  `json:"labelled,omitempty"`
	Verdict  Verdict `json:"verdict"`
	Stopped  string  `json:"stopped,omitempty"`
	// StillOff could not be switched on again.
	StillOff []string `json:"still_off,omitempty"`
}

// Isolator switches components off one at a time.
type Isolator struct {
	Agent Agent
	// For is how long each phase takes.
	For time.Duration
	// Tell is called with a sentence when something is done; Tick while waiting.
	Tell func(string)
	Tick Tick
}

// restoreTime is how long switching on again may take, whatever else has ended.
const restoreTime = 20 * time.Second

// Run measures with everything on and then, if something grows, without each component
// that runs. The error joins what ended it early and what could not be switched on again;
// what was measured is returned all the same. It returns only after all is on again, or
// has been tried to be for restoreTime.
func (i Isolator) Run(ctx context.Context) (Isolation, error) {
	var out Isolation
	components, err := i.Agent.Components(ctx)
	if err != nil {
		return out, fmt.Errorf("list the components: %w", err)
	}
	if err := i.maySwitch(ctx, components); err != nil {
		return out, err
	}
	i.Tell("measuring with all components on")
	base, samples, err := i.measure(ctx, "")
	out.Base = base
	if err != nil || len(samples) < minPoints {
		return out.stop(ctx, err), err
	}
	out.Labelled = labelled(samples)
	if len(base.growing()) == 0 {
		out.Verdict = judgeIsolation(out)
		return out, nil
	}
	for _, c := range components {
		if !c.Running {
			out.Skipped = append(out.Skipped, c.Name)
			continue
		}
		phase, err := i.without(ctx, c.Name)
		var off *StillOffError
		if errors.As(err, &off) {
			out.StillOff = append(out.StillOff, c.Name)
		}
		out.Phases = append(out.Phases, phase)
		if err != nil || ctx.Err() != nil {
			return out.stop(ctx, err), err
		}
	}
	if len(out.Phases) == 0 {
		err := errors.New("no component runs that could be switched off")
		return out.stop(ctx, err), err
	}
	if out.endsQuiet() {
		i.Tell("measuring with all components on once more")
		again, _, err := i.measure(ctx, "")
		if err != nil || ctx.Err() != nil {
			return out.stop(ctx, err), err
		}
		out.Again = &again
	}
	out.Verdict = judgeIsolation(out)
	return out, nil
}

// maySwitch tries the switch where it changes nothing: on a component that runs already.
// So a wrong token is found before anybody has waited.
func (i Isolator) maySwitch(ctx context.Context, components []ComponentState) error {
	for _, c := range components {
		if !c.Running {
			continue
		}
		if _, err := i.Agent.Switch(ctx, c.Name, true); err != nil {
			return fmt.Errorf("the agent does not let its components be switched: %w", err)
		}
		return nil
	}
	return nil
}

// stop ends an isolation early.
func (o Isolation) stop(ctx context.Context, err error) Isolation {
	switch {
	case err != nil:
		o.Stopped = err.Error()
	case ctx.Err() != nil:
		o.Stopped = "interrupted"
	}
	o.Verdict = judgeIsolation(o)
	return o
}

// endsQuiet tells that growth did not resume after the last component: it may have ended
// by itself.
func (o Isolation) endsQuiet() bool {
	if len(o.Phases) == 0 {
		return false
	}
	last := o.Phases[len(o.Phases)-1]
	for _, m := range o.Base.growing() {
		if stops(o.Base.Moved[m], last.Moved[m]) {
			return true
		}
	}
	return false
}

// without measures while a component is off. It is switched on again whatever happens:
// also when the agent refused, since a refusal may come late or be lost.
func (i Isolator) without(ctx context.Context, name string) (phase Phase, err error) {
	phase = Phase{Without: name}
	i.Tell("switching off " + name)
	defer func() {
		if restored := i.restore(ctx, name); restored != nil {
			err = errors.Join(err, restored)
		}
		if err != nil {
			phase.Error = err.Error()
		}
	}()
	state, err := i.Agent.Switch(ctx, name, false)
	switch {
	case ctx.Err() != nil:
		return phase, nil
	case err != nil:
		return phase, fmt.Errorf("switch off %s: %w", name, err)
	case state.Running:
		return phase, fmt.Errorf("switch off %s: the agent says that it still runs", name)
	}
	phase, _, err = i.measure(ctx, name)
	return phase, err
}

// StillOffError says that a component could not be switched on again.
type StillOffError struct {
	Name string
	Err  error
}

func (e *StillOffError) Error() string {
	return fmt.Sprintf("%s could not be switched on again: %v", e.Name, e.Err)
}
func (e *StillOffError) Unwrap() error { return e.Err }

// restore switches a component on, although ctx may have ended, and tries again until
// restoreTime has passed.
func (i Isolator) restore(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
	defer cancel()
	for {
		state, err := i.Agent.Switch(ctx, name, true)
		if err == nil && state.Running {
			i.Tell(name + " is on again")
			return nil
		}
		if i.runs(ctx, name) {
			i.Tell(name + " is on")
			return nil
		}
		if err == nil {
			err = errors.New("the agent says that it does not run")
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return &StillOffError{Name: name, Err: err}
		}
	}
}

// runs asks whether a component does.
func (i Isolator) runs(ctx context.Context, name string) bool {
	components, err := i.Agent.Components(ctx)
	if err != nil {
		return false
	}
	for _, c := range components {
		if c.Name == name {
			return c.Running
		}
	}
	return false
}

// measure looks at everything for one phase. The first quarter is not counted: what is
// closed or opened by switching is no growth.
func (i Isolator) measure(ctx context.Context, without string) (Phase, []Sample, error) {
	phase := Phase{Without: without}
	doing := "all on"
	if without != "" {
		doing = "without " + without
	}
	samples, err := watch(ctx, i.Agent, min(i.For/16, longestStep), i.For, func(Sample) {}, func(_ string, left time.Duration) { i.Tick(doing, left) })
	settled := samples
	for len(settled) > 0 && settled[0].After < i.For/4 {
		settled = settled[1:]
	}
	phase.Moved, phase.Unsure = moved(settled), unsure(settled)
	if short := tooShort(settled); short != "" && err == nil && ctx.Err() == nil {
		err = fmt.Errorf("measure %s: %s", doing, short)
	}
	if err != nil {
		phase.Error = err.Error()
	}
	return phase, settled, err
}
