package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// part is what one component of the fake agent has.
type part struct {
	owner, stack string
	// base goroutines are expected; load are more of them, and expected too.
	base int
	load func(minutes float64) float64
	// leak is how many goroutines a minute it leaks while it runs, noise how many come
	// and go.
	leak, noise float64
	// heap is how many bytes a minute it leaks, tickers and bodies how many of each it
	// holds more, unclosed how many bodies it forgets.
	heap, tickers, bodies, unclosed float64
	// connections are those that it leaks, asked those of which load is not known.
	connections, asked float64
	// collected: the garbage collector finds the tickers.
	collected bool
	feeds     string // it leaks only while that one runs too
}

// fake is an agent on the clock of whoever asks; its leaks grow while their component runs.
type fake struct {
	parts map[string]part

	mu       sync.Mutex
	running  map[string]bool
	leaked   map[string]float64 // minutes for which each has leaked
	begin    time.Time
	last     time.Time
	started  time.Time
	asked    int
	switched []string
	fail     func(call string) error // before anything is done
	after    func(call string) error // after it was done
}

func newFake(parts map[string]part) *fake {
	f := &fake{parts: parts, running: map[string]bool{}, leaked: map[string]float64{}, begin: time.Now(), last: time.Now(), started: time.Now().Add(-time.Hour)}
	for name := range parts {
		f.running[name] = true
	}
	return f
}

func (f *fake) advance() {
	minutes := time.Since(f.last).Minutes()
	f.last = time.Now()
	for name, p := range f.parts {
		if f.running[name] && (p.feeds == "" || f.running[p.feeds]) {
			f.leaked[name] += minutes
		}
	}
}

func (f *fake) call(ctx context.Context, name string, do func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f.fail != nil {
		if err := f.fail(name); err != nil {
			return err
		}
	}
	f.advance()
	do()
	if f.after != nil {
		return f.after(name)
	}
	return nil
}

func (f *fake) Resources(ctx context.Context) (s Snapshot, err error) {
	return s, f.call(ctx, "resources", func() { s = f.census() })
}

func (f *fake) Components(ctx context.Context) (all []ComponentState, err error) {
	return all, f.call(ctx, "components", func() { all = f.states() })
}

func (f *fake) states() (all []ComponentState) {
	for _, name := range slices.Sorted(maps.Keys(f.parts)) {
		all = append(all, ComponentState{Name: name, Running: f.running[name]})
	}
	return all
}

func (f *fake) Switch(ctx context.Context, name string, running bool) (c ComponentState, err error) {
	return c, f.call(ctx, fmt.Sprintf("switch %s %v", name, running), func() {
		if _, known := f.parts[name]; !known {
			return
		}
		f.running[name] = running
		f.switched = append(f.switched, fmt.Sprintf("%s %v", name, running))
		c = ComponentState{Name: name, Running: running}
	})
}

func (f *fake) allOn() error {
	for name, on := range f.running {
		if !on {
			return errors.New(name + " is off")
		}
	}
	return nil
}

func (f *fake) census() Snapshot {
	f.asked++
	minutes := time.Since(f.begin).Minutes()
	s := Snapshot{Time: time.Now(), Started: f.started, Components: f.states()}
	s.Descriptors.Limit, s.Descriptors.Total = 1024, 40
	s.Descriptors.Kinds = map[string]int{"socket": 3, "file": 37}
	s.Heap.LiveBytes = 20 << 20
	for _, name := range slices.Sorted(maps.Keys(f.parts)) {
		p := f.parts[name]
		o := ledger.GoroutineOwner{Owner: p.owner, Component: name, Stack: p.stack}
		if f.running[name] {
			o.Expected = p.base
			if p.load != nil {
				o.Expected += int(p.load(minutes))
			}
		}
		o.Tasks = o.Expected
		o.Count = o.Expected + int(p.leak*f.leaked[name]+1e-6) + int(p.noise)*(f.asked%2)
		s.Goroutines.Owners = append(s.Goroutines.Owners, o)
		s.Goroutines.Total += o.Count
		s.Goroutines.Expected += o.Expected
		s.Heap.LiveBytes += int64(p.heap * f.leaked[name])
		if p.heap > 0 {
			s.Heap.Sites = append(s.Heap.Sites, ledger.HeapSite{Function: p.stack, Component: name, Bytes: int64(p.heap * f.leaked[name])})
		}
		if p.tickers > 0 {
			h := ledger.Held{Owner: p.owner, Component: name, Kind: "ticker", Count: 1 + int(p.tickers*f.leaked[name]), Expected: 1}
			if p.collected { // the garbage collector comes by each minute and a half
				h.Unclosed = int64(p.tickers*f.leaked[name]) / 15 * 15
				h.Count -= int(h.Unclosed)
			}
			s.Held = append(s.Held, h)
		}
		if p.connections > 0 {
			s.Held = append(s.Held, ledger.Held{Owner: p.owner, Component: name, Kind: "connection", Count: 2 + int(p.connections*f.leaked[name]), Expected: 2})
		}
		if p.asked > 0 {
			s.Held = append(s.Held, ledger.Held{Owner: p.owner, Component: name, Kind: "connection", Count: int(p.asked), Expected: -1})
		}
		if p.bodies > 0 || p.unclosed > 0 {
			s.Held = append(s.Held, ledger.Held{Owner: p.owner, Component: name, Kind: "response_body", Count: int(p.bodies * f.leaked[name]), Expected: -1, Unclosed: int64(p.unclosed * f.leaked[name])})
		}
	}
	slices.SortFunc(s.Goroutines.Owners, func(a, b ledger.GoroutineOwner) int { return cmp.Compare(a.Owner, b.Owner) })
	return s
}

// parts that leak nothing.
func healthy() map[string]part {
	return map[string]part{
		"container_monitor": {owner: "agent/sources/containers/readers/stream", stack: "net/http.(*persistConn).readLoop", base: 20, noise: 2},
		"file_monitor":      {owner: "agent/sources/files/readers/file", stack: "tail.(*Log).Next", base: 4},
		"sink.loki":         {owner: "agent/delivery/sinks/loki/lane", stack: "dispatch.(*Lane).run", base: 2},
	}
}

// with changes one part.
func with(parts map[string]part, name string, change func(*part)) map[string]part {
	p := parts[name]
	change(&p)
	parts[name] = p
	return parts
}
