package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/file"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/task"
)

// collector is a dispatcher that keeps what it is given.
type collector struct {
	mu     sync.Mutex
	lines  map[string][]string // by source
	answer func(b *record.Batch) (record.Outcome, error)
	room   chan struct{}
	full   map[string]bool // sources without room
	freed  chan struct{}
	asked  int // for room
}

func (c *collector) Deliver(_ context.Context, b *record.Batch) error {
	c.mu.Lock()
	outcome, err := record.Delivered, error(nil)
	if c.answer != nil {
		outcome, err = c.answer(b)
	}
	if outcome == record.Delivered {
		for i := range b.Entries {
			c.lines[b.Source.ID] = append(c.lines[b.Source.ID], string(b.Line(i)))
		}
	}
	c.mu.Unlock()
	b.Done(outcome)
	return err
}

func (c *collector) Ready(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return !c.full[id]
}

func (c *collector) Freed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.freed
}

func (c *collector) WaitRoom(ctx context.Context, _ string) error {
	if c.room == nil {
		return nil
	}
	select {
	case <-c.room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *collector) of(id string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines[id])
}

// fixture is a pool over real log files, or over openers of the test's.
type fixture struct {
	t      *testing.T
	dir    string
	pool   *Pool
	scope  *task.Scope
	store  *position.Store
	out    *collector
	stats  *file.Stats
	mu     sync.Mutex
	forgot []string
	lost   []string // reasons
}

func newFixture(t *testing.T, openers map[source.Mode]source.Opener) *fixture {
	t.Helper()
	f := newIdle(t, openers)
	f.pool.Ready(f.scope.Child("files"))
	f.scope.Go("pool", f.pool.Run)
	return f
}

// newIdleFixture is one over real log files whose pool does not run yet.
func newIdleFixture(t *testing.T) *fixture {
	t.Helper()
	return newIdle(t, nil)
}

func newIdle(t *testing.T, openers map[source.Mode]source.Opener) *fixture {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := position.OpenStore(t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := tail.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, dir: t.TempDir(), store: store, out: &collector{lines: map[string][]string{}}, stats: &file.Stats{}}
	if openers == nil {
		openers = map[source.Mode]source.Opener{source.File: &file.Opener{Pool: record.NewPool(16 << 20), MaxLine: 1 << 20, Stats: f.stats}}
	}
	f.scope = task.NewRoot(context.Background(), "test", log)
	f.pool = New(Deps{
		Name: "files", Openers: openers, Store: store, Dispatcher: f.out, Watcher: watcher, Workers: 2,
		Arena: record.NewPool(1 << 20), Streams: 2, PollInterval: 20 * time.Millisecond,
		Lost:   func(reason string, _ int64) { f.mu.Lock(); defer f.mu.Unlock(); f.lost = append(f.lost, reason) },
		Forget: func(id string) { f.mu.Lock(); defer f.mu.Unlock(); f.forgot = append(f.forgot, id) },
		Read:   func(*record.Source, int, int) {}, Log: log,
	})
	f.scope.Go("watcher", watcher.Run)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := f.scope.Close(ctx); err != nil {
			t.Error(err)
		}
		_ = watcher.Close()
		f.pool.Close()
		if n := f.stats.Descriptors.Load(); n != 0 {
			t.Errorf("%d descriptors are held after the end", n)
		}
	})
	return f
}

func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for !ok() {
		if !task.Sleep(ctx, time.Millisecond) {
			f.t.Fatalf("not within 10s: %s", what)
		}
	}
}

func (f *fixture) target(name string) source.Target {
	path := filepath.Join(f.dir, name)
	src := &record.Source{ID: "file:" + name, Kind: "file", Name: path, CanWait: true}
	src.Streams[record.OutputNone] = record.NewStream(record.Labels{{Name: "filename", Value: name}}, nil)
	return source.Target{Source: src, Mode: source.File, Path: path}
}

