package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
	"github.com/logcapturer/log_capturer/internal/task"
)

func take(t *testing.T, q *Queue, maxBytes int) *Lease {
	t.Helper()
	l, err := q.Take(t.Context(), maxBytes, time.Time{})
	if err != nil {
		t.Fatalf("take: %v", err)
	}
	return l
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

func wantLines(t *testing.T, l *Lease, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, lines(l)); diff != "" {
		t.Fatalf("lines (-want +got):\n%s", diff)
	}
}

func TestASourceInTheSpoolMayNotOvertakeItself(t *testing.T) {
	q, k := newQueue(t, Options{})
	must(t, put(q, k.batch("a", 1, 1, 10)))
	must(t, spill(q, k.batch("a", 2, 1, 10)))
	third := k.batch("a", 3, 1, 10)
	if err := put(q, third); !errors.Is(err, errNoMemory) {
		t.Fatalf("put behind the spool: %v", err)
	}
	must(t, put(q, k.batch("b", 1, 1, 10)))
	if k.answer("a:2") != "open" {
		t.Error("the spilled batch was answered before the sync")
	}
	must(t, q.Sync())
	if k.answer("a:2") != "delivered" {
		t.Error("the spilled batch was not answered by the sync")
	}
	// What the source had in memory went to the spool before it.
	if st := q.Stats(); st.MemoryLines != 1 || st.SpoolLines != 2 {
		t.Errorf("%+v", st)
	}
	l := take(t, q, 1000)
	wantLines(t, l, "b:1:0", "a:1:0", "a:2:0")
	must(t, l.Ack())
	must(t, put(q, third))
	must(t, take(t, q, 1000).Ack())
	for _, name := range []string{"a:1", "a:2", "a:3", "b:1"} {
		if k.answer(name) != "delivered" {
			t.Errorf("%s is %s", name, k.answer(name))
		}
	}
	if st := q.Stats(); st != (Stats{}) {
		t.Errorf("in the end: %+v", st)
	}
}

// With FreshFirst what comes goes past what its source has in the spool, which keeps its
// own order and gets out beside it, as fast as SpoolRate allows.
func TestFreshFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newQueue(t, Options{FreshFirst: true})
		for n := range 20 {
			b := k.batch("a", n, 1, 100)
			q.Set(Options{MaxBytes: 1 << 20, FreshFirst: true, SpoolRate: int64(record.Whole(b).Bytes())})
			must(t, spill(q, b))
		}
		must(t, q.Sync())
		began, fresh, old := time.Now(), 0, 0
		for old < 20 {
			must(t, put(q, k.batch("a", 20+fresh, 1, 100)))
			fresh++
			l := take(t, q, 1000)
			for _, line := range lines(l) {
				switch line {
				case fmt.Sprintf("a:%d:0", 19+fresh):
				case fmt.Sprintf("a:%d:0", old):
					old++
				default:
					t.Fatalf("%s came, %d fresh ones and %d old ones before", line, fresh-1, old)
				}
			}
			must(t, l.Ack())
			task.Sleep(t.Context(), 100*time.Millisecond)
		}
		// A second for each of those but the first.
		if took := time.Since(began); took < 19*time.Second || took > 21*time.Second || fresh < 190 {
			t.Errorf("20 old batches took %v, beside %d fresh ones", took, fresh)
		}
	})
}

