package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/spool"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

// scripted is a sink whose answers the test decides.
type scripted struct {
	mu     sync.Mutex
	answer func(views []record.View) error
	lines  []string
	sends  int
	busy   atomic.Bool
	closed atomic.Bool
}

func (s *scripted) Send(ctx context.Context, views []record.View) error {
	if s.busy.Swap(true) {
		panic("a second Send at the same time")
	}
	defer s.busy.Store(false)
	if s.closed.Load() {
		panic("a Send after Close")
	}
	s.mu.Lock()
	s.sends++
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if err := answer(views); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range views {
		for i := v.From; i < v.To; i++ {
			s.lines = append(s.lines, string(v.Batch.Line(i)))
		}
	}
	return ctx.Err()
}

func (s *scripted) Close() error {
	s.closed.Store(true)
	return nil
}

func (s *scripted) set(answer func([]record.View) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *scripted) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

var errDown = errors.New("connection refused")

func down([]record.View) error { return errDown }

// fixture is a dispatcher over scripted sinks.
type fixture struct {
	t       *testing.T
	d       *Dispatcher
	sinks   map[string]*scripted
	scope   *task.Scope
	pool    *record.Pool
	metrics *metrics.Metrics
	board   *health.Board
	config  Config
	dir     string
}

// newFixture makes one over required sinks; those whose name begins with "may" are
// best_effort ones.
func newFixture(t *testing.T, memory, spoolBytes int64, names ...string) *fixture {
	t.Helper()
	return newFixtureWith(t, memory, spoolBytes, func(*Config) {}, names...)
}

func newFixtureWith(t *testing.T, memory, spoolBytes int64, settings func(*Config), names ...string) *fixture {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	f := &fixture{
		t: t, sinks: map[string]*scripted{}, pool: record.NewPool(1 << 30), metrics: metrics.New(), board: &health.Board{},
		scope: task.NewRoot(context.Background(), "test", log),
	}
	f.config = DefaultConfig()
	f.config.Batch.Linger = units.Duration(time.Millisecond)
	f.config.Retry = RetryConfig{Initial: units.Duration(time.Millisecond), Max: units.Duration(5 * time.Millisecond)}
	settings(&f.config)
	f.dir = t.TempDir()
	var lanes []*Lane
	for _, name := range names {
		lanes = append(lanes, f.lane(name, memory, spoolBytes))
	}
	f.d = New(lanes, f.config.RateLimit, f.metrics, log)
	f.scope.Go("dispatcher", func(ctx context.Context) { f.d.Run(ctx, f.scope) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(f.scope.Close(ctx), f.d.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// lane makes one over a new scripted sink; its spool and dead letters go on where they were.
func (f *fixture) lane(name string, memory, spoolBytes int64) *Lane {
	f.t.Helper()
	sp, err := spool.Open(f.dir+"/spool/"+name, spoolBytes, spool.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	dead, err := deadletter.Open(f.dir, name, 1<<20, deadletter.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	delivery := sink.Required
	if strings.HasPrefix(name, "may") {
		delivery = sink.BestEffort
	}
	f.sinks[name] = &scripted{}
	return NewLane(LaneDeps{
		Name: name, Sink: f.sinks[name], Spool: sp, Dead: dead, Config: f.config, Memory: memory, Delivery: delivery,
		Metrics: f.metrics, Board: f.board, Log: slog.New(slog.DiscardHandler),
	})
}

// outcomes records what became of batches.
type outcomes struct {
	mu  sync.Mutex
	all map[int]record.Outcome
}

func (o *outcomes) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all)
}

func (f *fixture) source(id string, canWait bool) *record.Source {
	s := &record.Source{ID: id, Kind: "file", Name: id, CanWait: canWait}
	s.Streams[record.OutputNone] = record.NewStream(record.Labels{{Name: "id", Value: id}}, nil)
	return s
}

// batch is one line in a small arena (4 KiB).
func (f *fixture) batch(src *record.Source, n int, o *outcomes) *record.Batch {
	b := f.pool.Force(1)
	b.Source = src
	b.Append(time.Now().UnixNano(), record.OutputNone, fmt.Appendf(nil, "%s-%d", src.ID, n))
	b.OnDone(func(r record.Outcome) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.all == nil {
			o.all = map[int]record.Outcome{}
		}
		o.all[n] = r
	})
	return b
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

// books returns what a sink's lane says of lines: where they are and what became of them.
func (f *fixture) books(name string) (acked, inside, dead, dropped int) {
	f.t.Helper()
	for _, l := range f.d.Lanes() {
		if l.Name() == name {
			st := l.Stats()
			inside = int(st.MemoryLines + st.SpoolLines)
		}
	}
	sum := func(c *prometheus.CounterVec) (n int) {
		families, err := f.metrics.Registry.Gather()
		if err != nil {
			f.t.Fatal(err)
		}
		desc := make(chan *prometheus.Desc, 1)
		c.Describe(desc)
		want := (<-desc).String()
		for _, family := range families {
			if !strings.Contains(want, `"`+family.GetName()+`"`) {
				continue
			}
			for _, m := range family.GetMetric() {
				for _, label := range m.GetLabel() {
					if label.GetName() == "sink" && label.GetValue() == name {
						n += int(m.GetCounter().GetValue())
					}
				}
			}
		}
		return n
	}
	return sum(f.metrics.LinesAcked), inside, sum(f.metrics.DeadLettered), sum(f.metrics.LinesDropped)
}

// balanced waits until a sink's books say that they know of every line that was read.
func (f *fixture) balanced(name string, read int) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("sink %s: books over %d lines", name, read), func() bool {
		acked, inside, dead, dropped := f.books(name)
		return acked+inside+dead+dropped == read
	})
}

func lines(id string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%d", id, i))
	}
	return out
}

func TestEverySinkGetsEverythingInOrder(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "a", "b")
	src, o := f.source("s", true), &outcomes{}
	for i := range 500 {
		if err := f.d.Deliver(t.Context(), f.batch(src, i, o)); err != nil {
			t.Fatal(err)
		}
	}
	f.eventually("500 answers", func() bool { return o.count() == 500 })
	for name, s := range f.sinks {
		f.eventually("500 lines, in order, at sink "+name, func() bool { return slices.Equal(s.got(), lines("s", 500)) })
	}
	if f.pool.Used() != 0 {
		t.Errorf("%d bytes still in flight", f.pool.Used())
	}
}

