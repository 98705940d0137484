package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/spool"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

const (
	sinkName   = "loki"
	batchLines = 5
	leaseBytes = 1 << 10
	refusedOf  = 11 // every so many lines the sink refuses one for good
)

// kind is what a journal is told.
type kind uint64

const (
	wasRead  kind = iota + 1 // lines of source below n were given to the dispatcher
	wasAcked                 // lines of source below n are acknowledged
	wasSaved                 // lines of source below n are in positions that were saved
	wasSent                  // line n of source was accepted by the sink
	wasHurt                  // health said degraded or worse
)

// journal is told what is certain. It outlives the rig.
type journal interface {
	note(k kind, source int, n int64)
}

// text is line n of a source; lineOf takes it apart and tells whether it is whole.
func text(source int, n int64) string {
	s := fmt.Sprintf("%d %07d some words that a program might log", source, n)
	return fmt.Sprintf("%s %08x", s, crc32.ChecksumIEEE([]byte(s)))
}

func lineOf(s string) (source int, n int64, ok bool) {
	first, rest, _ := strings.Cut(s, " ")
	second, _, _ := strings.Cut(rest, " ")
	source, err1 := strconv.Atoi(first)
	n, err2 := strconv.ParseInt(second, 10, 64)
	return source, n, err1 == nil && err2 == nil && s == text(source, n)
}

// scripted is the sink.
type scripted struct {
	down    atomic.Bool
	journal journal

	mu      sync.Mutex
	got     map[string]int // texts, with how often they came
	corrupt []string
}

var errDown = errors.New("connection refused")

