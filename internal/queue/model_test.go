package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/spool"
	"pgregory.net/rapid"
)

// receiver is a sink that checks what it gets: the lines of a source in order, each once.
type receiver struct {
	t    tb
	last map[string][2]int // batch and line by source
	got  map[string]int    // lines by batch
	any  bool              // order is not looked at
}

func newReceiver(t tb) *receiver {
	return &receiver{t: t, last: map[string][2]int{}, got: map[string]int{}}
}

func (r *receiver) accept(l *Lease) int {
	all := lines(l)
	for _, line := range all {
		f := strings.Split(line, ":")
		var at [2]int
		_, _ = fmt.Sscan(f[1], &at[0])
		_, _ = fmt.Sscan(f[2], &at[1])
		last, ok := r.last[f[0]]
		next := [2]int{last[0], last[1] + 1}
		if !r.any && at != next && (at[1] != 0 || ok && at[0] <= last[0]) {
			r.t.Fatalf("source %s: line %v came after %v", f[0], at, last)
		}
		r.last[f[0]] = at
		r.got[f[0]+":"+f[1]]++
	}
	return len(all)
}

// TestQueueAgainstItsModel does everything in any order, with restarts: what was
// answered Delivered reaches the sink once and in order, what was answered Failed never.
func TestQueueAgainstItsModel(t *testing.T) { againstItsModel(t, false, false) }

// TestDroppingAgainstTheModel gives up the oldest now and then, instead of the restarts:
// what does not reach the sink are whole batches of the spool, counted to the line.
func TestDroppingAgainstTheModel(t *testing.T) { againstItsModel(t, true, false) }

// TestFreshFirstAgainstTheModel has what comes overtake a spool that gives out little, and
// at times all it can.
func TestFreshFirstAgainstTheModel(t *testing.T) { againstItsModel(t, false, true) }

func againstItsModel(t *testing.T, drops, fresh bool) {
	base := t.TempDir()
	round, room := 0, int64(1<<20)
	if drops {
		room = 700
	}
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		k, sink := newBooks(t), newReceiver(t)
		sink.any = fresh
		var sp *spool.Spool
		var q *Queue
		start := func() {
			var err error
			if sp, err = spool.Open(dir, room, spool.Options{SegmentBytes: 700}); err != nil {
				t.Fatalf("open the spool: %v", err)
			}
			q = New(sp, Options{MaxBytes: 1500, FreshFirst: fresh, OnError: func(err error) { t.Errorf("%v", err) }})
		}
		start()
		size := map[string]int{}
		number := map[string]int{}
		taken, inside, dropped := 0, 0, 0 // lines that went in, are not out, were given up
		var lease *Lease
		ended, cancel := context.WithCancel(context.Background())
		cancel()

		stop := func() {
			if err := errors.Join(q.Close(), sp.Close()); err != nil {
				t.Fatalf("close: %v", err)
			}
			if lease != nil {
				must(t, lease.Release())
				lease = nil
			}
			for name := range size {
				if k.answer(name) == "open" {
					t.Fatalf("batch %s was never answered", name)
				}
			}
		}
		come := func(t *rapid.T, disk bool) {
			source := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "source")
			n := number[source]
			lines := rapid.IntRange(1, 6).Draw(t, "lines")
			b := k.batch(source, n, lines, rapid.IntRange(1, 80).Draw(t, "size"))
			try := put
			if disk {
				try = spill
			}
			err := try(q, b)
			if errors.Is(err, ErrFull) || errors.Is(err, errNoMemory) {
				return // never answered: not one of ours
			}
			if err != nil {
				t.Fatalf("put: %v", err)
			}
			number[source]++
			size[fmt.Sprintf("%s:%d", source, n)] = lines
			taken += lines
			inside += lines
		}
		actions := map[string]func(*rapid.T){
			"put":   func(t *rapid.T) { come(t, false) },
			"spill": func(t *rapid.T) { come(t, true) },
			"sync": func(*rapid.T) {
				if err := q.Sync(); err != nil {
					t.Fatalf("sync: %v", err)
				}
			},
			"take": func(t *rapid.T) {
				if lease != nil {
					return
				}
				// One that has come to its end, when there is nothing to take.
				l, err := q.Take(ended, rapid.IntRange(1, 400).Draw(t, "bytes"), time.Time{})
				if errors.Is(err, context.Canceled) {
					return
				}
				if err != nil {
					t.Fatalf("take: %v", err)
				}
				lease = l
			},
			"ack": func(*rapid.T) {
				if lease != nil {
					inside -= sink.accept(lease)
					must(t, lease.Ack())
					lease = nil
				}
			},
			"release": func(*rapid.T) {
				if lease != nil {
					must(t, lease.Release())
					lease = nil
				}
			},
			"rate": func(t *rapid.T) {
				q.Set(Options{MaxBytes: 1500, FreshFirst: fresh, SpoolRate: rapid.SampledFrom([]int64{0, 1}).Draw(t, "rate")})
			},
			"oldest": func(t *rapid.T) {
				n, err := q.DropOldest()
				if err != nil || n > 0 && !sp.Room() {
					t.Fatalf("drop the oldest: %d lines, %v, room %v", n, err, sp.Room())
				}
				inside -= n
				dropped += n
			},
			"restart": func(t *rapid.T) {
				stop()
				for name, lines := range size {
					if k.answer(name) == "failed" { // its source reads it again; we do not
						inside -= lines - sink.got[name]
						delete(size, name)
						delete(sink.got, name)
					}
				}
				// A batch that was delivered in part comes whole again.
				for name, got := range sink.got {
					if got < size[name] {
						inside += got
						delete(sink.got, name)
						f := strings.Split(name, ":")
						var n int
						_, _ = fmt.Sscan(f[1], &n)
						sink.last[f[0]] = [2]int{n - 1, 1 << 30}
					}
				}
				start()
			},
			"": func(t *rapid.T) {
				st := q.Stats()
				if st.MemoryLines+st.SpoolLines != int64(inside) || st.MemoryLines < 0 || st.SpoolLines < 0 {
					t.Fatalf("%+v, but %d lines are inside", st, inside)
				}
			},
		}
		if drops {
			delete(actions, "restart")
		} else {
			delete(actions, "oldest")
		}
		t.Repeat(actions)
		if lease != nil {
			must(t, lease.Release())
			lease = nil
		}
		if err := q.Sync(); err != nil {
			t.Fatalf("sync: %v", err)
		}
		q.Drain()
		for {
			l, err := q.Take(context.Background(), 300, time.Now().Add(time.Hour))
			if errors.Is(err, ErrDrained) {
				break
			}
			if err != nil {
				t.Fatalf("take: %v", err)
			}
			sink.accept(l)
			must(t, l.Ack())
		}
		if st := q.Stats(); st != (Stats{}) {
			t.Fatalf("after all: %+v", st)
		}
		stop()
		for name, lines := range size {
			if drops && sink.got[name] == 0 {
				dropped -= lines
				sink.got[name] = lines
			}
			if sink.got[name] != lines || k.answer(name) != "delivered" {
				t.Fatalf("batch %s: %d of %d lines, %s", name, sink.got[name], lines, k.answer(name))
			}
		}
		if dropped != 0 {
			t.Fatalf("%d more lines were counted as given up than did not come", dropped)
		}
	})
}