func (f *fixture) write(name, text string) {
	f.t.Helper()
	w, err := os.OpenFile(filepath.Join(f.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = w.WriteString(text)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) arrives(id string, want ...string) {
	f.t.Helper()
	defer func() {
		if got := f.out.of(id); f.t.Failed() {
			f.t.Logf("%s: %d lines came, want %d; the last are %q, want %q", id, len(got), len(want), last(got), last(want))
		}
	}()
	f.eventually("all lines of "+id, func() bool { return slices.Equal(f.out.of(id), want) })
}

func last(lines []string) []string { return lines[max(0, len(lines)-10):] }

func TestLinesArriveAsTheyAreWritten(t *testing.T) {
	f := newFixture(t, nil)
	f.write("a.log", "1\n")
	f.pool.Apply([]source.Target{f.target("a.log")})
	f.arrives("file:a.log", "1")
	f.eventually("the log to be idle", func() bool { return f.state("file:a.log") == idle })
	began := time.Now()
	f.write("a.log", "2\n")
	f.arrives("file:a.log", "1", "2")
	if took := time.Since(began); took > sweepInterval/2 {
		t.Errorf("a line took %v; the hint did not work", took)
	}
}

// Files that find no room hold no worker: those that do are read.
func TestFilesWithoutRoomLeaveTheWorkersToOthers(t *testing.T) {
	f := newFixture(t, nil)
	f.out.full = map[string]bool{}
	var targets []source.Target
	for i := range 10 {
		name := fmt.Sprintf("full%d.log", i)
		f.write(name, "1\n")
		f.out.full["file:"+name] = true
		targets = append(targets, f.target(name))
	}
	f.write("quiet.log", "1\n")
	f.pool.Apply(append(targets, f.target("quiet.log")))
	f.arrives("file:quiet.log", "1")
	f.write("quiet.log", "2\n")
	f.arrives("file:quiet.log", "1", "2")
	if got := f.out.of("file:full0.log"); len(got) > 0 {
		t.Errorf("%q was delivered without room", got)
	}
	f.out.mu.Lock()
	clear(f.out.full)
	f.out.mu.Unlock()
	for _, tg := range targets {
		f.arrives(tg.Source.ID, "1")
	}
}

// A file that waits for room is read when room was made, not when its pause is over.
func TestRoomThatWasMadeIsTakenAtOnce(t *testing.T) {
	best := time.Hour
	for try := 0; try < 3 && best > roomPause/2; try++ { // one slow try is the machine's
		f := newFixture(t, nil)
		f.out.freed = make(chan struct{})
		f.out.full = map[string]bool{"file:a.log": true}
		f.write("a.log", "1\n")
		f.pool.Apply([]source.Target{f.target("a.log")})
		asked := func() int { f.out.mu.Lock(); defer f.out.mu.Unlock(); return f.out.asked }
		start, before := time.Now(), 0
		f.eventually("pauses of a second", func() bool { before = asked(); return time.Since(start) > 2500*time.Millisecond })
		f.eventually("the beginning of one", func() bool { return asked() > before })
		f.out.mu.Lock()
		clear(f.out.full)
		close(f.out.freed)
		f.out.freed = nil
		f.out.mu.Unlock()
		began := time.Now()
		f.arrives("file:a.log", "1")
		best = min(best, time.Since(began))
	}
	if best > roomPause/2 {
		t.Errorf("it took %v", best)
	}
}

func (f *fixture) state(id string) state {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	return f.pool.jobs[id].state
}

func TestGoroutinesDoNotGrowWithTheNumberOfFiles(t *testing.T) {
	f := newFixture(t, nil)
	count := func(n int) int {
		var targets []source.Target
		for i := range n {
			name := fmt.Sprintf("%d.log", i)
			f.write(name, "x\n")
			targets = append(targets, f.target(name))
		}
		f.pool.Apply(targets)
		f.eventually("all files to be read", func() bool {
			for _, tg := range targets {
				if len(f.out.of(tg.Source.ID)) == 0 {
					return false
				}
			}
			return true
		})
		return runtime.NumGoroutine()
	}
	few, many := count(10), count(1000)
	if few != many {
		t.Errorf("%d goroutines for 10 files, %d for 1000", few, many)
	}
	if n := f.stats.Descriptors.Load(); n != 1000 {
		t.Errorf("%d descriptors for 1000 files", n)
	}
}

func TestAnUndeliveredBatchIsReadAgain(t *testing.T) {
	f := newFixture(t, nil)
	failures := 3
	f.out.answer = func(*record.Batch) (record.Outcome, error) {
		if failures--; failures >= 0 {
			return record.Failed, nil
		}
		return record.Delivered, nil
	}
	f.write("a.log", "1\n2\n")
	f.pool.Apply([]source.Target{f.target("a.log")})
	f.arrives("file:a.log", "1", "2")
	f.write("a.log", "3\n")
	f.arrives("file:a.log", "1", "2", "3")
	f.eventually("the position", func() bool { c := f.store.Get("file:a.log"); return c.File != nil && c.File.Offset == 6 })
}

func TestAGoneFileIsReadToItsEndAndForgotten(t *testing.T) {
	f := newFixture(t, nil)
	f.write("a.log", "1\n")
	tg := f.target("a.log")
	f.pool.Apply([]source.Target{tg})
	f.arrives("file:a.log", "1")
	f.write("a.log", "last words")
	if err := os.Remove(tg.Path); err != nil {
		t.Fatal(err)
	}
	tg.Gone = true
	f.pool.Apply([]source.Target{tg})
	f.arrives("file:a.log", "1", "last words")
	f.eventually("the end", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return slices.Equal(f.forgot, []string{"file:a.log"}) })
	if !f.store.Get("file:a.log").IsZero() || f.stats.Descriptors.Load() != 0 {
		t.Error("its position or its descriptor is still there")
	}
}

func TestAFileThatComesBackBeforeItIsForgottenIsReadAnew(t *testing.T) {
	f := newFixture(t, nil)
	f.write("a.log", "old\n")
	tg := f.target("a.log")
	f.pool.Apply([]source.Target{tg})
	f.arrives("file:a.log", "old")
	if err := os.Remove(tg.Path); err != nil {
		t.Fatal(err)
	}
	tg.Gone = true
	f.pool.Apply([]source.Target{tg})
	f.eventually("its end", func() bool { return f.state("file:a.log") == ended })
	f.write("a.log", "new\n")
	tg.Gone = false
	f.pool.Apply([]source.Target{tg})
	f.arrives("file:a.log", "old", "new")
}

func TestATargetThatIsNotWantedAnyMoreIsLetGo(t *testing.T) {
	f := newFixture(t, nil)
	f.write("a.log", "1\n")
	f.pool.Apply([]source.Target{f.target("a.log")})
	f.arrives("file:a.log", "1")
	f.pool.Apply(nil)
	f.eventually("the descriptor to be closed", func() bool { return f.stats.Descriptors.Load() == 0 })
	if f.store.Get("file:a.log").IsZero() {
		t.Error("its position was forgotten, though it may be wanted again")
	}
}

// One that is written all the time, and of which something is always on its way, is let go
// of at once; a half line is left for the time when it is wanted again.
func TestABusyTargetThatIsNotWantedAnyMoreIsLetGo(t *testing.T) {
	f := newFixture(t, nil)
	var held []*record.Batch
	f.out.answer = func(b *record.Batch) (record.Outcome, error) {
		held = append(held, b)
		b.Retain(1) // never answered
		return record.Delivered, nil
	}
	f.write("a.log", "1\nhalf")
	f.pool.Apply([]source.Target{f.target("a.log")})
	f.arrives("file:a.log", "1")
	f.pool.Apply(nil)
	f.write("a.log", " a line\n2\n")
	f.eventually("the descriptor to be closed", func() bool { return f.stats.Descriptors.Load() == 0 })
	f.arrives("file:a.log", "1")
	f.out.mu.Lock()
	f.out.answer = nil
	for _, b := range held {
		b.Done(record.Delivered)
	}
	f.out.mu.Unlock()
	f.pool.Apply([]source.Target{f.target("a.log")})
	f.arrives("file:a.log", "1", "half a line", "2")
}

// A log that is not wanted any more, and is not let go of, is not counted as one that should
// be there for long; one whose lines are being delivered is.
func TestALogThatIsHeldByMistakeIsOneTooMany(t *testing.T) {
	f := newFixture(t, nil)
	orphan := func(name string) *job {
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		j := newJob(f.pool, f.target(name)) // its turn never ends
		f.pool.jobs[j.id] = j
		j.leave()
		return j
	}
	jobs := []*job{orphan("stuck.log"), orphan("delivered.log")}
	jobs[1].tracker = position.NewTracker(position.Cursor{}, func(position.Cursor) {}, func() {})
	jobs[1].tracker.Track(f.pool.Arena.Force(1), position.Cursor{})
	wanted := func(want int) {
		t.Helper()
		if got := f.pool.Figures(); got.Jobs != 2 || got.Wanted != want {
			t.Errorf("there are %d jobs, %d should be; want 2 and %d", got.Jobs, got.Wanted, want)
		}
	}
	wanted(2)
	f.pool.mu.Lock()
	for _, j := range jobs {
		j.leftAt = j.leftAt.Add(-lingers)
	}
	f.pool.mu.Unlock()
	wanted(1)
}

// A container that was presumed to have a json-file, and has none, is read as a stream.
func TestAMistakenModeIsCorrected(t *testing.T) {
	o := &followers{upto: 3, pool: record.NewPool(1 << 20)}
	files := &file.Opener{Pool: record.NewPool(1 << 20), MaxLine: 1 << 20, Stats: &file.Stats{}}
	f := newFixture(t, map[source.Mode]source.Opener{source.File: files, source.Stream: o})
	tg := f.target("never.log")
	f.pool.Apply([]source.Target{tg})
	f.eventually("the job to be idle", func() bool { return f.state(tg.Source.ID) == idle })
	tg.Mode, tg.Path, tg.Container = source.Stream, "", runs()
	f.pool.Apply([]source.Target{tg})
	f.arrives(tg.Source.ID, numbers(3)...)
	f.eventually("one job", func() bool { c := f.pool.Figures().Targets; return c[source.Stream] == 1 && c[source.File] == 0 })
}

func TestAReaderThatPanicsIsOpenedAgain(t *testing.T) {
	f := newFixture(t, nil)
	panics := true
	f.out.answer = func(*record.Batch) (record.Outcome, error) {
		if panics {
			panics = false
			defer f.out.mu.Unlock() // Deliver does not come to it
			panic("a bug")
		}
		return record.Delivered, nil
	}
	f.write("a.log", "1\n")
	f.pool.Apply([]source.Target{f.target("a.log")})
	f.eventually("the panic", func() bool { return f.scope.Panics() == 1 })
	f.write("b.log", "other\n")
	f.pool.Apply([]source.Target{f.target("a.log"), f.target("b.log")})
	f.arrives("file:b.log", "other")
}

// One log that cannot be opened does not slow down the others.
func TestAnUnreadableLogHoldsUpNobody(t *testing.T) {
	f := newFixture(t, nil)
	if err := os.Mkdir(filepath.Join(f.dir, "bad.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("a.log", "1\n")
	f.pool.Apply([]source.Target{f.target("bad.log"), f.target("a.log")})
	f.arrives("file:a.log", "1")
	for n := range 5 {
		began := time.Now()
		f.write("a.log", "x\n")
		f.eventually("the line", func() bool { return len(f.out.of("file:a.log")) == n+2 })
		if took := time.Since(began); took > sweepInterval/4 {
			t.Errorf("line %d took %v", n, took)
		}
	}
}

// follower is a stream reader of the test's.
type follower struct {
	opener *followers
	target source.Target
	next   int
}

// followers open readers that bring the numbers from the cursor on.
type followers struct {
	mu    sync.Mutex
	opens int
	upto  int
	fail  error
	pool  *record.Pool
}

func (o *followers) Open(_ context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opens++
	r := &follower{opener: o, target: t}
	if from.API != nil {
		r.next = int(from.API.Since)
	}
	return r, nil
}

func (r *follower) Next(ctx context.Context) (*record.Batch, error) {
	r.opener.mu.Lock()
	err, end := r.opener.fail, r.next >= r.opener.upto
	r.opener.fail = nil
	r.opener.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if end && r.mode() == source.Poll {
		return nil, source.ErrIdle
	}
	if end {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	b := r.opener.pool.Force(16)
	b.Source = r.target.Source
	b.Append(int64(r.next), record.Stdout, fmt.Appendf(nil, "%d", r.next))
	r.next++
	return b, nil
}

func (r *follower) Cursor() position.Cursor {
	return position.Cursor{API: &position.APIPos{Since: int64(r.next)}}
}
func (r *follower) Update(t source.Target) {
	r.opener.mu.Lock()
	defer r.opener.mu.Unlock()
	r.target = t
}
func (r *follower) mode() source.Mode {
	r.opener.mu.Lock()
	defer r.opener.mu.Unlock()
	return r.target.Mode
}
func (r *follower) Pause() time.Duration { return 10 * time.Millisecond }

func runs() *source.Container { return &source.Container{Running: true} }
func (r *follower) Close()    {}

func numbers(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func TestAStreamThatFindsNoRoomIsAskedAgainLater(t *testing.T) {
	o := &followers{upto: 20, pool: record.NewPool(1 << 20)}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	f.out.room = make(chan struct{})
	full := true
	f.out.answer = func(b *record.Batch) (record.Outcome, error) {
		if full && string(b.Line(0)) == "10" {
			return record.Failed, errors.New("full")
		}
		return record.Delivered, nil
	}
	tg := f.target("c")
	tg.Mode, tg.Container = source.Stream, runs()
	f.pool.Apply([]source.Target{tg})
	f.arrives("file:c", numbers(10)...)
	f.out.mu.Lock()
	full = false
	f.out.mu.Unlock()
	close(f.out.room)
	f.arrives("file:c", numbers(20)...)
}

func TestABrokenStreamGoesOnWhereItWas(t *testing.T) {
	o := &followers{upto: 10, pool: record.NewPool(1 << 20)}
	f := newFixture(t, map[source.Mode]source.Opener{source.Stream: o})
	tg := f.target("c")
	tg.Mode, tg.Container = source.Stream, runs()
	f.pool.Apply([]source.Target{tg})
	f.arrives("file:c", numbers(10)...)
	o.mu.Lock()
	o.fail, o.upto = io.ErrUnexpectedEOF, 30
	o.mu.Unlock()
	f.pool.Apply(nil)
	f.eventually("the old stream to end", func() bool { return f.pool.Figures().Targets[source.Stream] == 0 })
	f.pool.Apply([]source.Target{tg})
	f.arrives("file:c", numbers(30)...)
}

// A directory that is not there yet cannot be watched; once its log is found by the
// sweep, lines arrive at once.
func TestALogWhoseDirectoryComesLater(t *testing.T) {
	f := newFixture(t, nil)
	f.pool.Apply([]source.Target{f.target("later/a.log")})
	f.eventually("the job to be idle", func() bool { return f.state("file:later/a.log") == idle })
	if err := os.Mkdir(filepath.Join(f.dir, "later"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("later/a.log", "1\n")
	f.arrives("file:later/a.log", "1")
	f.eventually("the log to be idle", func() bool { return f.state("file:later/a.log") == idle })
	began := time.Now()
	f.write("later/a.log", "2\n")
	f.arrives("file:later/a.log", "1", "2")
	if took := time.Since(began); took > sweepInterval/2 {
		t.Errorf("a line took %v; the hint did not work", took)
	}
}