// A rate that was too low is no matter once it is higher.
func TestAPaceThatIsRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newQueue(t, Options{SpoolRate: 1})
		for n := range 5 {
			must(t, spill(q, k.batch("a", n, 1, 10_000)))
		}
		must(t, q.Sync())
		must(t, take(t, q, 100).Ack()) // for which the next would have to wait for hours
		q.Set(Options{MaxBytes: 1 << 20, SpoolRate: 10_000})
		began := time.Now()
		for range 4 {
			must(t, take(t, q, 100).Ack())
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// The order of a source holds across a restart that parks memory.
func TestParkingKeepsTheOrderOfEachSource(t *testing.T) {
	dir := t.TempDir()
	open := func() (*Queue, *spool.Spool) {
		sp := openSpool(t, dir, spool.Options{})
		return New(sp, Options{MaxBytes: 1 << 20}), sp
	}
	k := newBooks(t)
	q, sp := open()
	for n := range 3 {
		must(t, put(q, k.batch("a", n, 1, 10)))
		must(t, put(q, k.batch("b", n, 1, 10)))
	}
	for n := 3; n < 6; n++ {
		must(t, spill(q, k.batch("a", n, 1, 10)))
	}
	q.Park(record.Failed)
	must(t, q.Close())
	must(t, sp.Close())
	q, sp = open()
	var got []string
	for range 9 {
		l := take(t, q, 1)
		got = append(got, lines(l)...)
		must(t, l.Ack())
	}
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	want := []string{"a:0:0", "a:1:0", "a:2:0", "a:3:0", "a:4:0", "a:5:0", "b:0:0", "b:1:0", "b:2:0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	must(t, q.Close())
	must(t, sp.Close())
}

func TestALargeBatchIsGivenOutInParts(t *testing.T) {
	for _, way := range []string{"memory", "spool"} {
		q, k := newQueue(t, Options{})
		big := k.batch("a", 1, 5, 10)
		if way == "memory" {
			must(t, put(q, big))
		} else {
			must(t, spill(q, big))
			must(t, q.Sync())
		}
		total := func() int64 { st := q.Stats(); return st.MemoryLines + st.SpoolLines }
		l := take(t, q, 20)
		must(t, put(q, k.batch("b", 1, 1, 10)))
		wantLines(t, l, "a:1:0", "a:1:1")
		must(t, l.Ack())
		if total() != 4 {
			t.Errorf("%s: %d lines after the first part, want 4", way, total())
		}
		l = take(t, q, 25)
		wantLines(t, l, "a:1:2", "a:1:3")
		must(t, l.Release())
		if way == "memory" && k.answer("a:1") != "open" {
			t.Error("a part of the batch finished it")
		}
		l = take(t, q, 1)
		wantLines(t, l, "a:1:2")
		must(t, l.Ack())
		l = take(t, q, 100)
		wantLines(t, l, "a:1:3", "a:1:4", "b:1:0")
		must(t, l.Ack())
		if k.answer("a:1") != "delivered" || total() != 0 {
			t.Errorf("%s: in the end %s, %d lines", way, k.answer("a:1"), total())
		}
	}
}

func TestReleasedBatchesComeAgainInOrder(t *testing.T) {
	q, k := newQueue(t, Options{})
	for n := range 4 {
		must(t, put(q, k.batch("a", n, 1, 10)))
	}
	l := take(t, q, 30)
	if _, err := q.Take(t.Context(), 10, time.Time{}); !errors.Is(err, ErrLeased) {
		t.Errorf("a second lease: %v", err)
	}
	must(t, l.Release())
	must(t, l.Release())
	must(t, l.Ack())
	l = take(t, q, 20) // fewer than were put back
	wantLines(t, l, "a:0:0", "a:1:0")
	must(t, l.Release())
	l = take(t, q, 100)
	wantLines(t, l, "a:0:0", "a:1:0", "a:2:0", "a:3:0")
	must(t, l.Ack())
}

func TestMemoryIsBoundedAndKept(t *testing.T) {
	q, k := newQueue(t, Options{MaxBytes: 100})
	first, second, third := k.batch("a", 1, 1, 200), k.batch("b", 1, 1, 10), k.batch("c", 1, 1, 10)
	kept, err := q.Reserve(first)
	must(t, err)
	if err := put(q, second); !errors.Is(err, errNoMemory) {
		t.Fatalf("put where another has reserved: %v", err)
	}
	q.Cancel(kept)
	must(t, put(q, first))
	if err := put(q, second); !errors.Is(err, errNoMemory) {
		t.Fatalf("put into full memory: %v", err)
	}
	must(t, take(t, q, 1000).Ack())
	must(t, put(q, third))
	must(t, take(t, q, 1000).Ack())
	if st := q.Stats(); st != (Stats{}) {
		t.Errorf("in the end: %+v", st)
	}
}

// What was reserved on disk is there however full the spool has become meanwhile, for
// what the source has in memory too.
func TestRoomOnDiskIsKept(t *testing.T) {
	sp, err := spool.Open(t.TempDir(), 2000, spool.Options{})
	must(t, err)
	q, k := New(sp, Options{MaxBytes: 1 << 20}), newBooks(t)
	must(t, put(q, k.batch("a", 1, 1, 300)))
	must(t, put(q, k.batch("a", 2, 1, 300)))
	mine := k.batch("a", 3, 1, 300)
	kept, err := q.reserveDisk(mine)
	must(t, err)
	n := 0
	for ; n < 100; n++ {
		if err := spill(q, k.batch("b", n, 1, 100)); err != nil {
			break
		}
	}
	if n == 0 || n == 100 {
		t.Fatalf("%d batches of another source found room beside what is reserved", n)
	}
	must(t, q.Give(mine, kept))
	must(t, q.Sync())
	if k.answer("a:3") != "delivered" || k.answer("a:1") != "delivered" {
		t.Errorf("reserved and not taken: %s, %s", k.answer("a:1"), k.answer("a:3"))
	}
	must(t, errors.Join(q.Close(), sp.Close()))
}

func TestTakeWaitsForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newQueue(t, Options{})
		start := time.Now()
		type taken struct {
			lines []string
			after time.Duration
		}
		got := make(chan taken)
		taker := func(ctx context.Context) {
			l, err := q.Take(ctx, 30, time.Now().Add(time.Second))
			if err != nil {
				t.Errorf("take: %v", err)
			}
			after := time.Since(start)
			ls := lines(l)
			must(t, l.Ack())
			got <- taken{ls, after}
		}
		check := func(after time.Duration, want ...string) {
			t.Helper()
			if diff := cmp.Diff(taken{want, after}, <-got, cmp.AllowUnexported(taken{})); diff != "" {
				t.Error(diff)
			}
			start = time.Now()
		}
		go taker(t.Context())
		must(t, put(q, k.batch("a", 1, 1, 10)))
		<-time.After(time.Second / 2) // the bubble's clock: nothing waits
		must(t, put(q, k.batch("a", 2, 1, 10)))
		check(time.Second, "a:1:0", "a:2:0")

		go taker(t.Context())
		<-time.After(5 * time.Second)
		must(t, put(q, k.batch("b", 1, 1, 10)))
		check(5*time.Second, "b:1:0") // late enough already

		go taker(t.Context())
		must(t, put(q, k.batch("a", 3, 1, 10)))
		synctest.Wait()
		must(t, put(q, k.batch("a", 4, 2, 10)))
		check(0, "a:3:0", "a:4:0", "a:4:1")

		ctx, cancel := context.WithCancel(t.Context())
		go taker(ctx)
		must(t, put(q, k.batch("a", 5, 1, 10)))
		synctest.Wait()
		cancel()
		check(0, "a:5:0")

		go taker(t.Context())
		must(t, put(q, k.batch("a", 6, 1, 10)))
		synctest.Wait()
		q.Drain()
		check(0, "a:6:0")
	})
}

func TestADrainedQueueEndsOnceAllIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newQueue(t, Options{})
		must(t, spill(q, k.batch("a", 1, 1, 10)))
		must(t, put(q, k.batch("b", 1, 1, 10)))
		q.Drain()
		l := take(t, q, 100)
		wantLines(t, l, "b:1:0")
		must(t, l.Ack())
		ended := make(chan error)
		go func() {
			l, err := q.Take(t.Context(), 100, time.Now().Add(time.Hour))
			if err == nil {
				must(t, l.Ack())
			}
			ended <- err
		}()
		synctest.Wait() // it waits for the sync, and does not spin
		must(t, q.Sync())
		must(t, <-ended)
		if _, err := q.Take(t.Context(), 100, time.Now().Add(time.Hour)); !errors.Is(err, ErrDrained) {
			t.Errorf("take: %v", err)
		}
	})
}

func TestRunSyncsInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, k := newQueue(t, Options{MaxBytes: 100})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { q.Run(ctx); close(ended) }()
		must(t, spill(q, k.batch("a", 1, 1, 10)))
		must(t, spill(q, k.batch("a", 2, 1, 10)))
		synctest.Wait()
		if k.answer("a:1") != "open" {
			t.Error("synced at once")
		}
		<-time.After(SyncInterval)
		synctest.Wait()
		if k.answer("a:1") != "delivered" || k.answer("a:2") != "delivered" {
			t.Error("not synced after the interval")
		}
		must(t, spill(q, k.batch("b", 1, 1, SyncBytes/4)))
		must(t, spill(q, k.batch("c", 1, 1, 10)))
		cancel()
		<-ended
		if k.answer("c:1") != "delivered" {
			t.Error("the last sync did not happen")
		}
	})
}

