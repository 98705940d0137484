package task

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestCloseEndsEverythingBeneath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := NewRoot(t.Context(), "agent", quiet())
		wait := func(ctx context.Context) { <-ctx.Done() }
		child := root.Child("streams")
		root.Go("fixed", wait)
		child.Go("stream", wait)
		child.Go("stream", wait)
		want := map[string]int{"agent/fixed": 1, "agent/streams/stream": 2}
		if got := root.Census(); !maps.Equal(got, want) {
			t.Fatalf("census is %v, want %v", got, want)
		}
		if err := root.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := root.Census(); len(got) != 0 {
			t.Fatalf("census is %v after close, want none", got)
		}
	})
}

func TestTheAgeOfAnOwnerIsThatOfItsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := NewRoot(t.Context(), "agent", quiet())
		wait := func(ctx context.Context) { <-ctx.Done() }
		began := time.Now()
		root.Child("streams").Go("stream", wait)
		Sleep(t.Context(), time.Minute)
		root.Child("streams").Go("stream", wait)
		if o := root.Owners()["agent/streams/stream"]; o.Live != 2 || !o.Oldest.Equal(began) {
			t.Errorf("%+v, want 2 since %v", o, began)
		}
		if err := root.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseNamesTheStragglers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := NewRoot(t.Context(), "agent", quiet())
		release := make(chan struct{})
		root.Child("sinks").Go("lane", func(context.Context) { <-release })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := root.Close(ctx)
		if !errors.Is(err, ErrStragglers) || !strings.Contains(err.Error(), "agent/sinks/lane (1)") {
			t.Fatalf("close says %v, want the straggler's name", err)
		}
		close(release)
		if err := root.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAClosedScopeStartsNothing(t *testing.T) {
	root := NewRoot(t.Context(), "agent", quiet())
	if err := root.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Scope{root, root.Child("late")} {
		if s.Go("x", func(context.Context) { t.Error("ran in a closed scope") }) {
			t.Errorf("%s started a goroutine", s.Name())
		}
	}
}

func TestAPanicIsCountedAndTheOwnerRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		root := NewRoot(t.Context(), "agent", slog.New(slog.NewTextHandler(&out, nil)))
		calls := 0
		root.Go("reader", func(ctx context.Context) {
			if calls++; calls < 3 {
				panic("boom")
			}
			<-ctx.Done()
		})
		Sleep(t.Context(), 2*RestartPause+time.Millisecond)
		synctest.Wait()
		if calls != 3 || root.Panics() != 2 {
			t.Errorf("called %d times with %d panics, want 3 and 2", calls, root.Panics())
		}
		if err := root.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if log := out.String(); !strings.Contains(log, "boom") || !strings.Contains(log, "agent/reader") {
			t.Errorf("the log does not name panic and owner: %s", log)
		}
	})
}

func TestClosedChildrenAreForgotten(t *testing.T) {
	root := NewRoot(t.Context(), "agent", quiet())
	for range 100 {
		if err := root.Child("stream").Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(root.children); n != 0 {
		t.Errorf("%d closed children are remembered", n)
	}
	if err := root.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if !Sleep(t.Context(), time.Hour) {
			t.Error("sleep did not last")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if Sleep(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Error("sleep did not end with its context")
		}
	})
}
