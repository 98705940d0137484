package diagnose

import (
	"fmt"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Finding is what a diagnosis comes to.
type Finding string

// The findings.
const (
	NoLeak    Finding = "no_leak"
	Leak      Finding = "leak"
	Suspicion Finding = "suspicion" // something grows, and whether it should is not known
	TooShort  Finding = "too_short"
)

// Verdict is a finding in one sentence.
type Verdict struct {
	Finding Finding `json:"finding"`
	// Component and Owner are whose leak it is; empty when there is none, or nobody's.
	Component string `json:"component,omitempty"`
	Owner     string `json:"owner,omitempty"`
	Text      string `json:"text"`
}

const next = "; next: log_capturer diagnose --isolate"

// judge looks at what is known best first: goroutines, what is held, descriptors, memory.
func judge(r Report, short string) Verdict {
	if short != "" {
		return Verdict{Finding: TooShort, Text: "too short to tell: " + short + "; let it run for longer"}
	}
	for _, find := range []func(Report) (Verdict, bool){leakingOwner, leakingTotal, leakingHeld, unclosed, leakingDescriptors, suspectHeap, suspectHeld, suspectDescriptors} {
		if v, found := find(r); found {
			return v
		}
	}
	text := fmt.Sprintf("no leak: goroutines moved by %s a minute", signed(r.Goroutines.Count.PerMinute))
	if r.Goroutines.Expected.PerMinute != 0 {
		text += fmt.Sprintf(", load explains %s", signed(r.Goroutines.Expected.PerMinute))
	}
	if n := r.Goroutines.Excess; n.To > n.From {
		text += fmt.Sprintf("; %s came that load does not explain, which may be chance", count(n.To-n.From))
	}
	return Verdict{Finding: NoLeak, Text: text}
}

// leakingOwner names the component of the owner that grows fastest.
func leakingOwner(r Report) (Verdict, bool) {
	worst := -1
	others := 0
	for i, g := range r.Owners {
		switch {
		case !g.leaks():
		case worst < 0:
			worst = i
		default:
			others++
		}
	}
	if worst < 0 {
		return Verdict{}, false
	}
	owner := r.Owners[worst]
	rate, load := owner.Count.PerMinute, owner.Expected.PerMinute
	for _, c := range r.Components {
		if c.Component == owner.Component {
			rate, load = c.Count.PerMinute, c.Expected.PerMinute
		}
	}
	text := fmt.Sprintf("leak: %s grows by %s goroutines a minute while its load explains %s", whose(owner), number(rate), number(load))
	if owner.Owner != "" {
		text += "; owner " + units.Printable(owner.Owner)
	}
	if owner.Stack != "" {
		text += "; top of stack " + units.Printable(top(owner.Stack))
	}
	if others > 0 {
		text += fmt.Sprintf("; so do %d more owners", others)
	}
	return Verdict{Finding: Leak, Component: owner.Component, Owner: owner.Owner, Text: text + next}, true
}

// leakingTotal is for growth that is spread over owners.
func leakingTotal(r Report) (Verdict, bool) {
	if !r.Goroutines.leaks() {
		return Verdict{}, false
	}
	return Verdict{Finding: Leak, Text: fmt.Sprintf("leak: goroutines grow by %s a minute while load explains %s, and no owner stands out%s",
		number(r.Goroutines.Count.PerMinute), number(r.Goroutines.Expected.PerMinute), next)}, true
}

func leakingHeld(r Report) (Verdict, bool) {
	for _, g := range r.Held {
		if g.leaks() {
			return Verdict{Finding: Leak, Component: g.Component, Owner: g.Owner, Text: fmt.Sprintf("leak: %s holds %s more of %s a minute while its load explains %s; owner %s%s",
				whose(g), number(g.Count.PerMinute), units.Printable(g.Kind), number(g.Expected.PerMinute), units.Printable(g.Owner), next)}, true
		}
	}
	return Verdict{}, false
}

func unclosed(r Report) (Verdict, bool) {
	for _, g := range r.Held {
		if g.NewUnclosed > 0 {
			return Verdict{Finding: Leak, Component: g.Component, Owner: g.Owner, Text: fmt.Sprintf("leak: %d of %s that %s opened were given up meanwhile without being closed; owner %s%s",
				g.NewUnclosed, units.Printable(g.Kind), whose(g), units.Printable(g.Owner), next)}, true
		}
	}
	return Verdict{}, false
}

func leakingDescriptors(r Report) (Verdict, bool) {
	for _, g := range r.Descriptors {
		if g.leaks() {
			return Verdict{Finding: Leak, Text: fmt.Sprintf("leak: descriptors of kind %s grow by %s a minute while the register explains %s%s",
				units.Printable(g.Kind), number(g.Count.PerMinute), number(g.Expected.PerMinute), next)}, true
		}
	}
	return Verdict{}, false
}

func suspectHeap(r Report) (Verdict, bool) {
	if !r.Heap.Excess.Grows {
		return Verdict{}, false
	}
	v := Verdict{Finding: Suspicion, Text: fmt.Sprintf("perhaps a leak: live memory grows by %s a minute without the batches in flight", size(r.Heap.Excess.PerMinute))}
	if len(r.HeapSites) > 0 && r.HeapSites[0].Count.Grows {
		site := r.HeapSites[0]
		v.Component = site.Component
		v.Text += fmt.Sprintf(", %s of it in %s, allocated by %s", size(site.Count.PerMinute), whose(site), units.Printable(site.Stack))
	}
	v.Text += next
	return v, true
}

func suspectHeld(r Report) (Verdict, bool) {
	for _, g := range r.Held {
		if g.suspect() {
			return Verdict{Finding: Suspicion, Component: g.Component, Owner: g.Owner, Text: fmt.Sprintf("perhaps a leak: %s holds %s more of %s a minute, and %s; owner %s%s",
				whose(g), number(g.Count.PerMinute), units.Printable(g.Kind), doubt(g), units.Printable(g.Owner), next)}, true
		}
	}
	return Verdict{}, false
}

func suspectDescriptors(r Report) (Verdict, bool) {
	for _, g := range r.Descriptors {
		if g.suspect() && !explained(g, r) {
			return Verdict{Finding: Suspicion, Text: fmt.Sprintf("perhaps a leak: descriptors of kind %s grow by %s a minute, and %s%s",
				units.Printable(g.Kind), number(g.Count.PerMinute), doubt(g), next)}, true
		}
	}
	return Verdict{}, false
}

// doubt is why growth may be load.
func doubt(g Growth) string {
	if g.Known {
		return fmt.Sprintf("the %s that there are may still be load, which explains up to %s", count(g.Count.To), count(g.Expected.To))
	}
	return "how many its load explains is not known"
}

// explained tells that goroutines which load explains grow at least as fast as these
// descriptors: a stream has one of the one and several of the other.
func explained(g Growth, r Report) bool {
	return r.Goroutines.Expected.PerMinute >= g.Count.PerMinute
}

// whose names a component, or else who else it is.
func whose(g Growth) string {
	switch {
	case g.Component != "":
		return units.Printable(g.Component)
	case g.Owner != "":
		return units.Printable(g.Owner)
	default:
		return "nobody's part of the process"
	}
}

// top is the innermost function of ours or of a library, not the runtime's waiting.
func top(stack string) string {
	frames := strings.Split(stack, " < ")
	for _, f := range frames {
		if !strings.HasPrefix(f, "runtime.") && !strings.HasPrefix(f, "internal/poll.") {
			return f
		}
	}
	return frames[0]
}
