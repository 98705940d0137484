package discover

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// receiver runs a Discoverer and keeps the sets that it applied.
type receiver struct {
	mu      sync.Mutex
	sets    [][]source.Target
	changed chan struct{}
}

// receive runs d until the test ends.
func receive(t *testing.T, d Discoverer) *receiver {
	t.Helper()
	r := &receiver{changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx, r.apply) // the end of ctx
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r *receiver) apply(set []source.Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets = append(r.sets, set)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sets)
}

// until waits until the last set fulfils ok and returns it by name.
func (r *receiver) until(t *testing.T, what string, ok func(map[string]source.Target) bool) map[string]source.Target {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		set := map[string]source.Target{}
		if n := len(r.sets); n > 0 {
			for _, target := range r.sets[n-1] {
				set[target.Source.Name] = target
			}
			if ok(set) {
				r.mu.Unlock()
				return set
			}
		}
		r.mu.Unlock()
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("waited for %s; the last set is %+v", what, set)
		}
	}
}

// has waits for a target of that name.
func (r *receiver) has(t *testing.T, name string) source.Target {
	t.Helper()
	return r.until(t, name, func(set map[string]source.Target) bool { return set[name].Source != nil })[name]
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