func (s *scripted) Send(_ context.Context, views []record.View) error {
	if s.down.Load() {
		return errDown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rejected := &sink.RejectedError{}
	for i, v := range views {
		for e := v.From; e < v.To; e++ {
			line := string(v.Batch.Line(e))
			source, n, ok := lineOf(line)
			if !ok || v.Batch.Source.ID != sourceID(source) {
				s.corrupt = append(s.corrupt, line)
				continue
			}
			if n%refusedOf == 0 {
				rejected.Entries = append(rejected.Entries, sink.Rejection{View: i, Entry: e, Reason: "too_old", Detail: "entry too far behind"})
				continue
			}
			s.got[line]++
			s.journal.note(wasSent, source, n)
		}
	}
	if len(rejected.Entries) > 0 {
		return rejected
	}
	return nil
}

func (s *scripted) Close() error { return nil }

// origin is a source: it can be read again from any line.
type origin struct {
	r       *rig
	index   int
	src     *record.Source
	lines   int64
	tracker *position.Tracker
	next    int64
}

func sourceID(index int) string { return "container:" + strconv.Itoa(index) }

func at(n int64) position.Cursor { return position.Cursor{File: &position.FilePos{Offset: n}} }

func offset(c position.Cursor) int64 {
	if c.File == nil {
		return 0
	}
	return c.File.Offset
}

// run reads to the line end, again from the cursor whenever something failed, and
// returns when all of it was given to the dispatcher.
func (o *origin) run(ctx context.Context, end int64) error {
	for o.next < end {
		if o.tracker == nil {
			o.restart()
		}
		b := &record.Batch{Source: o.src, Arena: make([]byte, 0, 512)}
		b.Retain(1)
		to := min(o.next+batchLines, end)
		for n := o.next; n < to; n++ {
			b.Append(1_700_000_000_000_000_000+n, record.Stdout, []byte(text(o.index, n)))
		}
		o.tracker.Track(b, at(to))
		o.r.journal.note(wasRead, o.index, to)
		o.next = to
		if err := o.r.dispatcher.Deliver(ctx, b); err != nil || o.failed() {
			if err := o.again(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle waits until all that was read is acknowledged, and reads again what failed.
func (o *origin) settle(ctx context.Context) error {
	for {
		if o.tracker == nil || o.tracker.Settled() {
			return nil
		}
		if o.failed() {
			end := o.next
			if err := o.again(ctx); err != nil {
				return err
			}
			if err := o.run(ctx, end); err != nil {
				return err
			}
		}
		if !task.Sleep(ctx, pause) {
			return fmt.Errorf("source %d: %w with %d batches out", o.index, ctx.Err(), o.tracker.Outstanding())
		}
	}
}

func (o *origin) failed() bool { return o.tracker.Outstanding() == 0 && !o.tracker.Settled() }

func (o *origin) again(ctx context.Context) error {
	for o.tracker.Outstanding() > 0 {
		if !task.Sleep(ctx, pause) {
			return ctx.Err()
		}
	}
	o.next = offset(o.tracker.Acked())
	o.tracker = nil
	wait, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	if err := o.r.dispatcher.WaitRoom(wait, o.src.ID); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

func (o *origin) restart() {
	o.tracker = position.NewTracker(at(o.next), func(c position.Cursor) {
		o.r.journal.note(wasAcked, o.index, offset(c))
		o.r.store.Set(o.src.ID, c)
	}, func() {})
}

// rig is the part of the agent between its sources and a sink.
type rig struct {
	journal    journal
	disk       func(func()) // runs what reaches the disk
	store      *position.Store
	spool      *spool.Spool
	dispatcher *dispatch.Dispatcher
	lane       *dispatch.Lane
	sink       *scripted
	board      health.Board
	scope      *task.Scope
	sources    []*origin
	frozen     func() bool // nothing is saved any more: as if killed
}

// options of a rig; the zero values are right.
type options struct {
	sources  int
	lines    int64
	disk     func(func())
	wrap     func(spool.FS) spool.FS
	frozen   func() bool
	spoolMax int64
	segment  int64
}

// openRig opens what is in dir and starts delivering; the sources do not run yet.
func openRig(dir string, j journal, o options) (r *rig, err error) {
	if o.disk == nil {
		o.disk = func(f func()) { f() }
	}
	if o.wrap == nil {
		o.wrap = func(f spool.FS) spool.FS { return f }
	}
	if o.frozen == nil {
		o.frozen = func() bool { return false }
	}
	o.spoolMax, o.segment = cmp.Or(o.spoolMax, 64<<10), cmp.Or(o.segment, 2<<10)
	log := slog.New(slog.DiscardHandler)
	r = &rig{journal: j, disk: o.disk, frozen: o.frozen, sink: &scripted{journal: j, got: map[string]int{}}}
	var dead *deadletter.Writer
	o.disk(func() {
		if r.store, err = position.OpenStore(dir, log); err != nil {
			return
		}
		var under spool.FS
		if under, err = spool.Dir(filepath.Join(dir, "spool", sinkName)); err != nil {
			return
		}
		if r.spool, err = spool.Open("", o.spoolMax, spool.Options{FS: o.wrap(under), SegmentBytes: o.segment}); err != nil {
			return
		}
		if under, err = spool.Dir(filepath.Join(dir, deadletter.Dir, sinkName)); err == nil {
			dead, err = deadletter.Open(dir, sinkName, 1<<20, deadletter.Options{FS: o.wrap(under)})
		}
		if err != nil {
			err = errors.Join(err, r.spool.Close())
		}
	})
	if err != nil {
		return nil, err
	}
	config := dispatch.DefaultConfig()
	config.Batch = dispatch.BatchConfig{MaxBytes: leaseBytes, Linger: units.Duration(time.Millisecond)}
	config.Retry = dispatch.RetryConfig{Initial: units.Duration(time.Millisecond), Max: units.Duration(4 * time.Millisecond)}
	count := metrics.New()
	r.lane = dispatch.NewLane(dispatch.LaneDeps{
		Name: sinkName, Sink: r.sink, Spool: r.spool, Dead: dead, Config: config, Memory: 2 << 10,
		Metrics: count, Board: &r.board, Log: log,
	})
	r.dispatcher = dispatch.New([]*dispatch.Lane{r.lane}, config.RateLimit, count, log)
	for i := range o.sources {
		src := &record.Source{ID: sourceID(i), Kind: "container", Name: "c" + strconv.Itoa(i), CanWait: i == 0}
		src.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "container", Value: src.Name}}, nil)
		r.sources = append(r.sources, &origin{r: r, index: i, src: src, lines: o.lines, next: offset(r.store.Get(src.ID))})
	}
	r.scope = task.NewRoot(context.Background(), "rig", log)
	r.scope.Go("dispatcher", func(ctx context.Context) { r.dispatcher.Run(ctx, r.scope) })
	r.scope.Go("positions", r.save)
	r.scope.Go("health", r.watch)
	return r, nil
}

// save saves the positions often, and tells what is certain then.
func (r *rig) save(ctx context.Context) {
	for task.Sleep(ctx, 3*time.Millisecond) {
		_ = r.saveNow()
	}
}

func (r *rig) saveNow() (err error) {
	if r.frozen() {
		return errors.New("frozen")
	}
	r.disk(func() {
		cursors := r.store.All()
		if err = r.store.Save(); err != nil {
			r.board.Set("positions", health.Degraded, err.Error())
			return
		}
		r.board.Set("positions", health.Healthy, "")
		for id, c := range cursors {
			index, _ := strconv.Atoi(strings.TrimPrefix(id, "container:"))
			r.journal.note(wasSaved, index, offset(c))
		}
	})
	return err
}

// watch tells the journal when health is not well for another reason than the sink.
func (r *rig) watch(ctx context.Context) {
	for task.Sleep(ctx, time.Millisecond) {
		for _, c := range r.board.Report().Components {
			if c.Status != health.Healthy && !strings.Contains(c.Reason, errDown.Error()) {
				r.journal.note(wasHurt, 0, time.Now().UnixMilli())
			}
		}
	}
}

// ails tells whether health has a component for a reason that contains why.
func (r *rig) ails(component, why string) bool {
	for _, c := range r.board.Report().Components {
		if c.Name == component && strings.Contains(c.Reason, why) {
			return true
		}
	}
	return false
}

// load is the script: the sink is down until the streams have spilled a good part, is up
// for a while, is down again, and comes back at the end.
func (r *rig) load(ctx context.Context) error {
	r.sink.down.Store(true)
	errs := make(chan error, len(r.sources))
	half := make(chan struct{}, len(r.sources))
	for i := range r.sources {
		go func() {
			o := r.sources[i]
			err := o.run(ctx, o.lines/2)
			half <- struct{}{}
			if err == nil {
				err = o.run(ctx, o.lines)
			}
			if err == nil {
				err = o.settle(ctx)
			}
			errs <- err
		}()
	}
	for range len(r.sources) - 1 { // the first is a file: it waits for the sink
		<-half
	}
	r.sink.down.Store(false)
	var all []error
	for range r.sources {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// end delivers what is left and closes everything.
func (r *rig) end(ctx context.Context) error {
	r.dispatcher.Drain()
	var errs []error
	if !r.dispatcher.Drained(ctx) {
		errs = append(errs, errors.New("the queue did not drain"))
	}
	errs = append(errs, r.scope.Close(context.Background()), r.dispatcher.Close())
	if !r.frozen() {
		errs = append(errs, r.saveNow())
	}
	return errors.Join(errs...)
}

// copyTree copies files as a killed process leaves them.
func copyTree(from, to string) error { return os.CopyFS(to, os.DirFS(from)) }
