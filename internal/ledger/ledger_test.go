package ledger

import (
	"context"
	"net"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

type thing struct{ held *Holding }

func TestWhatIsOpenIsCountedByOwner(t *testing.T) {
	var a Account
	var first, second thing
	pprof.Do(t.Context(), pprof.Labels(OwnerLabel, "agent/reader"), func(ctx context.Context) {
		first.held = Open(OwnerOf(ctx), &a, &first)
	})
	second.held = Open("", &a, &second)
	if n, by := a.Load(), a.ByOwner(); n != 2 || by["agent/reader"] != 1 || by[""] != 1 {
		t.Errorf("%d open, by owner %v", n, by)
	}
	if oldest := a.Oldest(); !oldest.Equal(first.held.since) {
		t.Errorf("the oldest is of %v, want that of the first", oldest)
	}
	first.held.Close()
	first.held.Close()
	second.held.Close()
	if n := a.Load(); n != 0 || a.Unclosed() != 0 || !a.Oldest().IsZero() {
		t.Errorf("%d open, %d unclosed after all were closed", n, a.Unclosed())
	}
}

func TestWhatIsForgottenIsFound(t *testing.T) {
	var a Account
	func() {
		forgotten := &thing{}
		forgotten.held = Open("", &a, forgotten)
	}()
	deadline := time.Now().Add(10 * time.Second)
	for a.Unclosed() == 0 && time.Now().Before(deadline) {
		runtime.GC()
	}
	if a.Unclosed() != 1 || a.Load() != 0 {
		t.Errorf("%d unclosed, %d open; want 1 and 0", a.Unclosed(), a.Load())
	}
}

func TestWhatIsClosedIsNotFoundLater(t *testing.T) {
	var a Account
	func() {
		closed := &thing{}
		closed.held = Open("", &a, closed)
		closed.held.Close()
	}()
	for range 3 {
		runtime.GC()
	}
	if a.Unclosed() != 0 {
		t.Error("a closed one was taken for a forgotten one")
	}
}

func TestConnectionsAndTickersAreHeldUntilTheyEnd(t *testing.T) {
	var a Account
	here, there := net.Pipe()
	c := Conn(t.Context(), &a, here)
	tick := NewTicker(t.Context(), &a, time.Hour)
	if a.Load() != 2 {
		t.Errorf("%d open, want 2", a.Load())
	}
	_ = c.Close()
	_ = there.Close()
	tick.Stop()
	if a.Load() != 0 {
		t.Errorf("%d open, want 0", a.Load())
	}
}
