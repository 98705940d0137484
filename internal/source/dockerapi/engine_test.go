package dockerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/test/harness"
	loggen "github.com/logcapturer/log_capturer/test/loggen/line"
)

// reading is a reader at work, and what it delivered.
type reading struct {
	reader source.Reader
	opener *Opener
	stop   func()

	mu             sync.Mutex
	count          map[int64]int  // by sequence number
	texts          map[string]int // by their first bytes, length and output
	lines          int
	bad            []string
	last           [record.Outputs]int64
	cursor         position.Cursor
	ended          error
	changed, woken chan struct{}
}

func engineOpener(t *testing.T, host string) *Opener {
	t.Helper()
	client, err := docker.New(host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := client.OpenStreams(); n != 0 {
			t.Errorf("%d streams were left open", n)
		}
		client.Close()
	})
	o := testOpener(client)
	o.MaxLine = 1 << 20
	return o
}

func targetOf(c *harness.Container, tty, running bool) source.Target {
	t := testTarget()
	t.Container = &source.Container{ID: c.ID, Name: c.Name, TTY: tty, Running: running, Started: time.Now()}
	return t
}

// start reads until the test or stop ends it.
func start(t *testing.T, o *Opener, target source.Target, from position.Cursor) *reading {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, err := o.Open(ctx, target, from)
	if err != nil {
		t.Fatal(err)
	}
	r := &reading{reader: reader, opener: o, count: map[int64]int{}, texts: map[string]int{}, cursor: from, changed: make(chan struct{}, 1), woken: make(chan struct{}, 1)}
	done := make(chan struct{})
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(r.stop)
	go func() {
		defer close(done)
		defer reader.Close()
		for {
			b, err := reader.Next(ctx)
			if errors.Is(err, source.ErrIdle) { // as the pool does
				var later <-chan time.Time
				if pause := reader.(*Reader).Pause(); pause > 0 {
					later = time.After(pause)
				}
				select {
				case <-r.woken:
				case <-later:
				case <-ctx.Done():
				}
				continue
			}
			if err != nil {
				r.end(err)
				return
			}
			r.take(b, reader.Cursor())
			b.Done(record.Delivered)
		}
	}()
	return r
}

func (r *reading) update(t source.Target) {
	r.reader.Update(t)
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

func (r *reading) take(b *record.Batch, c position.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cursor = c
	for i, e := range b.Entries {
		r.lines++
		r.texts[fmt.Sprintf("%s %d %.100s", e.Output, e.Len, b.Line(i))]++
		_, seq, err := loggen.Parse(b.Line(i))
		if err != nil {
			r.bad = append(r.bad, fmt.Sprintf("%v: %.80q", err, b.Line(i)))
		}
		if e.Time <= r.last[e.Output] {
			r.bad = append(r.bad, fmt.Sprintf("line %d of %s has time %d after %d", seq, e.Output, e.Time, r.last[e.Output]))
		}
		r.last[e.Output] = e.Time
		r.count[seq]++
	}
	r.signal()
}

func (r *reading) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = err
	r.signal()
}

func (r *reading) signal() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// until waits for a condition, which is called with the lock held.
func (r *reading) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-r.changed:
		case <-time.After(5 * time.Millisecond): // what no signal tells of
		case <-deadline:
			t.Fatalf("waited for %s; %d lines of %d numbers so far, errors %v", what, r.lines, len(r.count), r.opener.Stats.Errors())
		}
	}
}

