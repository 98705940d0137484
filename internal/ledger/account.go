// Package ledger counts what is open, by who holds it: descriptors, streams, connections,
// tickers. Whoever opens something keeps an Account of it and says so there; goroutines
// belong to the scopes of package task. Snapshot is what a census (ledger/census) makes of
// all of it: the answer of /api/v1/resources.
//
// What is held and collected by the garbage collector without having been closed is
// counted apart: that is a bug, and what the operating system gave may be gone for good.
//
// It imports nothing of ours.
package ledger

import (
	"context"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// Account counts what is open of one kind. The zero value is ready; all methods may be
// called at any time. It must not be copied.
type Account struct {
	mu       sync.Mutex
	open     map[*Holding]struct{}
	unclosed atomic.Int64
}

// Holding is one thing that is open.
type Holding struct {
	account *Account
	owner   string
	since   time.Time
	cleanup runtime.Cleanup
	ended   atomic.Bool
}

// Open notes that object was opened, by an owner of goroutines (OwnerOf; "" where that is
// not known). Closing the holding belongs into object's own Close. Neither keeps object
// alive.
func Open[T any](owner string, a *Account, object *T) *Holding {
	h := &Holding{account: a, owner: owner, since: time.Now()}
	h.cleanup = runtime.AddCleanup(object, (*Holding).collected, h)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = map[*Holding]struct{}{}
	}
	a.open[h] = struct{}{}
	return h
}

// OwnerLabel is the pprof label with which package task says whose a goroutine is.
const OwnerLabel = "owner"

// OwnerOf returns the owner of the goroutine that ctx was given to.
func OwnerOf(ctx context.Context) string {
	owner, _ := pprof.Label(ctx, OwnerLabel)
	return owner
}

// For returns life with the owner that ctx has: what is opened in it is that one's, though
// it may live longer.
func For(life, ctx context.Context) context.Context {
	return pprof.WithLabels(life, pprof.Labels(OwnerLabel, OwnerOf(ctx)))
}

// Close notes that what is held was closed; it may be called twice.
func (h *Holding) Close() {
	if h.ended.CompareAndSwap(false, true) {
		h.cleanup.Stop()
		h.account.forget(h)
	}
}

func (h *Holding) collected() {
	if h.ended.CompareAndSwap(false, true) {
		h.account.unclosed.Add(1)
		h.account.forget(h)
	}
}

func (a *Account) forget(h *Holding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, h)
}

// Load returns how many are open.
func (a *Account) Load() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(len(a.open))
}

// Unclosed returns how many were collected without being closed.
func (a *Account) Unclosed() int64 { return a.unclosed.Load() }

// Oldest returns when the one that has been open for longest was opened; the zero time
// where nothing is open.
func (a *Account) Oldest() (oldest time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for h := range a.open {
		if oldest.IsZero() || h.since.Before(oldest) {
			oldest = h.since
		}
	}
	return oldest
}

// ByOwner returns how many are open by the goroutines' owners that opened them.
func (a *Account) ByOwner() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]int{}
	for h := range a.open {
		out[h.owner]++
	}
	return out
}