func TestADeadSinkHoldsUpNobodyElse(t *testing.T) {
	f := newFixture(t, 20*record.SmallArena, 1<<20, "dead", "alive")
	f.sinks["dead"].set(down)
	src, o := f.source("s", true), &outcomes{}
	for i := range 300 {
		if err := f.d.Deliver(t.Context(), f.batch(src, i, o)); err != nil {
			t.Fatal(err)
		}
	}
	f.eventually("all lines at the sink that works", func() bool { return len(f.sinks["alive"].got()) == 300 })
	f.eventually("degraded health", func() bool { return f.board.Report().Status == health.Degraded })
	f.sinks["dead"].set(nil)
	f.eventually("all lines at the sink that came back", func() bool { return len(f.sinks["dead"].got()) == 300 })
	if got := f.sinks["dead"].got(); !slices.Equal(got, lines("s", 300)) {
		t.Errorf("out of order: %.200q", got)
	}
	f.eventually("300 answers", func() bool { return o.count() == 300 })
	f.eventually("health", func() bool { return f.board.Report().Status == health.Healthy })
}

func TestFilesWaitForTheOnlySink(t *testing.T) {
	f := newFixture(t, 10*record.SmallArena, 1<<20, "only")
	f.sinks["only"].set(down)
	src, o := f.source("s", true), &outcomes{}
	delivered := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := f.d.Deliver(ctx, f.batch(src, delivered, o))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if delivered++; delivered > 50 {
			t.Fatal("no back-pressure")
		}
	}
	if st := f.d.Lanes()[0].Stats(); st.SpoolLines != 0 {
		t.Errorf("%d lines were spooled that could stay in their file", st.SpoolLines)
	}
	f.sinks["only"].set(nil)
	if err := f.d.Deliver(t.Context(), f.batch(src, delivered, o)); err != nil {
		t.Fatal(err)
	}
	f.eventually("the rest", func() bool { return slices.Equal(f.sinks["only"].got(), lines("s", delivered+1)) })
}