// TestManyPutters runs the queue as the agent does: putters that go from memory to the
// spool and back, a taker that fails now and then, Run beside them.
func TestManyPutters(t *testing.T) {
	const putters, batches = 8, 150
	sp := openSpool(t, t.TempDir(), spool.Options{SegmentBytes: 20_000})
	q := New(sp, Options{MaxBytes: 5000, OnError: func(err error) { t.Error(err) }})
	k, sink := newBooks(t), newReceiver(t)
	ctx, cancel := context.WithCancel(t.Context())
	var run, putting sync.WaitGroup
	run.Go(func() { q.Run(ctx) })
	for p := range putters {
		putting.Go(func() {
			source := fmt.Sprint("s", p)
			for n := range batches {
				b := k.batch(source, n, 3, 40)
				for { // until there is room
					err := put(q, b)
					if p%2 == 1 && errors.Is(err, errNoMemory) { // a stream: it goes to the spool
						err = spill(q, b)
					}
					if err == nil {
						break
					}
					if !errors.Is(err, ErrFull) && !errors.Is(err, errNoMemory) {
						t.Errorf("put: %v", err)
						break
					}
					runtime.Gosched()
				}
			}
		})
	}
	run.Go(func() { putting.Wait(); q.Drain() })
	for i := 0; ; i++ {
		l, err := q.Take(ctx, 500, time.Now().Add(time.Millisecond))
		if errors.Is(err, ErrDrained) {
			break
		}
		if err != nil {
			t.Fatalf("take: %v", err)
		}
		if i%5 == 0 {
			must(t, l.Release())
			continue
		}
		sink.accept(l)
		must(t, l.Ack())
		if st := q.Stats(); st.MemoryLines < 0 {
			t.Errorf("%+v", st)
		}
	}
	cancel()
	run.Wait()
	if st := q.Stats(); st != (Stats{}) {
		t.Errorf("after all: %+v", st)
	}
	if err := errors.Join(q.Close(), sp.Close()); err != nil {
		t.Error(err)
	}
	for _, name := range k.made {
		if sink.got[name] != 3 || k.answer(name) != "delivered" {
			t.Errorf("batch %s: %d lines, %s", name, sink.got[name], k.answer(name))
		}
	}
}
