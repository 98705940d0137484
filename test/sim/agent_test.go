package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/pool"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/dockerapi"
	"github.com/logcapturer/log_capturer/internal/spool"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

// The agent's settings: everything is small, so that every limit is met.
const (
	laneMemory   = 48 << 10
	spoolBytes   = 128 << 10
	segmentBytes = 8 << 10
	deadBytes    = 64 << 20
	streams      = 3
	pollInterval = 15 * time.Second
	turnInterval = 10 * time.Minute
	shutdown     = 10 * time.Second
)

var quiet = slog.New(slog.DiscardHandler)

// agent is one life of the real parts, put together as package app does.
type agent struct {
	w          *world
	life       *life
	wire       *wire
	client     *docker.Client
	store      *position.Store
	pool       *pool.Pool
	dispatcher *dispatch.Dispatcher
	doors      map[string]*door
	metrics    *metrics.Metrics
	read       atomic.Int64

	root, sources, delivery *task.Scope

	mu      sync.Mutex
	opened  map[string]bool // sources that were opened in this life
	unclean bool            // the life before did not end as it should
	shaken  bool            // the clock was set back in it, or since
}

func settings() dispatch.Config {
	c := dispatch.DefaultConfig()
	c.Batch = dispatch.BatchConfig{MaxBytes: 4 << 10, Linger: units.Duration(250 * time.Millisecond)}
	return c
}

// startAgent opens what is on the disk and starts everything. An error is one of the disk.
func startAgent(w *world, l *life) (a *agent, err error) {
	a = &agent{
		w: w, life: l, wire: &wire{pipe: w.pipe, dice: w.dice, log: w.trace, conns: map[net.Conn]bool{}}, metrics: metrics.New(),
		doors: map[string]*door{}, opened: map[string]bool{}, unclean: w.unclean, shaken: w.shaken,
	}
	if a.store, err = position.OpenStoreFS(positionFS{folder{w.disk, l, "positions"}}, "", quiet); err != nil {
		return nil, err
	}
	for id, saved := range w.disk.lasting() {
		if w.shaken {
			break // times say nothing
		}
		if now := a.store.Get(id); now.API == nil || now.API.Streams[0].Time < saved.API.Streams[0].Time || now.API.Streams[1].Time < saved.API.Streams[1].Time {
			w.problem("life %d goes on with %s from %+v, and %+v was saved", l.number, id, now.API, saved.API)
		}
	}
	var lanes []*dispatch.Lane
	for _, name := range w.names {
		lane, err := a.lane(name)
		if err != nil {
			for _, l := range lanes {
				err = errors.Join(err, l.Discard())
			}
			return nil, err
		}
		lanes = append(lanes, lane)
	}
	a.dispatcher = dispatch.New(lanes, settings().RateLimit, a.metrics, quiet)
	if a.client, err = docker.NewWithDial("tcp://127.0.0.1:1", a.wire.dial); err != nil {
		return nil, errors.Join(err, a.dispatcher.Close())
	}
	turns := dockerapi.NewTurns(turnInterval)
	turns.Random = func() float64 { return w.dice.of("turn").now().number() }
	opener := &dockerapi.Opener{
		Engine: a.client, Pool: record.NewPool(1 << 20), MaxLine: 1 << 20, Stats: &dockerapi.Stats{},
		PollInterval: pollInterval, Turns: turns, Log: quiet,
	}
	a.root = task.NewRoot(context.Background(), "agent", quiet)
	a.sources, a.delivery = a.root.Child("sources"), a.root.Child("delivery")
	a.pool = pool.New(pool.Deps{
		Name: "containers", Scope: a.sources.Child("containers"), Store: a.store, Dispatcher: tap{a.dispatcher, a}, Workers: 2,
		Openers: map[source.Mode]source.Opener{source.Stream: watched{opener, a}},
		Arena:   record.NewPool(1 << 20), Streams: streams, PollInterval: pollInterval,
		Forget: func(string) {},
		Read:   func(_ *record.Source, lines, _ int) { a.read.Add(int64(lines)) },
		Lost: func(reason string, lines int64) {
			if !w.ledger.shaking() || reason != source.LostGap { // a clock that was set back looks like one
				w.problem("%d lines are told to be lost: %s", lines, reason)
			}
		},
		Log: quiet,
	})
	a.delivery.Go("positions", a.store.Run)
	a.delivery.Go("dispatcher", func(ctx context.Context) { a.dispatcher.Run(ctx, a.delivery) })
	a.sources.Go("pool", a.pool.Run)
	a.pool.Apply(w.targets())
	return a, nil
}