// A file that finds no memory has kept room on disk while it asked; it gives that back.
func TestWhoHadToWaitKeepsNoRoom(t *testing.T) {
	f := newFixture(t, 4*record.SmallArena, 2<<10, "only")
	f.sinks["only"].set(down)
	file, o := f.source("file", true), &outcomes{}
	waited := 0
	for i := 0; waited < 20; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := f.d.Deliver(ctx, f.batch(file, i, o)); err != nil {
			waited++
		}
		cancel()
	}
	for i := range 3 { // the first takes what a file leaves of the memory
		if err := f.d.Deliver(t.Context(), f.batch(f.source(fmt.Sprint("stream", i), false), 0, o)); err != nil {
			t.Errorf("stream %d: %v", i, err)
		}
	}
	if st := f.d.Lanes()[0].Stats(); st.SpoolBytes == 0 {
		t.Error("nothing went to the spool: the test shows nothing")
	}
}

func TestStreamsGoToTheSpoolAndAreRefusedWhenItIsFull(t *testing.T) {
	f := newFixture(t, 10*record.SmallArena, 64<<10, "only")
	f.sinks["only"].set(down)
	src, o := f.source("s", false), &outcomes{}
	n := 0
	for ; ; n++ {
		if n > 5000 {
			t.Fatal("the spool never fills")
		}
		err := f.d.Deliver(t.Context(), f.batch(src, n, o))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 100 {
		t.Errorf("only %d lines fitted", n)
	}
	f.eventually("the spooled lines to be acknowledged", func() bool { return o.count() > n/2 })
	f.sinks["only"].set(nil)
	if err := f.d.WaitRoom(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	f.eventually("what was accepted, in order", func() bool { return slices.Equal(f.sinks["only"].got(), lines("s", n)) })
	f.eventually("every answer", func() bool { return o.count() == n+1 && o.all[n] == record.Failed && o.all[n-1] == record.Delivered })
}

func TestRefusedEntriesBecomeDeadLetters(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "loki")
	f.sinks["loki"].set(func(views []record.View) error {
		return &sink.RejectedError{Entries: []sink.Rejection{{View: 0, Entry: views[0].From, Reason: "too_old", Detail: "says Loki"}}}
	})
	src, o := f.source("s", true), &outcomes{}
	b := f.batch(src, 0, o)
	for i := range 9 {
		b.Append(int64(i), record.OutputNone, []byte("good"))
	}
	if err := f.d.Deliver(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	f.eventually("an answer", func() bool { return o.count() == 1 })
	if o.all[0] != record.Delivered {
		t.Error("a batch with a dead letter is not delivered")
	}
	if f.sinks["loki"].sends != 1 {
		t.Errorf("sent %d times, want once", f.sinks["loki"].sends)
	}
	acked := testutil.ToFloat64(f.metrics.LinesAcked.WithLabelValues("loki"))
	dead := testutil.ToFloat64(f.metrics.DeadEntries.WithLabelValues("loki", "too_old"))
	if acked != 9 || dead != 1 || f.d.Lanes()[0].Dead().Lines != 1 {
		t.Errorf("acked %v, dead %v, on disk %d; want 9, 1, 1", acked, dead, f.d.Lanes()[0].Dead().Lines)
	}
}

func TestTheSinkSaysWhenToComeBack(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "loki")
	const pause = 300 * time.Millisecond
	first := true
	f.sinks["loki"].set(func([]record.View) error {
		if first {
			first = false
			return &sink.RetryError{After: pause, Err: errors.New("429 Too Many Requests")}
		}
		return nil
	})
	o := &outcomes{}
	began := time.Now()
	if err := f.d.Deliver(t.Context(), f.batch(f.source("s", true), 0, o)); err != nil {
		t.Fatal(err)
	}
	f.eventually("delivery", func() bool { return o.count() == 1 })
	if took := time.Since(began); took < pause {
		t.Errorf("tried again after %v, want %v at least", took, pause)
	}
}

func TestDrainDeliversWhatIsThereAndEnds(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "a")
	o := &outcomes{}
	for i := range 100 {
		if err := f.d.Deliver(t.Context(), f.batch(f.source("s", true), i, o)); err != nil {
			t.Fatal(err)
		}
	}
	f.d.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if !f.d.Drained(ctx) || len(f.sinks["a"].got()) != 100 {
		t.Fatalf("drained with %d of 100 lines delivered", len(f.sinks["a"].got()))
	}
}

