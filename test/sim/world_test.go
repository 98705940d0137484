package sim

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/source"
)

const containers = 6

// outputs are the names of a container's two streams, in the order of position.APIPos.
var outputs = [2]string{"out", "err"}

// world is all that is outside of the agent, and the script that it follows. It lives in a
// synctest bubble; its methods are the main goroutine's.
type world struct {
	t      *testing.T
	dice   dice
	rng    *rand.Rand // of the script
	pipe   *dockertest.Pipe
	engine *dockertest.Engine
	disk   *disk
	names  []string
	shops  map[string]*shop
	ledger *ledger
	trace  *trace
	boxes  []*box
	start  time.Time

	agenda agenda
	order  int
	events int

	agent  *agent // nil while none runs
	lives  int
	faults map[string]int
	// What is known of the life before.
	unclean, cut bool
	before       map[string]*door
	lastFaulty   map[string]bool
	frozen, gone bool // the engine

	clock  time.Duration // what the host's clock is ahead
	shaken bool          // it was set back since the last life began
}

// box is a container.
type box struct {
	id      string
	running bool
	started time.Time
	source  *record.Source
	last    int64 // time of its last record
	lastOf  [2]int64
	rate    time.Duration
}

func labels(id, output string) record.Labels {
	return record.Labels{{Name: "container", Value: id}, {Name: "stream", Value: output}}
}

func labelsOf(stream string) string {
	id, output, _ := strings.Cut(stream, ".")
	return labels(id, output).String()
}

func newWorld(t *testing.T, seed uint64) *world {
	d := dice(0).at(int64(seed))
	w := &world{
		t: t, dice: d, rng: rand.New(rand.NewPCG(seed, 1)), pipe: dockertest.NewPipe(), names: []string{"first", "second"},
		shops: map[string]*shop{}, start: time.Now(), faults: map[string]int{}, trace: &trace{start: time.Now()},
	}
	w.disk = newDisk(d, w.trace)
	w.engine = dockertest.Serve(t, w.pipe)
	w.engine.PerRecord = seed%2 == 1
	w.ledger = newLedger(w.names...)
	for _, name := range w.names {
		w.shops[name] = &shop{name: name, dice: d.of("shop", name), l: w.ledger, log: w.trace}
	}
	for i := range containers {
		id := fmt.Sprintf("c%02d", i)
		b := &box{id: id, running: true, started: time.Now(), rate: time.Duration(1+w.rng.IntN(60)) * time.Second}
		b.source = &record.Source{ID: "container:" + id, Kind: "container", Name: id}
		b.source.Streams[record.Stdout], b.source.Streams[record.Stderr] = record.NewStream(labels(id, outputs[0]), nil), record.NewStream(labels(id, outputs[1]), nil)
		w.engine.Create(dockertest.Container{ID: id, Name: id, Running: true, Started: b.started, Driver: "local"})
		w.boxes = append(w.boxes, b)
	}
	return w
}

func (w *world) problem(format string, args ...any) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.ledger.problem(format, args...)
}

func (w *world) faulty(dir string) bool { return w.lastFaulty[dir] }

// targets is what discovery would say.
func (w *world) targets() (out []source.Target) {
	for _, b := range w.boxes {
		out = append(out, source.Target{
			Source: b.source, Mode: source.Stream, Reason: "the script says so",
			Container: &source.Container{ID: b.id, Name: b.id, Running: b.running, Started: b.started},
		})
	}
	return out
}

// event is something that happens at a time.
type event struct {
	at    time.Time
	order int
	do    func()
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, k int) bool {
	return a[i].at.Before(a[k].at) || a[i].at.Equal(a[k].at) && a[i].order < a[k].order
}
func (a agenda) Swap(i, k int) { a[i], a[k] = a[k], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(x any) { *a = append(*a, x.(event)) }

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	x := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return x
}

// in has something done after a while.
func (w *world) in(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.agenda, event{time.Now().Add(d), w.order, do})
}

// between draws a time, short ones as likely as long ones.
func (w *world) between(from, to time.Duration) time.Duration {
	d := from
	for d < to && w.rng.IntN(4) > 0 {
		d *= 2
	}
	return min(d, to) + time.Duration(w.rng.Int64N(int64(from)))
}

// run follows the script for a while, and looks at everything every now and then.
func (w *world) run(during time.Duration) {
	w.startAgent()
	for _, b := range w.boxes {
		w.in(time.Second, func() { w.talk(b) })
	}
	w.in(time.Minute, w.mischief)
	const chapter = 2 * time.Hour
	for end := w.start.Add(during); time.Now().Before(end) && len(w.ledger.problems) == 0; {
		w.pass(min(chapter, time.Until(end)))
		w.settle()
	}
	w.stopAgent()
	w.bury()
}

