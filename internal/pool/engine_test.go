package pool

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/dockerapi"
	"github.com/logcapturer/log_capturer/internal/task"
)

// numbered is a dispatcher that counts lines that are numbered from 0, by source.
type numbered struct {
	mu    sync.Mutex
	next  map[string]int
	lines int
	wrong []string
	// entries are fewer than lines where some belong together.
	entries int
}

func (n *numbered) Deliver(_ context.Context, b *record.Batch) error {
	n.mu.Lock()
	for i := range b.Entries {
		n.entries++
		for line := range strings.SplitSeq(string(b.Line(i)), "\n") {
			seq, _ := strconv.Atoi(line)
			if want := n.next[b.Source.ID]; seq != want {
				n.wrong = append(n.wrong, fmt.Sprintf("%s: %d instead of %d", b.Source.ID, seq, want))
			}
			n.next[b.Source.ID] = seq + 1
			n.lines++
		}
	}
	n.mu.Unlock()
	b.Done(record.Delivered)
	return nil
}

func (n *numbered) Ready(string) bool { return true }

func (n *numbered) Freed() <-chan struct{} { return nil }

func (n *numbered) WaitRoom(context.Context, string) error { return nil }

func (n *numbered) of(id string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.next[id]
}

// host is an engine in memory whose containers a pool reads through the real client. It
// lives in a synctest bubble.
type host struct {
	t       *testing.T
	engine  *dockertest.Engine
	client  *docker.Client
	stats   *dockerapi.Stats
	pool    *Pool
	scope   *task.Scope
	out     *numbered
	ids     []string
	targets []source.Target
	written map[string]int
	lines   *multiline.Matcher
}

type hostOptions struct {
	containers, streams int
	multiline           *multiline.Matcher
	rotation, poll      time.Duration
}

func newHost(t *testing.T, o hostOptions) *host {
	t.Helper()
	pipe := dockertest.NewPipe()
	h := &host{t: t, engine: dockertest.Serve(t, pipe), stats: &dockerapi.Stats{}, out: &numbered{next: map[string]int{}}, written: map[string]int{}, lines: o.multiline}
	var err error
	if h.client, err = docker.NewWithDial("tcp://127.0.0.1:1", pipe.Dial); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	store, err := position.OpenStore(t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	opener := &dockerapi.Opener{Engine: h.client, Pool: record.NewPool(1 << 26), MaxLine: 1 << 20, Stats: h.stats, PollInterval: o.poll, Log: log}
	if o.rotation > 0 {
		opener.Turns = dockerapi.NewTurns(o.rotation)
	}
	h.scope = task.NewRoot(t.Context(), "test", log)
	h.pool = New(Deps{
		Name: "containers", Scope: h.scope.Child("containers"), Store: store, Dispatcher: h.out, Workers: 2,
		Openers: map[source.Mode]source.Opener{source.Stream: opener},
		Arena:   record.NewPool(1 << 20), Streams: o.streams, PollInterval: o.poll,
		Forget: func(string) {}, Read: func(*record.Source, int, int) {}, Lost: func(string, int64) {}, Log: log,
	})
	h.scope.Go("pool", h.pool.Run)
	for i := range o.containers {
		h.add(i)
	}
	h.pool.Apply(h.targets)
	t.Cleanup(h.close)
	return h
}

func (h *host) add(i int) {
	id := fmt.Sprintf("c%04d", i)
	h.engine.Create(dockertest.Container{ID: id, Name: id, Running: true, Started: time.Now(), Driver: "local"})
	labels := record.Labels{{Name: "container", Value: id}}
	src := &record.Source{ID: "container:" + id, Kind: "container", Name: id}
	src.Streams[record.Stdout], src.Streams[record.Stderr] = record.NewStream(labels, nil), record.NewStream(labels, nil)
	h.ids = append(h.ids, id)
	h.targets = append(h.targets, source.Target{
		Source: src, Mode: source.Stream, Reason: "the test says so", Multiline: h.lines,
		Container: &source.Container{ID: id, Name: id, Running: true, Started: time.Now()},
	})
}

// log lets a container write n lines.
func (h *host) log(id string, n int) {
	now := time.Now().UnixNano()
	records := make([]dockertest.Record, n)
	for i := range records {
		seq := h.written[id]
		h.written[id]++
		records[i] = dockertest.Record{Time: now + int64(i)*1001 + 1, Data: strconv.Itoa(seq) + "\n"}
	}
	h.engine.Append(id, records...)
}

// all checks that everything written was delivered, once and in order.
func (h *host) all() {
	h.t.Helper()
	synctest.Wait()
	total := 0
	for id, n := range h.written {
		total += n
		if got := h.out.of("container:" + id); got != n {
			h.t.Errorf("%s: %d of %d lines were delivered", id, got, n)
		}
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	for _, wrong := range h.out.wrong[:min(5, len(h.out.wrong))] {
		h.t.Error(wrong)
	}
	if h.out.lines != total {
		h.t.Errorf("%d lines were delivered, of %d", h.out.lines, total)
	}
}

// balance checks that the goroutines are what the formula says: those of the pool, one
// for each stream, and two of the transport for each.
func (h *host) balance(when string) {
	h.t.Helper()
	synctest.Wait()
	streams := h.pool.Figures().Targets[source.Stream]
	census := h.scope.Census()
	if n := census["test/containers/readers/stream"]; n != streams {
		h.t.Fatalf("%s: %d stream goroutines for %d streams", when, n, streams)
	}
	if n := int(h.client.OpenStreams()); n != streams {
		h.t.Fatalf("%s: %d open streams, want %d", when, n, streams)
	}
	if n := h.engine.Followers(); n != streams {
		h.t.Fatalf("%s: the engine serves %d followers, want %d", when, n, streams)
	}
}

func (h *host) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.scope.Close(ctx); err != nil {
		h.t.Error(err)
	}
	h.client.Close()
	synctest.Wait()
	if n := h.client.OpenStreams(); n != 0 {
		h.t.Errorf("%d streams are open after the end", n)
	}
}

// pause lets simulated time pass.
func pause(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// goroutines returns their number, without the runtime's own.
func goroutines() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "\n\ngoroutine ") + 1
}

