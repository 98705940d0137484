package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/internal/spool"
)

const (
	cutSources = 3
	cutLines   = 60 // more in each life
	cutLives   = 4
)

// killable lets a rig end as if it were killed: from some call on nothing reaches the
// disk, and nothing is noted any more.
type killable struct {
	journal
	calls atomic.Int64 // that are left
	dead  atomic.Bool
}

func (k *killable) note(what kind, source int, n int64) {
	if !k.dead.Load() {
		k.journal.note(what, source, n)
	}
}

func (k *killable) wrap(fs spool.FS) spool.FS {
	return layer{fs, func(op, _ string, call func() error) error {
		if k.calls.Add(-1) < 0 {
			k.dead.Store(true)
		}
		if k.dead.Load() && op != "close" {
			return syscall.EIO
		}
		return call()
	}}
}

// lives runs several lives on one box: killed ones, in which an fsync fails now and then,
// and a last one that comes to its end. The sources have lines for all of them.
func lives(ctx context.Context, dir string, b *box, rng *rand.Rand) error {
	var mu sync.Mutex
	fates := rand.New(rand.NewPCG(rng.Uint64(), 5)) // of fsyncs; guarded by mu
	for life := range cutLives {
		last := life == cutLives-1
		k := &killable{journal: b}
		k.calls.Store(1 << 40)
		if !last {
			k.calls.Store(10 + rng.Int64N(150))
		}
		b.mu.Lock()
		b.failing = nil
		if !last {
			b.failing = func() bool {
				mu.Lock()
				defer mu.Unlock()
				return fates.IntN(40) == 0
			}
		}
		b.mu.Unlock()
		r, err := openRig(dir, k, options{sources: cutSources, lines: int64(cutLines * (life + 1)), wrap: k.wrap, frozen: k.dead.Load})
		if err != nil && k.dead.Load() {
			continue // killed while it started
		}
		if err != nil {
			if !last && errors.Is(err, syscall.EIO) {
				continue // an fsync failed while it started, and it said so
			}
			return err
		}
		limit := 300 * time.Millisecond
		if last {
			limit = patience
		}
		lived, cancel := context.WithTimeout(ctx, limit)
		err = r.load(lived)
		cancel()
		if !last {
			k.dead.Store(true)
			ended, cancel := context.WithCancel(ctx)
			cancel()
			_ = r.end(ended)
			continue
		}
		if err := errors.Join(err, r.end(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// Whatever a power cut leaves of what was not synced, nothing that was acknowledged is
// lost, no damaged line is delivered, and the agent starts.
func TestAPowerCutAtAnyMoment(t *testing.T) {
	s := seed(t)
	loads, each := some(2, 20), some(25, 100)
	var a tally
	for load := range loads {
		rng := rand.New(rand.NewPCG(s, uint64(load)))
		log := recorded(t, rng)
		dir := memDir(t)
		var g errgroup.Group
		g.SetLimit(4)
		for i := range each {
			g.Go(func() error {
				seed := [2]uint64{s, uint64(load)<<32 | uint64(i)}
				dir := filepath.Join(dir, strconv.Itoa(i))
				v, err := cutAndJudge(dir, log, rand.New(rand.NewPCG(seed[0], seed[1])))
				a.add(fmt.Sprintf("load %d image %d", load, i), v, err)
				return os.RemoveAll(dir)
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	a.check(t)
	row(t, "power cut (FUSE disk; unsynced sectors, sizes and names kept at will, fsyncs that fail)", a.runs, a.lines, a.lost+a.missing, a.repeated,
		fmt.Sprintf("0 refused to start, 0 damaged lines; up again after %v at most", a.slowest.Round(time.Millisecond)))
}

// recorded returns the log of a box on which a rig has lived.
func recorded(t *testing.T, rng *rand.Rand) []event {
	t.Helper()
	mount := t.TempDir()
	b, unmount, err := mountBox(mount)
	if err != nil {
		t.Fatalf("mount a FUSE disk: %v; the test needs /dev/fuse, and fusermount3 or root", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	err = lives(ctx, mount, b, rng)
	if err := errors.Join(err, unmount()); err != nil {
		t.Fatal(err)
	}
	return b.events()
}

// cutAndJudge cuts the power after some event.
func cutAndJudge(dir string, log []event, rng *rand.Rand) (verdict, error) {
	log = log[:rng.IntN(len(log)+1)]
	before := newLedger()
	for i := range log {
		if e := &log[i]; e.op == opNote {
			before.add(e.kind, e.source, e.n)
		}
	}
	if err := image(dir, log, rng); err != nil {
		return verdict{}, err
	}
	v, err := judge(dir, before, cutSources, cutLines*cutLives)
	v.bound = v.repeated // how much comes again after a power cut is not promised
	if err != nil {
		err = fmt.Errorf("cut after %d of the events: %w", len(log), err)
	}
	return v, err
}
