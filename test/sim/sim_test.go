package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	during   = flag.Duration("during", 24*time.Hour, "agent time in all")
	detailed = flag.Bool("detail", false, "trace what is read and every call of the disk, too")
	each     = flag.Duration("each", 4*time.Hour, "agent time of one seed")
)

// simulate runs the world of a seed for a while, of its time, and returns what it was.
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

// A seed is the whole run.
func TestASeedIsARun(t *testing.T) {
	first, n := seeds(t)
	for seed := first; seed < first+uint64(n); seed++ {
		a, b := simulate(t, seed, *each), simulate(t, seed, *each)
		t.Logf("seed %d: %s", seed, a.digest())
		if a.digest() == b.digest() {
			continue
		}
		a.trace.sort()
		b.trace.sort()
		i := 0
		for ; i < min(len(a.trace.lines), len(b.trace.lines)) && a.trace.lines[i] == b.trace.lines[i]; i++ {
		}
		if path := os.Getenv("LOG_CAPTURER_TRACE"); path != "" {
			_ = os.WriteFile(path+".a", []byte(strings.Join(a.trace.raw, "\n")), 0o600)
			_ = os.WriteFile(path+".b", []byte(strings.Join(b.trace.raw, "\n")), 0o600)
		}
		t.Errorf("seed %d: two runs differ, from step %d of %d on", seed, i, len(a.trace.lines))
		for _, w := range []*world{a, b} {
			for k := max(0, i-4); k < min(i+3, len(w.trace.lines)); k++ {
				t.Logf("%.150s", w.trace.lines[k])
			}
			t.Log("")
		}
	}
}
