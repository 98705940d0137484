package sim

import (
	"flag"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	during   = flag.Duration("during", 24*time.Hour, "agent time in all")
	each     = flag.Duration("each", 4*time.Hour, "agent time of one seed")
	wall     = flag.Duration("wall", 0, "take new seeds for so long, instead of -during")
	detailed = flag.Bool("detail", false, "note what is read and every call of the disk in the trace, too")
)

// simulate runs the world of a seed for a while, of its time, and returns what it was.
// LOG_CAPTURER_TRACE=FILE gets the trace of one that fails.
func simulate(t *testing.T, seed uint64, d time.Duration) (w *world) {
	t.Helper()
	if !raced {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		defer debug.SetGCPercent(debug.SetGCPercent(-1)) // see world.pass
	}
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed)
		w.run(d)
	})
	for _, p := range w.ledger.problems {
		t.Error(p)
	}
	if len(w.ledger.problems) > 0 {
		t.Errorf("repeat with LOG_CAPTURER_SEED=%d go test ./test/sim -run TestADayOfTrouble -each %s", seed, d)
		if path := os.Getenv("LOG_CAPTURER_TRACE"); path != "" {
			if err := os.WriteFile(path, []byte(strings.Join(w.trace.lines, "\n")), 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	return w
}

// seeds returns which to take: those that CI takes, fresh ones, or the one that is wanted.
func seeds(t *testing.T) func(yield func(uint64) bool) {
	t.Helper()
	begin := time.Now()
	first, n := uint64(1), int(*during / *each)
	if text := os.Getenv("LOG_CAPTURER_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("LOG_CAPTURER_SEED: %v", err)
		}
		first, n = seed, 1
	} else if *wall > 0 {
		first, n = uint64(begin.Unix()), math.MaxInt
	}
	return func(yield func(uint64) bool) {
		for i := 0; i < n && (*wall == 0 || time.Since(begin) < *wall); i++ {
			if t.Failed() || !yield(first+uint64(i)) {
				return
			}
		}
	}
}

// Whatever happens, each line arrives, in order, and once where nothing allows more.
func TestADayOfTrouble(t *testing.T) {
	runs, lines, lives, repeats, letters := 0, 0, 0, 0, 0
	faults := map[string]int{}
	for seed := range seeds(t) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := simulate(t, seed, *each)
			runs, lines, lives = runs+1, lines+w.ledger.total(), lives+w.lives
			for _, a := range w.ledger.accounts {
				repeats, letters = repeats+a.repeats, letters+a.letters
			}
			for what, n := range w.faults {
				faults[what] += n
			}
		})
	}
	t.Logf("%d runs, %s of agent time: %d lines, %d lives, %d repeats that something excuses, %d dead letters; %v", runs, time.Duration(runs)**each, lines, lives, repeats, letters, faults)
}

// A seed is a run: what arrives, when, and every byte on the disk. Not so with the race
// detector, which has the scheduler choose at random.
func TestASeedIsARun(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		a, b := simulate(t, seed, 2*time.Hour), simulate(t, seed, 2*time.Hour)
		if a.digest() == b.digest() || raced {
			continue
		}
		x, y := a.trace.lines, b.trace.lines
		i := 0
		for i < min(len(x), len(y)) && x[i] == y[i] {
			i++
		}
		t.Errorf("seed %d: two runs differ, from step %d of %d on; if it is the same step each time, chance or the order of a map decides there", seed, i, len(x))
		for _, lines := range [][]string{x, y} {
			t.Logf("%.150s", slices.Clone(lines[max(0, i-3):min(i+3, len(lines))]))
		}
	}
}