// pass lets the script go on for a while.
func (w *world) pass(d time.Duration) {
	end := time.Now().Add(d)
	for len(w.agenda) > 0 && w.agenda[0].at.Before(end) {
		e := w.agenda[0]
		if w.sleep(time.Until(e.at)) {
			continue // the agent was killed before
		}
		heap.Pop(&w.agenda)
		e.do()
		synctest.Wait()
		if w.events++; w.events%1000 == 0 {
			runtime.GC() // while all goroutines stand still: at another time it would change their order
		}
	}
	for w.sleep(time.Until(end)) {
	}
}

// sleep waits, and returns true at once when the agent was killed at a call of the disk.
func (w *world) sleep(d time.Duration) (killed bool) {
	var died chan struct{}
	if w.agent != nil {
		died = w.agent.life.died
	}
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-timer.C:
		synctest.Wait()
		return false
	case <-died:
		w.killed()
		return true
	}
}

func (w *world) startAgent() {
	if w.agent != nil {
		return
	}
	w.lives++
	l := &life{number: w.lives, died: make(chan struct{}), faulty: map[string]bool{}}
	a, err := startAgent(w, l)
	w.note("life %d starts: %v", w.lives, err)
	if err != nil { // a disk that fails: what it left is as a kill leaves it
		w.faults["start refused"]++
		l.kill()
		w.unclean = true
		w.in(5*time.Second, w.startAgent)
		return
	}
	w.agent, w.shaken = a, false
	synctest.Wait()
}

func (w *world) stopAgent() {
	if w.agent == nil {
		return
	}
	a := w.agent
	w.agent, w.cut = nil, false
	if err := a.stop(); err != nil {
		w.problem("life %d ends: %v", a.life.number, err)
	}
	w.lastFaulty = a.life.faulty
	synctest.Wait()
	w.note("life %d ended", a.life.number)
}

// killed is the end of a life that was killed. With power, the disk forgets as well.
func (w *world) killed() {
	a := w.agent
	a.life.kill()
	w.stopAgent()
	if w.cut = a.life.power; w.cut {
		w.disk.powerCut(int64(w.lives))
	}
	w.in(w.between(time.Second, 10*time.Minute), w.startAgent)
}

func (w *world) note(format string, args ...any) { w.trace.note(format, args...) }

// settle ends all faults, waits until everything has arrived, and checks that nothing is
// missing and that the books are right.
func (w *world) settle() {
	w.peace()
	patience := time.Now().Add(4 * time.Hour)
	for {
		w.sleep(10 * time.Second)
		w.startAgent()
		if w.agent != nil && w.agent.idle() && w.ledger.missing() == 0 {
			break
		}
		if time.Now().After(patience) {
			w.problem("not everything has arrived after four quiet hours: %d lines are missing", w.ledger.missing())
			break
		}
	}
	w.ledger.complete()
	if w.agent == nil {
		return
	}
	if err := w.agent.balanced(); err != nil {
		w.problem("the books of life %d are wrong: %v", w.agent.life.number, err)
	}
	for _, l := range w.agent.dispatcher.Lanes() {
		if lost := l.Stats().Damage; lost.LostLines > 0 && !w.disk.uncut["spool/"+l.Name()] {
			w.problem("the spool of %s lost lines: %+v", l.Name(), lost)
		}
	}
	w.note("all is well: %d lines", w.ledger.total())
}

// peace ends all faults that are under way.
func (w *world) peace() {
	for _, s := range w.shops {
		s.set(well)
	}
	w.disk.mend()
	w.wakeEngine()
	if w.agent != nil {
		w.agent.life.spare()
	}
}

// change puts new doors in the place of the sinks, while everything runs.
func (w *world) change() {
	if w.agent == nil {
		return
	}
	doors := map[string]sink.Sink{}
	for _, name := range w.names {
		if w.rng.IntN(2) == 0 {
			d := &door{s: w.shops[name], life: w.agent.life}
			doors[name] = d
			w.agent.doors[name] = d
		}
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	w.agent.dispatcher.Change(ctx, dispatch.Change{Config: settings(), Memory: laneMemory, Sinks: doors})
}

// bury checks the dead letters: every line that was refused is there.
func (w *world) bury() {
	for _, name := range w.names {
		w.ledger.buried(name, w.disk.copyOf("dead/"+name), w.disk.hurt["dead/"+name])
	}
}

// digest is what the run was: the trace, and every byte on the disk.
func (w *world) digest() string {
	h := sha256.New()
	w.trace.sort()
	for _, l := range w.trace.lines {
		fmt.Fprintln(h, l)
	}
	fmt.Fprint(h, w.disk.digest())
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}
