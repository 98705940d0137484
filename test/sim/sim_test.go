package sim

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

var (
	during = flag.Duration("during", 24*time.Hour, "agent time in all")
	each   = flag.Duration("each", 4*time.Hour, "agent time of one seed")
)

// simulate runs the world of a seed for a while, of its time, and returns what it was.
func simulate(t *testing.T, seed uint64, d time.Duration) (w *world) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed)
		w.run(d)
	})
	for _, p := range w.ledger.problems {
		t.Error(p)
	}
	if t.Failed() {
		t.Errorf("repeat with LOG_CAPTURER_SEED=%d go test ./test/sim -each %s", seed, d)
		if path := os.Getenv("LOG_CAPTURER_TRACE"); path != "" {
			f, _ := os.Create(path)
			for _, l := range w.trace.lines {
				fmt.Fprintln(f, l)
			}
			_ = f.Close()
		}
	}
	return w
}

func seeds(t *testing.T) (first uint64, n int) {
	t.Helper()
	if text := os.Getenv("LOG_CAPTURER_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("LOG_CAPTURER_SEED: %v", err)
		}
		return seed, 1
	}
	return 1, int(*during / *each)
}

// Whatever happens, each line arrives, in order, and once where nothing allows more.
func TestADayOfTrouble(t *testing.T) {
	first, n := seeds(t)
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := simulate(t, seed, *each)
			a, b := w.ledger.accounts["first"], w.ledger.accounts["second"]
			t.Logf("%d lines, %d lives, repeats %d and %d, letters %d and %d, %v", w.ledger.total(), w.lives, a.repeats, b.repeats, a.letters, b.letters, w.faults)
		})
	}
}
