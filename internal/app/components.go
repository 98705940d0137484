package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/httpapi"
	"github.com/logcapturer/log_capturer/internal/task"
)

// sinkPrefix and a sink's name are the name of a component.
const sinkPrefix = "sink."

// component is a source that can be switched off and on while the agent runs.
type component struct {
	name, owner string
	start       func(scope *task.Scope)
	rest        func()      // frees what goes on without goroutines
	scope       *task.Scope // since it was started; guarded by the agent's reloading, as is off
	off         bool
}

// buildSwitches makes components of all that reads; nothing of it runs yet.
func (a *agent) buildSwitches() {
	for _, m := range a.monitors {
		a.switches = append(a.switches, &component{name: m.name, owner: m.owner, start: m.start, rest: m.rest})
	}
	a.switches = append(a.switches, &component{
		name: canaryComponent, owner: canaryComponent, rest: func() {},
		start: func(scope *task.Scope) {
			scope.Go("run", a.canary.Run)
			plantCanary(scope, a.canary, a.root)
		},
	})
}

// switchboard is httpapi.Components.
type switchboard struct{ a *agent }

// List implements httpapi.Components. It waits for a reload or a switch that is under way.
func (s switchboard) List() []httpapi.Component {
	s.a.reloading.Lock()
	defer s.a.reloading.Unlock()
	return s.a.components()
}

// Switch implements httpapi.Components.
func (s switchboard) Switch(name string, running bool) (httpapi.Component, error) {
	a := s.a
	a.reloading.Lock()
	defer a.reloading.Unlock()
	state := httpapi.Component{Name: name, Running: running}
	known := a.components()
	at := slices.IndexFunc(known, func(c httpapi.Component) bool { return c.Name == name })
	switch {
	case !a.ready.Load():
		return state, fmt.Errorf("%w: the agent is starting or stopping; try again when it runs", httpapi.ErrBusy)
	case at < 0:
		names := make([]string, 0, len(known))
		for _, c := range known {
			names = append(names, c.Name)
		}
		return state, fmt.Errorf("%w %q; there are %s", httpapi.ErrUnknown, name, strings.Join(names, ", "))
	case running && known[at].Running:
		return state, nil
	}
	turn := a.switchOff
	if running {
		turn = a.switchOn
	}
	err := turn(name)
	a.noteComponents()
	if err != nil {
		a.log.Error("a component was not switched as it should", "component", name, "running", running, "error", err)
		return state, err
	}
	return state, nil
}

// components are those that are configured, and those that are off. reloading is held.
func (a *agent) components() (all []httpapi.Component) {
	for _, c := range a.switches {
		if c.off || c.name != canaryComponent || a.cfg.Canary.Enabled {
			all = append(all, httpapi.Component{Name: c.name, Running: !c.off})
		}
	}
	for _, l := range a.dispatcher.Lanes() {
		all = append(all, httpapi.Component{Name: sinkPrefix + l.Name(), Running: !l.Off()})
	}
	slices.SortFunc(all, func(x, y httpapi.Component) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// isOff tells it of a source. reloading is held.
func (a *agent) isOff(name string) bool {
	return slices.ContainsFunc(a.switches, func(c *component) bool { return c.name == name && c.off })
}

// named returns the source or the lane of that name, which exists. reloading is held.
func (a *agent) named(name string) (c *component, l *dispatch.Lane) {
	for _, c := range a.switches {
		if c.name == name {
			return c, nil
		}
	}
	for _, l := range a.dispatcher.Lanes() {
		if sinkPrefix+l.Name() == name {
			return nil, l
		}
	}
	return nil, nil
}

// switchOff ends a component's goroutines, and what it holds open. One that was off already
// is told to end once more: something of it may not have. reloading is held.
func (a *agent) switchOff(name string) error {
	c, lane := a.named(name)
	was := c != nil && c.off || lane != nil && lane.Off()
	if !was {
		at := time.Now().UTC().Format(time.RFC3339)
		a.board.Pin(name, health.Degraded, fmt.Sprintf(
			"switched off by hand at %s; switch it on with POST %s/%s and {\"running\": true}, or restart the agent", at, httpapi.PathComponents, name))
		a.log.Warn("a component was switched off by hand", "component", name)
	}
	if lane != nil {
		ctx, cancel := context.WithTimeout(a.quit, time.Duration(a.cfg.ShutdownTimeout))
		defer cancel()
		if err := lane.SwitchOff(ctx); err != nil {
			return fmt.Errorf("%w: %w", httpapi.ErrBusy, err)
		}
		return nil
	}
	c.off = true
	if err := c.end(); err != nil {
		return fmt.Errorf("switch off %s: %w", name, err)
	}
	c.rest()
	return nil
}

// switchOn has a component go on where it was. reloading is held.
func (a *agent) switchOn(name string) error {
	if err := a.turnOn(name); err != nil {
		return fmt.Errorf("switch on %s: %w", name, err)
	}
	a.board.Unpin(name)
	a.log.Info("a component was switched on again", "component", name)
	return nil
}

func (a *agent) turnOn(name string) error {
	c, lane := a.named(name)
	if lane != nil {
		s, err := newSink(a.cfg.Sinks[lane.Name()], a.sinkDeps(lane.Name()))
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(a.quit, readShutdown)
		defer cancel()
		if err := lane.SwitchOn(ctx, s); err != nil {
			return fmt.Errorf("%w: %w", httpapi.ErrBusy, err)
		}
		return nil
	}
	if err := c.end(); err != nil { // what is left of before would read beside the new ones
		return err
	}
	c.off = false
	a.run(c)
	return nil
}

// run starts a component in a scope of its own.
func (a *agent) run(c *component) {
	c.scope = a.sources.Child(c.owner)
	c.start(c.scope)
}

// end waits for the component's goroutines, and names those that do not end.
func (c *component) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), readShutdown)
	defer cancel()
	if err := c.scope.Close(ctx); err != nil {
		return fmt.Errorf("%w: %w", httpapi.ErrBusy, err)
	}
	return nil
}