// exactly waits for n lines, and then for the end of what is to come: times each of 1…n/times.
func (r *reading) exactly(t *testing.T, n, times int) {
	t.Helper()
	r.until(t, fmt.Sprint(n, " lines"), func() bool { return r.lines >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, bad := range r.bad[:min(len(r.bad), 5)] {
		t.Error(bad)
	}
	lost, more := 0, 0
	for seq := range int64(n / times) {
		switch c := r.count[seq+1]; {
		case c < times:
			lost += times - c
		case c > times:
			more += c - times
		}
	}
	if lost+more > 0 || len(r.count) != n/times {
		t.Errorf("%d lost, %d repeated, %d different, of %d", lost, more, len(r.count), n)
	}
}

func TestLongLinesOfBothOutputsStayWhole(t *testing.T) {
	engine := harness.Engine(t)
	for _, tty := range []bool{false, true} {
		for _, driver := range []string{"json-file", "local"} {
			t.Run(fmt.Sprintf("tty=%v,%s", tty, driver), func(t *testing.T) {
				box := engine.Run(t, harness.RunOptions{TTY: tty, Driver: driver, Args: []string{
					"-n", "300", "-stderr-every", "2", "-long-every", "5", "-long-bytes", "100000",
				}})
				r := start(t, engineOpener(t, engine.Host()), targetOf(box, tty, true), position.Cursor{})
				box.Wait(t)
				r.update(targetOf(box, tty, false))
				r.exactly(t, 300, 1)
				if n := r.opener.Stats.Truncated.Load(); n != 0 {
					t.Errorf("%d lines were cut", n)
				}
			})
		}
	}
}

func TestAContainerThatStopsAndStartsAgainIsReadOn(t *testing.T) {
	engine := harness.Engine(t)
	for name, told := range map[string]bool{"told of each stop": true, "told of starts only": false} {
		t.Run(name, func(t *testing.T) {
			box := engine.Run(t, harness.RunOptions{Args: []string{"-n", "200", "-hold", "-stderr-every", "4"}})
			r := start(t, engineOpener(t, engine.Host()), targetOf(box, false, true), position.Cursor{})
			r.exactly(t, 200, 1)
			for again := 2; again <= 4; again++ {
				box.Stop(t)
				if told {
					r.update(targetOf(box, false, false))
				}
				box.Start(t)
				at := time.Now()
				r.update(targetOf(box, false, true))
				r.exactly(t, 200*again, again)
				if late := time.Since(at); late > 2*time.Second && told {
					t.Errorf("the lines after a restart took %v", late)
				}
			}
		})
	}
}

func TestAContainerThatIsRemovedWhileItIsFollowedIsReadToItsEnd(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Run(t, harness.RunOptions{AutoRemove: true, Args: []string{"-n", "500", "-rate", "1000", "-panic"}})
	r := start(t, engineOpener(t, engine.Host()), targetOf(box, false, true), position.Cursor{})
	r.until(t, "the last line", func() bool { return r.lines >= 500+loggen.PanicLines })
	gone := targetOf(box, false, false)
	gone.Gone = true
	r.update(gone)
	r.until(t, "the end", func() bool { return r.ended != nil })
	if !errors.Is(r.ended, io.EOF) {
		t.Error("ended with", r.ended)
	}
	r.exactly(t, 500+loggen.PanicLines, 1)
}

func TestASilentContainerReopenedAHundredTimesRepeatsNothing(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Run(t, harness.RunOptions{Args: []string{"-n", "50", "-hold", "-stderr-every", "3"}})
	o := engineOpener(t, engine.Host())
	r := start(t, o, targetOf(box, false, true), position.Cursor{})
	r.exactly(t, 50, 1)
	for again := range 100 {
		r.stop()
		before := o.Stats.Repeats.Load()
		r = start(t, o, targetOf(box, false, true), r.cursor)
		r.until(t, "what comes again", func() bool { return o.Stats.Repeats.Load() >= before+50 || r.lines > 0 })
		if r.lines > 0 {
			t.Fatalf("reopening %d delivered %d lines again", again, r.lines)
		}
	}
	if n := o.Stats.Full.Load(); n != 0 {
		t.Errorf("%d of 100 reopenings searched the whole log", n)
	}
}

func TestAStoppedContainersHistoryIsReadAndNothingIsPolled(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Run(t, harness.RunOptions{Args: []string{"-n", "1000"}})
	box.Wait(t)
	o := engineOpener(t, engine.Host())
	gone := targetOf(box, false, false)
	r := start(t, o, gone, position.Cursor{})
	r.exactly(t, 1000, 1)
	gone.Gone = true
	r.update(gone)
	r.until(t, "the end", func() bool { return r.ended != nil })
	if n := o.Stats.Opens.Load(); n != 1 || !errors.Is(r.ended, io.EOF) {
		t.Errorf("%d streams, ended with %v", n, r.ended)
	}
}

func TestOnlyWhatIsYoungerThanSinceIsReadOfAContainerFirstSeen(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Run(t, harness.RunOptions{Args: []string{"-n", "100", "-rate", "100", "-hold"}})
	o := engineOpener(t, engine.Host())
	all := start(t, o, targetOf(box, false, true), position.Cursor{})
	all.exactly(t, 100, 1)
	target := targetOf(box, false, true)
	target.Since = time.Unix(0, all.last[record.Stdout]-int64(300*time.Millisecond))
	some := start(t, o, target, position.Cursor{})
	some.until(t, "the last line", func() bool { return some.count[100] == 1 })
	if n := some.lines; n < 2 || n > 60 {
		t.Errorf("of the last 300 ms at 100 lines a second came %d lines", n)
	}
	// Opened again, it does not go back before what was asked for.
	some.stop()
	again := start(t, o, target, some.cursor)
	before := o.Stats.Repeats.Load()
	again.until(t, "what comes again", func() bool { return o.Stats.Repeats.Load() > before })
	again.mu.Lock()
	defer again.mu.Unlock()
	if again.lines != 0 {
		t.Errorf("%d lines came again", again.lines)
	}
}

func TestAnEngineThatIsKilledAndComesBackLosesAndRepeatsNothing(t *testing.T) {
	engine := harness.PrivateEngine(t, harness.EngineOptions{LiveRestore: true})
	box := engine.Run(t, harness.RunOptions{Args: []string{"-n", "6000", "-rate", "1000", "-stderr-every", "3", "-long-every", "50", "-hold"}})
	o := engineOpener(t, engine.Host())
	r := start(t, o, targetOf(box, false, true), position.Cursor{})
	r.until(t, "some lines", func() bool { return r.lines >= 1500 })
	engine.Kill(t)
	engine.Start(t)
	r.until(t, "the last line", func() bool { return r.count[6000] > 0 })
	// A killed engine may lose the line that it had taken and not yet written. What counts
	// is what it kept: a reader that was never disturbed gets the same lines.
	calm := start(t, engineOpener(t, engine.Host()), targetOf(box, false, true), position.Cursor{})
	calm.until(t, "the last line again", func() bool { return calm.count[6000] > 0 })
	r.until(t, "as many lines", func() bool { return r.lines >= calm.lines })
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(calm.texts, r.texts); diff != "" {
		t.Errorf("calm reader's lines - ours + : %.2000s", diff)
	}
	if len(calm.count) < 5000 { // on a busy machine it has hundreds of lines in its hands
		t.Errorf("the engine kept %d of 6000 lines", len(calm.count))
	}
	t.Log("kept by the engine:", calm.lines, "errors:", o.Stats.Errors(), "full:", o.Stats.Full.Load(), "of", o.Stats.Opens.Load())
}

func TestARotatedLogRepeatsNothingAtAModestRate(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Run(t, harness.RunOptions{
		LogOpts: map[string]string{"max-size": "50k", "max-file": "5"}, Args: []string{"-n", "4000", "-rate", "1000", "-hold"},
	})
	o := engineOpener(t, engine.Host())
	r := start(t, o, targetOf(box, false, true), position.Cursor{})
	r.until(t, "the last line", func() bool { return r.count[4000] > 0 })
	r.exactly(t, 4000, 1)
	t.Log("repeats:", o.Stats.Repeats.Load(), "opens:", o.Stats.Opens.Load())
}
