// Package health keeps the state of the agent's components: what /health answers.
// It imports nothing of ours.
package health

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status of a component, or of the whole: the worst of its components'.
type Status string

// The states. Degraded: something that the agent mends by itself, or lives with;
// nothing is lost. Unhealthy: somebody must act.
const (
	Healthy   Status = "healthy"
	Degraded  Status = "degraded"
	Unhealthy Status = "unhealthy"
)

// Component is one component's state.
type Component struct {
	Name   string    `json:"name"`
	Status Status    `json:"status"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

// Report is the state of all.
type Report struct {
	Status     Status      `json:"status"`
	Components []Component `json:"components"`
}

// Board holds the components' states. It is safe for concurrent use; the zero value is ready.
type Board struct {
	mu         sync.Mutex
	components map[string]Component
	pinned     map[string]Component
}

// Set notes a component's state. Since changes only with the status.
func (b *Board) Set(name string, status Status, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.components == nil {
		b.components = map[string]Component{}
	}
	c, ok := b.components[name]
	if !ok || c.Status != status {
		c = Component{Name: name, Status: status, Since: time.Now().UTC()}
	}
	c.Reason = reason
	b.components[name] = c
}

// Remove forgets a component that there is no more.
func (b *Board) Remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.components, name)
	delete(b.pinned, name)
}

// Pin has a component shown in this state, whatever Set notes of it, until Unpin.
func (b *Board) Pin(name string, status Status, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pinned == nil {
		b.pinned = map[string]Component{}
	}
	b.pinned[name] = Component{Name: name, Status: status, Reason: reason, Since: time.Now().UTC()}
}

// Unpin has a component shown as it was Set last.
func (b *Board) Unpin(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pinned, name)
}

// Report returns the state of all components, sorted by name.
func (b *Board) Report() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := Report{Status: Healthy, Components: []Component{}}
	shown := maps.Clone(b.components)
	if shown == nil {
		shown = map[string]Component{}
	}
	maps.Copy(shown, b.pinned)
	for _, c := range shown {
		r.Components = append(r.Components, c)
		if rank(c.Status) > rank(r.Status) {
			r.Status = c.Status
		}
	}
	slices.SortFunc(r.Components, func(a, b Component) int { return strings.Compare(a.Name, b.Name) })
	return r
}

func rank(s Status) int { return slices.Index([]Status{Healthy, Degraded, Unhealthy}, s) }