// A day of 50 streams that are replaced every five minutes: the books balance at each
// minute of it, the goroutines are the same, and nothing is lost or repeated. (The predecessor leaked 46,080.)
func TestADayOfTurnsLeaksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 50, streams: 50, rotation: 5 * time.Minute, poll: 10 * time.Second})
		for i, id := range h.ids {
			h.log(id, 1+i%3)
		}
		pause(time.Minute)
		first := goroutines()
		for minute := range 24 * 60 {
			h.log(h.ids[minute%10], 1) // the others are silent
			pause(time.Minute)
			h.balance(fmt.Sprintf("minute %d", minute))
			if minute%10 != 9 {
				continue
			}
			if n := goroutines(); n != first {
				t.Fatalf("minute %d: %d goroutines, %d at first", minute, n, first)
			}
		}
		h.all()
		turns := h.stats.Rotations.Load()
		t.Logf("%d streams were replaced, %d of the lines were brought twice and dropped", turns, h.stats.Repeats.Load())
		if turns < 50*24*10 {
			t.Errorf("%d turns in a day, want about %d", turns, 50*24*12)
		}
		if n := h.stats.Errors()["rotation"]; n != 0 {
			t.Errorf("%d turns failed", n)
		}
	})
}

// With more containers than slots nobody is left out, and who starts to talk gets a
// stream within one poll.
func TestTheBusiestAreFollowedAndTheOthersPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 40, streams: 5, poll: 10 * time.Second})
		pause(30 * time.Second)
		h.balance("at rest")
		if n := h.pool.Figures().Targets[source.Stream]; n != 5 {
			t.Fatalf("%d streams, want all 5 slots in use", n)
		}
		for _, id := range h.ids {
			h.log(id, 1)
		}
		pause(11 * time.Second)
		h.all()

		pause(time.Minute)
		talkers := h.ids[20:25]
		for range 3 {
			for _, id := range talkers {
				h.log(id, 10)
			}
			pause(5 * time.Second)
		}
		h.balance("while five talk")
		for _, s := range h.pool.Statuses() {
			talks := s.Name >= talkers[0] && s.Name <= talkers[4]
			if (s.Mode == source.Stream) != talks {
				t.Errorf("%s is read by %s", s.Name, s.Mode)
			}
		}
		evicted := h.pool.Figures().Evictions["idle"]
		for range 60 { // they hold their slots, whatever the others whisper
			for _, id := range talkers {
				h.log(id, 10)
			}
			h.log(h.ids[30], 1)
			pause(5 * time.Second)
		}
		pause(6 * time.Second)
		h.all()
		if n := h.pool.Figures().Evictions["idle"] + h.pool.Figures().Evictions["volume"]; n != evicted {
			t.Errorf("slots flap: %d evictions in five minutes of the same load", n-evicted)
		}
		for range 10 {
			h.log(h.ids[30], 1000)
			pause(5 * time.Second)
		}
		if n := h.pool.Figures().Evictions["volume"]; n != 1 {
			t.Errorf("%d evictions by volume when one shouts, want 1", n)
		}
		pause(11 * time.Second)
		h.all()
		h.balance("at the end")
	})
}

// Streams break, freeze and are replaced while containers talk at all speeds.
func TestWhateverTheEngineDoesEachLineComesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 12, streams: 6, rotation: 3 * time.Second, poll: time.Second})
		for round := range 200 {
			for i, id := range h.ids {
				h.log(id, (round*7+i*i)%(1+i*20))
			}
			switch round % 40 {
			case 13:
				h.engine.Down()
			case 16:
				h.engine.Up(t)
			case 25:
				h.engine.Freeze()
			case 27:
				h.engine.Thaw()
			}
			pause(time.Duration(50+round%7*100) * time.Millisecond)
		}
		pause(time.Minute)
		h.all()
		h.balance("at the end")
		t.Logf("%d lines, %d turns, errors %v, %d searches, %d polls", h.out.lines, h.stats.Rotations.Load(), h.stats.Errors(), h.stats.Full.Load(), h.stats.Polls.Load())
	})
}