func TestCloseFailsWhatIsInMemoryAndKeepsWhatIsSpilled(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, spool.Options{})
	k := newBooks(t)
	q := New(sp, Options{MaxBytes: 1 << 20})
	must(t, put(q, k.batch("a", 1, 1, 10)))
	must(t, put(q, k.batch("a", 2, 1, 10)))
	must(t, spill(q, k.batch("b", 1, 1, 10)))
	l := take(t, q, 10)
	must(t, q.Close())
	must(t, q.Close())
	for name, want := range map[string]string{"a:1": "open", "a:2": "failed", "b:1": "delivered"} {
		if k.answer(name) != want {
			t.Errorf("%s is %s, want %s", name, k.answer(name), want)
		}
	}
	must(t, l.Release())
	if k.answer("a:1") != "failed" {
		t.Errorf("released after the close: %s", k.answer("a:1"))
	}
	_, takeErr := q.Take(t.Context(), 10, time.Time{})
	for _, err := range []error{put(q, k.batch("a", 3, 1, 1)), spill(q, k.batch("a", 4, 1, 1)), takeErr} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after the close: %v", err)
		}
	}
	must(t, sp.Close())

	sp = openSpool(t, dir, spool.Options{})
	q = New(sp, Options{MaxBytes: 1 << 20})
	if err := put(q, k.batch("b", 2, 1, 10)); !errors.Is(err, errNoMemory) {
		t.Errorf("after the restart the spool is forgotten: %v", err)
	}
	l = take(t, q, 10)
	wantLines(t, l, "b:1:0")
	if st := q.Stats(); st.SpoolLines != 1 || st.Oldest.UnixNano() != 1000 {
		t.Errorf("%+v", st)
	}
	must(t, l.Ack())
	must(t, q.Close())
	must(t, sp.Close())
}

// brokenSpool fails the calls for which fail returns an error.
type brokenSpool struct {
	spool.FS
	fail func(op string) error
}

func (f *brokenSpool) Open(name string, flag int) (spool.File, error) {
	file, err := f.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &brokenFile{file, f.fail}, nil
}

type brokenFile struct {
	spool.File
	fail func(op string) error
}

func (f *brokenFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fail("write"); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *brokenFile) Sync() error {
	if err := f.fail("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func TestAFailingDiskIsAnsweredFailedAndReported(t *testing.T) {
	dir := t.TempDir()
	fs, err := spool.Dir(dir)
	must(t, err)
	broken := ""
	sp := openSpool(t, dir, spool.Options{FS: &brokenSpool{fs, func(op string) error {
		if op == broken {
			return syscall.EIO
		}
		return nil
	}}})
	k := newBooks(t)
	var told []error
	q := New(sp, Options{MaxBytes: 1 << 20, OnError: func(err error) { told = append(told, err) }})
	broken = "write"
	if err := spill(q, k.batch("a", 1, 1, 10)); !errors.Is(err, syscall.EIO) || k.answer("a:1") != "failed" {
		t.Errorf("a failed append: %v, %s", err, k.answer("a:1"))
	}
	broken = "sync"
	must(t, spill(q, k.batch("a", 2, 1, 10)))
	if err := q.Sync(); !errors.Is(err, syscall.EIO) || k.answer("a:2") != "failed" {
		t.Errorf("a failed sync: %v, %s", err, k.answer("a:2"))
	}
	broken = ""
	if len(told) != 2 {
		t.Errorf("OnError was told %d times: %v", len(told), told)
	}
	if st := q.Stats(); st.MemoryLines != 0 || st.SpoolLines != 0 || st.MemoryBytes != 0 {
		t.Errorf("%+v", st)
	}
	must(t, put(q, k.batch("a", 3, 1, 10))) // nothing of it is in the spool
	must(t, spill(q, k.batch("a", 4, 1, 10)))
	must(t, q.Sync())
	l := take(t, q, 100)
	wantLines(t, l, "a:3:0", "a:4:0")
	must(t, l.Ack())
	must(t, q.Close())
	must(t, sp.Close())
}

func BenchmarkPutTakeAck(b *testing.B) {
	sp := openSpool(b, b.TempDir(), spool.Options{})
	q := New(sp, Options{MaxBytes: 1 << 20})
	pool := record.NewPool(1 << 20)
	src := &record.Source{ID: "a"}
	line := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		batch, _ := pool.Get(b.Context(), 32<<10)
		batch.Source = src
		for i := range 300 {
			batch.Append(int64(i), record.OutputNone, line)
		}
		if err := put(q, batch); err != nil {
			b.Fatal(err)
		}
		l, err := q.Take(b.Context(), 1, time.Time{})
		for ; err == nil; l, err = q.Take(b.Context(), 1<<20, time.Time{}) {
			must(b, l.Ack())
			if q.Stats().MemoryLines == 0 {
				break
			}
		}
	}
	if err := errors.Join(q.Close(), sp.Close()); err != nil {
		b.Fatal(err)
	}
}