// lane opens the spool and the dead letters of a sink. What is in the spool and has
// arrived already comes again: see excuse.
func (a *agent) lane(name string) (*dispatch.Lane, error) {
	w := a.w
	left := contents(w.disk.copyOf("spool/" + name))
	salt := uint32(w.dice.of("salt", name)) | 1
	sp, err := spool.Open("", spoolBytes, spool.Options{FS: spoolFS{folder{w.disk, a.life, "spool/" + name}}, SegmentBytes: segmentBytes, Salt: salt})
	if err != nil {
		return nil, err
	}
	// What could not be cut off for good may come back, and look like a loss.
	if damage := sp.Stats().Damage; !w.disk.uncut["spool/"+name] && (damage.LostLines > 0 || damage.Holes > 0 || damage.SetAside > 0) {
		w.problem("the spool of %s is damaged: %+v", name, damage)
	}
	dead, err := deadletter.Open("", name, deadBytes, deadletter.Options{FS: spoolFS{folder{w.disk, a.life, "dead/" + name}}})
	if err != nil {
		return nil, errors.Join(err, sp.Close())
	}
	a.excuse(name, left)
	a.doors[name] = &door{s: w.shops[name], life: a.life}
	return dispatch.NewLane(dispatch.LaneDeps{
		Name: name, Sink: a.doors[name], Spool: sp, Dead: dead, Config: settings(), Memory: laneMemory, Delivery: sink.Required,
		Random:  func() float64 { return w.dice.of("pause", name).now().number() },
		Metrics: a.metrics, Board: &health.Board{}, Log: quiet,
	}), nil
}

// contents returns the lines in a spool, by batch.
func contents(d *disk) (batches [][]line) {
	for name := range d.dirs {
		sp, err := spool.Open("", spoolBytes, spool.Options{FS: spoolFS{folder{d, &life{}, name}}})
		if err != nil {
			return nil // the agent will meet it too
		}
		for {
			b, _, err := sp.Read()
			if err != nil {
				break
			}
			var lines []line
			for i := range b.Entries {
				if id, ok := lineOf(string(b.Line(i))); ok {
					lines = append(lines, id)
				}
			}
			batches = append(batches, lines)
		}
		_ = sp.Close() // it is a copy
	}
	return batches
}

// excuse allows that lines come again which are in the spool though they have arrived:
// after a power cut all, since the position of the spool is durable with the next sync;
// else those of the first batch, which may have been delivered in part, and of the last
// Send, which nobody may have been told of.
func (a *agent) excuse(name string, left [][]line) {
	last := map[line]bool{}
	if before := a.w.before[name]; before != nil && (a.unclean || before.graved) {
		for _, id := range before.last {
			last[id] = true
		}
	}
	for i, batch := range left {
		came := a.w.ledger.came(name, batch)
		for _, id := range came {
			if i == 0 || last[id] || a.w.cut || a.w.faulty("spool/"+name) {
				a.w.ledger.excuse(name, []line{id})
			}
		}
	}
}

// tap tells the ledger what readers hand over.
type tap struct {
	*dispatch.Dispatcher
	a *agent
}

// Deliver hands on. What is refused was given to no lane.
func (t tap) Deliver(ctx context.Context, b *record.Batch) error {
	lines := t.a.w.ledger.known(b)
	t.a.w.trace.detail("delivers %d of %s", len(lines), b.Source.ID)
	err := t.Dispatcher.Deliver(ctx, b)
	if err == nil {
		t.a.w.ledger.handed(lines)
	}
	return err
}

