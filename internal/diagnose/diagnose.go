// Package diagnose finds what grows in a running agent, and whose it is: it takes a
// census through the agent's API again and again, tells load from leak by what the agent
// says it expects, and fits slopes that single outliers do not bend. It can switch
// components off one at a time to see whose absence ends the growth, list HTTP
// connections, and read goroutine dumps of agents that do not answer any more.
//
// It owns nothing for longer than a call and starts no goroutine. What it switched off it
// switches on again, however the call ends; when that fails it says what to do by hand.
package diagnose

import (
	"context"
	"time"
)

// Agent is a running agent. Calls are bounded in time by the implementation.
type Agent interface {
	// Resources takes a census.
	Resources(ctx context.Context) (Snapshot, error)
	// Components lists what can be switched.
	Components(ctx context.Context) ([]ComponentState, error)
	// Switch starts or stops a component and returns its state afterwards.
	Switch(ctx context.Context, name string, running bool) (ComponentState, error)
}

// Tick is told to who waits: what goes on, and how long it still takes.
type Tick func(doing string, left time.Duration)
