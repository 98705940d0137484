package diagnose

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// groups adds goroutines up as they are read.
type groups struct {
	total          int
	states         map[string]int
	signs          Signs
	owners, stacks map[string]*tally
}

// tally is one group.
type tally struct {
	owner, stack string
	count        int
	states       map[string]int
	minutes      map[int]int // how many have waited for so long
}

// others is the group of what came after mostGroups.
const others = "(others)"

func newGroups() *groups {
	return &groups{states: map[string]int{}, owners: map[string]*tally{}, stacks: map[string]*tally{}}
}

func (g *groups) add(r *goroutine) {
	g.signs.see(r)
	stack := strings.Join(essential(r.frames), " < ")
	owner := ownerName(r)
	if r.state != "" {
		bump(g.states, r.state, r.count)
	}
	g.total = sum(g.total, r.count)
	into(g.owners, owner, tally{owner: owner}, r)
	into(g.stacks, owner+"\x00"+stack, tally{owner: owner, stack: stack}, r)
}

// sum stays within what a number holds: a profile may say anything.
func sum(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

func into(all map[string]*tally, key string, fresh tally, r *goroutine) {
	t := all[key]
	if t == nil && len(all) >= mostGroups {
		key, fresh = others, tally{owner: others, stack: others}
		t = all[key]
	}
	if t == nil {
		fresh.states, fresh.minutes = map[string]int{}, map[int]int{}
		t = &fresh
		all[key] = t
	}
	t.count = sum(t.count, r.count)
	if r.state != "" {
		bump(t.states, r.state, r.count)
	}
	if r.minutes >= 0 {
		t.minutes[coarse(r.minutes)] += r.count
	}
}

// mostStates is how many states are told apart: Go has some forty.
const mostStates = 100

func bump(states map[string]int, state string, n int) {
	if _, known := states[state]; !known && len(states) >= mostStates {
		state = others
	}
	states[state] = sum(states[state], n)
}

// coarse keeps two digits of numbers over 1000, so that there are few different ones.
func coarse(minutes int) int {
	unit := 1
	for minutes/unit >= 1000 {
		unit *= 10
	}
	return minutes / unit * unit
}

// essential leaves out how a goroutine comes to wait, and how it began: that is the
// runtime's. A goroutine of the runtime keeps all its frames.
func essential(frames []string) []string {
	var out []string
	for _, f := range frames {
		if !strings.HasPrefix(f, "runtime.") && !strings.Contains(f, ".gowrap") && !strings.HasSuffix(f, "-fm") {
			out = append(out, f)
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, f := range frames {
		if f != "runtime.gopark" && f != "runtime.goparkunlock" && f != "runtime.goexit" {
			out = append(out, f)
		}
	}
	return out
}

// ownerName is the label or, without it, who started the goroutine. Package task starts
// all of ours, so there it is the task.
func ownerName(r *goroutine) string {
	if r.owner != "" {
		return r.owner
	}
	frames := essential(r.frames)
	if strings.HasPrefix(r.created, "task.") {
		for _, f := range slices.Backward(frames) {
			if !strings.HasPrefix(f, "task.") && !strings.HasPrefix(f, "runtime/pprof.") {
				return "task " + f
			}
		}
	}
	switch {
	case r.created != "":
		return "created by " + r.created
	case len(frames) > 0:
		return "begun in " + frames[len(frames)-1]
	default:
		return "(not known)"
	}
}

// see counts what a leak usually looks like.
func (s *Signs) see(r *goroutine) {
	for _, f := range r.frames {
		switch f {
		case "net/http.(*persistConn).readLoop":
			s.ReadLoops = sum(s.ReadLoops, r.count)
			if r.state == "select" || r.state == "" && !polls(r.frames) {
				s.Streaming = sum(s.Streaming, r.count)
			}
		case "net/http.(*persistConn).writeLoop":
			s.WriteLoops = sum(s.WriteLoops, r.count)
		case "net/http.(*bodyEOFSignal).Read":
			s.Readers = sum(s.Readers, r.count)
		}
	}
	switch {
	case strings.HasPrefix(r.state, "chan send"):
		s.Sending++
	case strings.HasPrefix(r.state, "chan receive"):
		s.Receiving++
	case strings.HasPrefix(r.state, "sync."), r.state == "semacquire":
		s.Locking++
	}
}

// polls tells that a goroutine waits for the network.
func polls(frames []string) bool { return slices.Contains(frames, "internal/poll.runtime_pollWait") }

func (g *groups) dump() Dump {
	return Dump{Goroutines: g.total, Owners: sorted(g.owners), Stacks: sorted(g.stacks), States: g.states, Signs: g.signs}
}

func sorted(all map[string]*tally) []Group {
	out := make([]Group, 0, len(all))
	for _, t := range all {
		out = append(out, Group{Owner: t.owner, Stack: t.stack, Count: t.count, States: t.states, Waiting: waiting(t)})
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Stack, b.Stack))
	})
	return out
}

func waiting(t *tally) *Waiting {
	if len(t.minutes) == 0 {
		return nil
	}
	all := make([]int, 0, len(t.minutes))
	n := 0
	for m, k := range t.minutes {
		all, n = append(all, m), sum(n, k)
	}
	slices.Sort(all)
	w := Waiting{Min: all[0], Max: all[len(all)-1]}
	seen := 0
	for _, m := range all {
		if seen = sum(seen, t.minutes[m]); seen > (n-1)/2 {
			w.Median = m
			break
		}
	}
	return &w
}
