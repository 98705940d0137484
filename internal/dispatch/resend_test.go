package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// letter is what a replay sends.
func letter(text string) []record.View {
	b := &record.Batch{Source: &record.Source{ID: "letter"}}
	b.Append(1, record.OutputNone, []byte(text))
	return []record.View{record.Whole(b)}
}

func TestAResendSaysWhatTheSinkSays(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "loki")
	lane := f.d.Lanes()[0]
	if err := lane.Resend(t.Context(), letter("one")); err != nil || !slices.Equal(f.sinks["loki"].got(), []string{"one"}) {
		t.Errorf("%v, the sink has %q", err, f.sinks["loki"].got())
	}
	refusal := &sink.RejectedError{Entries: []sink.Rejection{{Reason: "too_old"}}}
	for _, want := range []error{refusal, errDown} {
		f.sinks["loki"].set(func([]record.View) error { return want })
		if err := lane.Resend(t.Context(), letter("two")); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if n := f.sinks["loki"].sends; n != 3 || lane.Dead().Lines != 0 {
		t.Errorf("%d sends, %d new dead letters; want one for each call, and none", n, lane.Dead().Lines)
	}
}

// alone is a sink that notes when it has two callers.
type alone struct {
	scripted

	inside  atomic.Int32
	twice   atomic.Bool
	letters atomic.Int32
	order   []string // of sends; guarded by scripted's lock
}

func (a *alone) Send(ctx context.Context, views []record.View) error {
	if a.inside.Add(1) > 1 {
		a.twice.Store(true)
	}
	defer a.inside.Add(-1)
	time.Sleep(time.Millisecond) //nolint:forbidigo // of the bubble's clock
	kind := "lane"
	if views[0].Batch.Source.ID == "letter" {
		kind = "letter"
		a.letters.Add(1)
	}
	a.mu.Lock()
	a.order = append(a.order, kind)
	a.mu.Unlock()
	return a.scripted.Send(ctx, views)
}

// A replay beside a busy lane: one caller at a time, and the lane has its turn between
// any two Sends of the replay.
func TestAReplayLeavesTheSinkToTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "loki")
		busy := &alone{}
		f.d.Lanes()[0].sink.set(busy)
		src, o := f.source("s", true), &outcomes{}
		const lines, letters = 300, 50
		var wg sync.WaitGroup
		wg.Go(func() {
			for range letters {
				if err := f.d.Lanes()[0].Resend(t.Context(), letter("again")); err != nil {
					t.Error(err)
				}
			}
		})
		for i := range lines {
			if err := f.d.Deliver(t.Context(), f.batch(src, i, o)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) //nolint:forbidigo // of the bubble's clock
		}
		wg.Wait()
		f.eventually("all lines", func() bool { return o.count() == lines })
		if busy.twice.Load() || busy.letters.Load() != letters {
			t.Errorf("two callers at a time: %v; %d letters of %d", busy.twice.Load(), busy.letters.Load(), letters)
		}
		order := strings.Join(busy.order, " ")
		if n := strings.Count(order, "letter letter"); n > letters/5 {
			t.Errorf("%d times a letter went straight after another, of %d: %s", n, letters, order)
		}
	})
}

// While a lane tries again and again, letters are no use to the sink; and they must not
// make it forget what it has of the lane's delivery.
func TestAResendDoesNotGoBetweenTheLanesRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1<<20, 1<<20, "loki")
		f.sinks["loki"].set(func(views []record.View) error {
			if views[0].Batch.Source.ID == "letter" {
				t.Error("a letter was sent between the lane's retries")
			}
			return errDown
		})
		if err := f.d.Deliver(t.Context(), f.batch(f.source("s", true), 0, &outcomes{})); err != nil {
			t.Fatal(err)
		}
		f.eventually("a first try", func() bool {
			f.sinks["loki"].mu.Lock()
			defer f.sinks["loki"].mu.Unlock()
			return f.sinks["loki"].sends > 0
		})
		began := time.Now()
		err := f.d.Lanes()[0].Resend(t.Context(), letter("x"))
		if err == nil || !strings.Contains(err.Error(), "takes no fresh lines") || time.Since(began) != resendWait {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestAnAgentThatStopsEndsAResend(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "loki")
	entered := make(chan struct{})
	f.d.Lanes()[0].sink.set(blocked{entered})
	ended := make(chan error)
	go func() { ended <- f.d.Lanes()[0].Resend(context.Background(), letter("x")) }()
	<-entered
	f.d.Drain()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the agent is stopping") {
		t.Errorf("got %v", err)
	}
	if err := f.d.Lanes()[0].Resend(t.Context(), letter("x")); err == nil || !strings.Contains(err.Error(), "the agent is stopping") {
		t.Errorf("afterwards: %v", err)
	}
}

// blocked is a sink that hangs until its context ends.
type blocked struct{ entered chan struct{} }

func (b blocked) Send(ctx context.Context, _ []record.View) error {
	close(b.entered)
	<-ctx.Done()
	return ctx.Err()
}

func (b blocked) Close() error { return nil }