// Containers stop, start and end; who stands still has no goroutine.
func TestAContainerThatStandsStillHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 10, streams: 50, rotation: time.Minute, poll: time.Second})
		set := func(id string, change func(*source.Target)) {
			for i := range h.targets {
				if strings.HasSuffix(h.targets[i].Source.ID, id) {
					c := *h.targets[i].Container
					h.targets[i].Container = &c
					change(&h.targets[i])
				}
			}
			h.pool.Apply(h.targets)
		}
		pause(time.Second)
		h.balance("ten run")
		for round := range 20 {
			id := h.ids[round%5]
			h.log(id, 3)
			h.engine.Die(id)
			set(id, func(t *source.Target) { t.Container.Running = false })
			pause(time.Second)
			h.balance("one stands still")
			if n := h.pool.Figures().Targets[source.Stream]; n != 9 {
				t.Fatalf("%d streams, want 9", n)
			}
			h.all()
			h.engine.Start(id)
			set(id, func(t *source.Target) { t.Container.Running, t.Container.Started = true, time.Now() })
			h.log(id, 2)
			pause(500 * time.Millisecond)
			h.all()
			h.balance("it runs again")
		}
		for _, id := range h.ids {
			h.log(id, 1)
			h.engine.Die(id)
			set(id, func(t *source.Target) { t.Container.Running, t.Gone = false, true })
		}
		pause(10 * time.Second)
		h.all()
		if n := len(h.pool.Statuses()); n != 0 {
			t.Errorf("%d jobs are left", n)
		}
	})
}

// 5,000 containers and 50 slots: every line is delivered, and the goroutines are those
// of 50 streams and a few workers.
func TestFiveThousandContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 5000, streams: 50, rotation: 5 * time.Minute, poll: 10 * time.Second})
		pause(time.Second)
		h.balance("at first")
		first := goroutines()
		for round := range 6 {
			for i, id := range h.ids {
				if (i+round)%3 == 0 {
					h.log(id, 1+i%4)
				}
			}
			pause(12 * time.Second)
			h.balance(fmt.Sprintf("round %d", round))
			h.all()
		}
		if n := goroutines(); n != first {
			t.Errorf("%d goroutines, %d at first", n, first)
		}
		t.Logf("%d lines, %d polls, %d evictions %v", h.out.lines, h.stats.Polls.Load(), len(h.ids), h.pool.Figures().Evictions)
	})
}

// 10,000 streams are opened and closed, and the client and the engine hold what they held.
func TestTenThousandStreamsAreOpenedAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 20, streams: 20, rotation: time.Second, poll: time.Second})
		pause(time.Minute)
		first := goroutines()
		for h.stats.Opens.Load() < 10_000 {
			for _, id := range h.ids[:10] {
				h.log(id, 2)
			}
			pause(time.Second)
		}
		h.balance("after 10,000 streams")
		if n := goroutines(); n != first {
			t.Errorf("%d goroutines, %d at first", n, first)
		}
		h.all()
	})
}

// With fewer streams than before some containers are polled, with more some are followed
// again; no line is lost or repeated by it.
func TestTheNumberOfStreamsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 10, streams: 10, poll: time.Second})
		talk := func() {
			for range 10 {
				for _, id := range h.ids {
					h.log(id, 3)
				}
				pause(time.Second)
			}
		}
		for _, limit := range []int{10, 4, 1, 7} {
			h.pool.SetStreams(limit)
			talk()
			if n := h.client.OpenStreams(); n != int64(limit) {
				t.Errorf("%d streams are open, %d may be", n, limit)
			}
		}
		h.all()
	})
}

// A log that was rotated away while nobody read it is told of, in the container's row.
func TestAGapInTheEnginesLogIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 3, streams: 1, poll: time.Second})
		pause(time.Second)
		for _, id := range h.ids {
			h.log(id, 5)
		}
		pause(2 * time.Second)
		var polled string
		for _, s := range h.pool.Statuses() {
			if s.Mode == source.Poll {
				polled = s.Name
			}
		}
		h.engine.Hidden(dockertest.Container{ID: polled, Name: polled, Running: true, Started: time.Now(), Driver: "local"})
		h.out.mu.Lock()
		h.out.next["container:"+polled] += 3 // rotated away
		h.out.mu.Unlock()
		h.written[polled] += 3
		h.log(polled, 4)
		h.out.mu.Lock()
		h.out.lines += 3
		h.out.mu.Unlock()
		pause(3 * time.Second)
		h.all()
		for _, s := range h.pool.Statuses() {
			if want := map[bool]int64{true: 1}[s.Name == polled]; s.Lost[source.LostGap] != want {
				t.Errorf("%s: lost %v, want %d gap", s.Name, s.Lost, want)
			}
		}
	})
}