// reopened returns the lines in a sink's spool at the next start.
func (f *fixture) reopened(name string) int64 {
	f.t.Helper()
	sp, err := spool.Open(f.dir+"/spool/"+name, 1<<20, spool.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	defer sp.Close()
	return sp.Lines()
}

// Neither lost nor sent twice: what no sink took is on disk for the next start.
func TestWhatIsLeftAtTheEndIsKeptInTheSpool(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "a")
	f.sinks["a"].set(down)
	o := &outcomes{}
	for i := range 10 {
		if err := f.d.Deliver(t.Context(), f.batch(f.source("s", true), i, o)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.scope.Close(t.Context()), f.d.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if r, ok := o.all[i]; !ok || r != record.Delivered {
			t.Errorf("batch %d: %v %v, want it taken over by the spool", i, r, ok)
		}
	}
	if got := f.reopened("a"); got != 10 {
		t.Errorf("%d lines in the spool, want 10", got)
	}
}

// A full spool behind a dead sink refuses a stream before another sink has taken it.
func TestAFullSpoolRepeatsNothingElsewhere(t *testing.T) {
	f := newFixture(t, 4*record.SmallArena, 16<<10, "dead", "alive")
	f.sinks["dead"].set(down)
	src, o := f.source("s", false), &outcomes{}
	accepted := 0
	for ; accepted < 5000; accepted++ {
		if err := f.d.Deliver(t.Context(), f.batch(src, accepted, o)); errors.Is(err, ErrFull) {
			break
		}
	}
	for n := range 20 { // tried again and again meanwhile
		if err := f.d.Deliver(t.Context(), f.batch(src, accepted+n, o)); !errors.Is(err, ErrFull) {
			t.Fatalf("try %d: %v, want ErrFull", n, err)
		}
	}
	f.eventually("the other sink", func() bool { return len(f.sinks["alive"].got()) == accepted })
	if got := f.sinks["alive"].got(); !slices.Equal(got, lines("s", accepted)) {
		t.Errorf("the other sink got %d lines of %d", len(got), accepted)
	}
}

// Who is refused by one sink has been given to none, however many come at once: what
// is asked again later shows up once.
func TestARefusedBatchWasGivenToNobody(t *testing.T) {
	f := newFixture(t, 4*record.SmallArena, 1<<10, "alive", "ailing")
	fails := 0
	f.sinks["ailing"].set(func([]record.View) error { // so its spool fills and empties over and over
		if fails++; fails%4 != 0 {
			return errDown
		}
		return nil
	})
	const sources, each = 16, 40
	var refused atomic.Int64
	var wg sync.WaitGroup
	for i := range sources {
		src := f.source(fmt.Sprint("s", i), false)
		wg.Go(func() {
			for n := 0; n < each; {
				switch err := f.d.Deliver(t.Context(), f.batch(src, n, &outcomes{})); {
				case err == nil:
					n++
				case errors.Is(err, ErrFull):
					refused.Add(1)
					if err := f.d.WaitRoom(t.Context(), src.ID); err != nil {
						t.Error(err)
					}
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Fatal("nobody was refused: the test shows nothing")
	}
	alive := f.sinks["alive"]
	f.eventually("what was accepted", func() bool { return len(alive.got()) >= sources*each })
	got := alive.got()
	slices.Sort(got)
	if once := slices.Compact(slices.Clone(got)); len(once) != len(got) {
		t.Errorf("%d of %d lines came, %d of them twice", len(got), sources*each, len(got)-len(once))
	}
}

func TestALaneSurvivesAPanickingSink(t *testing.T) {
	f := newFixture(t, 1<<20, 1<<20, "a")
	panicked := false
	f.sinks["a"].set(func([]record.View) error {
		if !panicked {
			panicked = true
			panic("a bug in a sink")
		}
		return nil
	})
	o := &outcomes{}
	if err := f.d.Deliver(t.Context(), f.batch(f.source("s", true), 0, o)); err != nil {
		t.Fatal(err)
	}
	f.eventually("delivery", func() bool { return o.count() == 1 })
	if o.all[0] != record.Delivered || f.scope.Panics() != 1 {
		t.Errorf("outcome %v after %d panics", o.all[0], f.scope.Panics())
	}
}
