package record

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestTheLastDoneDecides(t *testing.T) {
	for name, c := range map[string]struct {
		outcomes []Outcome
		want     Outcome
	}{
		"all delivered": {[]Outcome{Delivered, Delivered, Delivered}, Delivered},
		"one failed":    {[]Outcome{Delivered, Failed, Delivered}, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewPool(1 << 20).Force(10)
			var got []Outcome
			b.OnDone(func(o Outcome) { got = append(got, o) })
			b.Retain(len(c.outcomes) - 1)
			for i, o := range c.outcomes {
				if len(got) != 0 {
					t.Fatalf("answered after %d of %d", i, len(c.outcomes))
				}
				b.Done(o)
			}
			if len(got) != 1 || got[0] != c.want {
				t.Fatalf("got %v, want once %v", got, c.want)
			}
		})
	}
}

func TestWhoDoesNotAnswerKeepsTheMemoryAndNothingElse(t *testing.T) {
	p := NewPool(1 << 20)
	b := p.Force(10)
	answered := 0
	b.OnDone(func(o Outcome) { answered += int(o) })
	b.Lend(1)
	b.Done(Delivered)
	if answered != 1 || p.Used() == 0 {
		t.Errorf("while it is lent: answered %d times, %d bytes in use", answered, p.Used())
	}
	b.Return()
	if answered != 1 || p.Used() != 0 {
		t.Errorf("in the end: answered %d times, %d bytes in use", answered, p.Used())
	}
}

func TestTheBudgetHoldsUpAndLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(2 * LargeArena)
		one, two := p.Force(LargeArena), p.Force(LargeArena)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Get(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Get past the budget: %v, want to wait until the deadline", err)
		}
		got := make(chan *Batch)
		go func() {
			b, err := p.Get(t.Context(), LargeArena)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
		synctest.Wait()
		one.Done(Delivered)
		(<-got).Done(Delivered)
		two.Done(Delivered)
		if p.Used() != 0 {
			t.Errorf("%d bytes are still in use", p.Used())
		}
	})
}

func TestABatchLargerThanTheBudgetPassesAlone(t *testing.T) {
	p := NewPool(1000)
	b, err := p.Get(t.Context(), 5000)
	if err != nil || cap(b.Arena) < 5000 {
		t.Fatalf("got %d bytes, error %v", cap(b.Arena), err)
	}
	b.Done(Delivered)
}

func TestAPanicGivesTheMemoryBack(t *testing.T) {
	p := NewPool(1 << 20)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		b := p.Force(10)
		defer b.Guard()
		panic("a bug in a decoder")
	}()
	if p.Used() != 0 {
		t.Errorf("%d bytes are still in use", p.Used())
	}
}

func TestArenasAreRecycled(t *testing.T) {
	p := NewPool(1 << 20)
	if n := testing.AllocsPerRun(100, func() {
		b := p.Force(LargeArena)
		b.Append(1, Stdout, []byte("a line"))
		b.Done(Delivered)
	}); n > 0 {
		t.Errorf("%v allocations for a recycled batch, want 0", n)
	}
}

func TestLabelsAreMadeSafe(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	got := Labels{{"b", "2"}, {"1 bad-näme", "v\nw\x00\xff"}, {"empty", ""}, {"b", "3"}, {long, long}}.Clean()
	if got[0] != (Label{"_1_bad_n_me", "v_w__"}) || got[1] != (Label{"b", "3"}) {
		t.Errorf("got %q", got[:2])
	}
	if len(got) != 3 || len(got[2].Name) != MaxLabelName || len(got[2].Value) != MaxLabelValue {
		t.Errorf("got %d labels, the long one %d=%d bytes", len(got), len(got[2].Name), len(got[2].Value))
	}
	if s := (Labels{{"a", `q"\`}}).String(); s != `{a="q\"\\"}` {
		t.Errorf("quoted as %s", s)
	}
}

func TestCleanLabelsStayAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := Labels{}
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			labels = append(labels, Label{rapid.String().Draw(t, "name"), rapid.String().Draw(t, "value")})
		}
		once := labels.Clean()
		if twice := once.Clean(); twice.String() != once.String() {
			t.Fatalf("%s becomes %s", once, twice)
		}
		if len(once) > MaxLabels {
			t.Fatalf("%d labels", len(once))
		}
	})
}
