package census

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// ServerOwner starts the goroutines of the connections that others made to the agent.
const ServerOwner = "agent/serving/http"

// perConnection is how many goroutines net/http runs for a connection: a client's has one
// that reads and one that writes; the server's has one.
func perConnection(owner string) int {
	if owner == ServerOwner {
		return 1
	}
	return 2
}

// goroutines counts all goroutines by the label of their owner, which what they start
// inherits.
func (c *Census) goroutines(connections map[string]int) (g ledger.Goroutines, err error) {
	owners := map[string]*ledger.GoroutineOwner{}
	get := func(owner string) *ledger.GoroutineOwner {
		o := owners[owner]
		if o == nil {
			o = &ledger.GoroutineOwner{Owner: owner, Component: c.Component(owner)}
			owners[owner] = o
		}
		return o
	}
	for owner, n := range c.Expected() {
		get(owner).Expected += n
	}
	for owner, n := range connections {
		get(owner).Expected += perConnection(owner) * n
	}
	get("").Expected += runtimeGoroutines
	for owner, tasks := range c.Tasks.Owners() {
		o := get(owner)
		o.Tasks, o.Oldest = tasks.Live, tasks.Oldest.UTC()
	}
	err = profiled(func(owner, stack string, n int) {
		o := get(owner)
		o.Count += n
		if o.Stack == "" {
			o.Stack = stack // the most frequent come first
		}
	})
	for _, o := range owners {
		g.Total += o.Count
		g.Expected += o.Expected
		g.Owners = append(g.Owners, *o)
	}
	slices.SortFunc(g.Owners, func(a, b ledger.GoroutineOwner) int { return strings.Compare(a.Owner, b.Owner) })
	return g, err
}

// stackDepth is how many functions of a stack are told.
const stackDepth = 4

// profiled calls each for all goroutines with the same owner and stack, the most frequent
// first.
func profiled(each func(owner, stack string, n int)) error {
	var raw bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&raw, 0); err != nil {
		return fmt.Errorf("take a profile of the goroutines: %w", err)
	}
	p, err := profile.ParseData(raw.Bytes())
	if err != nil {
		return fmt.Errorf("read the profile of the goroutines: %w", err)
	}
	slices.SortStableFunc(p.Sample, func(a, b *profile.Sample) int { return int(b.Value[0] - a.Value[0]) })
	for _, s := range p.Sample {
		owner := ""
		if labels := s.Label[ledger.OwnerLabel]; len(labels) > 0 {
			owner = labels[0]
		}
		each(owner, stackOf(s), int(s.Value[0]))
	}
	return nil
}

// stackOf names the innermost functions that say something: those of the runtime are left
// out, as long as there are others.
func stackOf(s *profile.Sample) string {
	var names, plain []string
	for _, l := range s.Location {
		for _, line := range l.Line {
			if line.Function == nil {
				continue
			}
			name := line.Function.Name
			if plain = append(plain, short(name)); !isPlumbing(name) {
				names = append(names, short(name))
			}
		}
	}
	if len(names) == 0 {
		names = plain
	}
	return strings.Join(names[:min(len(names), stackDepth)], " < ")
}

// isPlumbing tells functions that say how a goroutine waits or was started, not for what.
func isPlumbing(function string) bool {
	for _, prefix := range []string{"runtime.", "runtime/pprof.", "internal/", "sync.", module + "internal/task."} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// short leaves out a module's host and owner.
func short(function string) string { return strings.TrimPrefix(function, module) }

const module = "github.com/logcapturer/log_capturer/"
