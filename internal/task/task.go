// Package task owns every goroutine of the agent. It is the only place with a go
// statement (a test over the source holds that).
//
// A Scope has a name, a context and goroutines; scopes form a tree that is closed
// from the leaves up. Every goroutine carries the pprof label "owner" with the path
// of its scope, so profiles and the ledger (Census) tell whose it is. A panic in a
// goroutine is recovered, counted and logged, and its function is called again
// after a pause; nothing else restarts by itself.
//
// The package imports nothing of ours.
package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// RestartPause is how long a function waits after its panic before it is called again.
const RestartPause = time.Second

// Scope owns goroutines and child scopes. Its methods are safe for concurrent use.
type Scope struct {
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	log    *slog.Logger
	panics *atomic.Int64 // shared by the whole tree
	parent *Scope

	mu       sync.Mutex
	closed   bool
	live     map[*running]struct{}
	children map[*Scope]struct{}
	changed  chan struct{} // closed and replaced when a goroutine ends
}

// NewRoot returns the top of a tree. Its context ends with ctx; Close waits for all beneath it.
func NewRoot(ctx context.Context, name string, log *slog.Logger) *Scope {
	return newScope(ctx, name, log, new(atomic.Int64), nil)
}

func newScope(ctx context.Context, name string, log *slog.Logger, panics *atomic.Int64, parent *Scope) *Scope {
	ctx, cancel := context.WithCancel(ctx)
	return &Scope{
		name: name, ctx: ctx, cancel: cancel, log: log, panics: panics, parent: parent,
		live: map[*running]struct{}{}, children: map[*Scope]struct{}{}, changed: make(chan struct{}),
	}
}

// Context ends when the scope, or one above it, is closed.
func (s *Scope) Context() context.Context { return s.ctx }

// Name returns the scope's path, for example "agent/containers".
func (s *Scope) Name() string { return s.name }

// Child returns a scope beneath s. Of a closed scope it is closed already.
func (s *Scope) Child(name string) *Scope {
	c := newScope(s.ctx, s.name+"/"+name, s.log, s.panics, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.closed = true
		c.cancel()
		return c
	}
	s.children[c] = struct{}{}
	return c
}

// Go runs fn in a goroutine of its own, whose name is one of few: a kind of work,
// not an identity. fn must return soon after its context ends. It returns false,
// and does nothing, when the scope is closed.
func (s *Scope) Go(name string, fn func(ctx context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	r := &running{name, time.Now()}
	s.live[r] = struct{}{}
	go s.run(r, fn)
	return true
}

// running is one goroutine.
type running struct {
	name  string
	since time.Time
}

func (s *Scope) run(r *running, fn func(context.Context)) {
	name := r.name
	defer s.ended(r)
	labels := pprof.Labels("owner", s.name+"/"+name)
	pprof.Do(s.ctx, labels, func(ctx context.Context) {
		for !s.guarded(ctx, name, fn) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(RestartPause):
			}
		}
	})
}

// guarded calls fn and tells whether it came back without a panic.
func (s *Scope) guarded(ctx context.Context, name string, fn func(context.Context)) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.panics.Add(1)
			s.log.Error("recovered from a panic; this is a bug in log_capturer, please report it with this stack",
				"owner", s.name+"/"+name, "panic", fmt.Sprint(p), "restart_in", RestartPause, "stack", string(debug.Stack()))
		}
	}()
	fn(ctx)
	return true
}

func (s *Scope) ended(r *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, r)
	s.signal()
}

func (s *Scope) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// ErrStragglers is what Close returns, wrapped with their names, when goroutines
// outlive its deadline.
var ErrStragglers = errors.New("goroutines did not end in time")

// Close cancels the scope, closes its children, and waits until all of them have
// ended or ctx has. It may be called more than once.
func (s *Scope) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	children := make([]*Scope, 0, len(s.children))
	for c := range s.children {
		children = append(children, c)
	}
	s.mu.Unlock()
	var errs []error
	for _, c := range children {
		errs = append(errs, c.Close(ctx))
	}
	if err := s.wait(ctx); err != nil {
		errs = append(errs, err)
	} else if s.parent != nil {
		s.parent.forget(s)
	}
	return errors.Join(errs...)
}

func (s *Scope) wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		left, changed := s.names(), s.changed
		s.mu.Unlock()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("close %s: %w: %s", s.name, ErrStragglers, strings.Join(left, ", "))
		}
	}
}

func (s *Scope) forget(c *Scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.children, c)
}

func (s *Scope) names() []string {
	count := map[string]int{}
	for r := range s.live {
		count[r.name]++
	}
	var out []string
	for name, n := range count {
		out = append(out, fmt.Sprintf("%s/%s (%d)", s.name, name, n))
	}
	slices.Sort(out)
	return out
}

// Census returns the number of live goroutines by owner, of s and all beneath it.
// Scopes that were named alike add up.
func (s *Scope) Census() map[string]int {
	out := map[string]int{}
	for owner, o := range s.Owners() {
		out[owner] = o.Live
	}
	return out
}

// Owner is what one owner has running.
type Owner struct {
	Live   int
	Oldest time.Time // when the oldest of them was started
}

// Owners is the census with ages.
func (s *Scope) Owners() map[string]Owner {
	out := map[string]Owner{}
	s.census(out)
	return out
}

func (s *Scope) census(out map[string]Owner) {
	s.mu.Lock()
	for r := range s.live {
		o := out[s.name+"/"+r.name]
		if o.Live++; o.Live == 1 || r.since.Before(o.Oldest) {
			o.Oldest = r.since
		}
		out[s.name+"/"+r.name] = o
	}
	children := make([]*Scope, 0, len(s.children))
	for c := range s.children {
		children = append(children, c)
	}
	s.mu.Unlock()
	for _, c := range children {
		c.census(out)
	}
}

// Panics returns how many panics were recovered in the whole tree.
func (s *Scope) Panics() int64 { return s.panics.Load() }

// Sleep waits for d or for the end of ctx, and tells whether the time passed.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