// WaitRoom takes a time of its own, or chance would decide who of those that wait for the
// same room comes first: their timers are due at the same instant.
func (t tap) WaitRoom(ctx context.Context, id string) error {
	err := t.Dispatcher.WaitRoom(ctx, id)
	task.Sleep(ctx, t.a.w.dice.of("room", id).now().between(time.Microsecond, time.Millisecond))
	return err
}

// watched sees where readers begin.
type watched struct {
	source.Opener
	a *agent
}

// Open opens a reader, and judges whether it may begin there.
func (o watched) Open(ctx context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	a := o.a
	id := strings.TrimPrefix(t.Source.ID, "container:")
	var times [2]int64
	if from.API != nil {
		times = [2]int64{from.API.Streams[0].Time, from.API.Streams[1].Time}
	}
	a.mu.Lock()
	first := !a.opened[id]
	a.opened[id] = true
	excused := first && (a.unclean || a.shaken) || a.readAgain() > 0
	a.mu.Unlock()
	if excused {
		a.w.ledger.again(id, times)
	} else if n := a.w.ledger.handedBehind(id, times); n > 0 {
		a.w.problem("life %d reads %d lines of %s again for no reason (first %v)", a.life.number, n, id, first)
	}
	return o.Opener.Open(ctx, t, from)
}

// reasons are those for which lanes give lines up.
var reasons = []string{"read_again", "not_spooled", "rate_limit", "drop_oldest", "drop_newest"}

// readAgain returns the lines that were accepted and then not kept.
func (a *agent) readAgain() (lines int64) {
	for _, name := range a.w.names {
		lines += int64(testutil.ToFloat64(a.metrics.LinesDropped.WithLabelValues(name, "read_again")))
	}
	return lines
}

// accounted returns the lines that a sink was given and that left the lane.
func (a *agent) accounted(name string) (lines int64) {
	total := testutil.ToFloat64(a.metrics.LinesAcked.WithLabelValues(name)) + testutil.ToFloat64(a.metrics.DeadLettered.WithLabelValues(name))
	for _, why := range reasons {
		total += testutil.ToFloat64(a.metrics.LinesDropped.WithLabelValues(name, why))
	}
	return int64(total)
}

// stop ends the agent as package app does, or, when it was killed, takes away what is
// left of it.
func (a *agent) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if a.life.isDead() {
		a.wire.cut()
	}
	err := a.sources.Close(ctx)
	if !a.life.isDead() {
		a.dispatcher.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), shutdown)
		defer cancel()
		a.dispatcher.Drained(ctx)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	err = errors.Join(err, a.delivery.Close(ctx))
	disk := errors.Join(a.dispatcher.Close(), a.store.Save())
	err = errors.Join(err, a.root.Close(ctx))
	a.client.Close()
	if n := a.root.Panics(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d panics", n))
	}
	if n := a.client.OpenStreams(); n != 0 {
		err = errors.Join(err, fmt.Errorf("%d streams are open after the end", n))
	}
	// What a disk did not take is read again.
	a.w.unclean = a.life.isDead() || disk != nil || a.readAgain() > 0
	a.w.before = a.doors
	for name, d := range a.doors { // it goes to the spool behind what is there: see queue.Park
		a.w.ledger.late(name, d.trying)
	}
	return err
}

// balanced checks the books of each sink: what was read is somewhere.
func (a *agent) balanced() error {
	for _, l := range a.dispatcher.Lanes() {
		st, name := l.Stats(), l.Name()
		in := a.read.Load() + l.Restored()
		out := st.MemoryLines + st.SpoolLines + l.Missed() + a.accounted(name)
		if in != out {
			return fmt.Errorf("%s: %d lines were read or restored, and %d are accounted for (%+v)", name, in, out, st)
		}
	}
	return nil
}

// idle tells whether all that was read is delivered.
func (a *agent) idle() bool {
	for _, l := range a.dispatcher.Lanes() {
		if st := l.Stats(); st.MemoryLines+st.SpoolLines > 0 {
			return false
		}
	}
	return true
}
