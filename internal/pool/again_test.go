package pool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/task"
)

// ended ends the pool's Run, and returns what begins the next one.
func (f *fixture) ended(scope *task.Scope) (again func() *task.Scope) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	if err := scope.Close(ctx); err != nil {
		f.t.Fatal(err)
	}
	return f.begin
}

// begin runs the pool in a scope of its own.
func (f *fixture) begin() *task.Scope {
	scope := f.scope.Child("again")
	f.pool.Ready(scope)
	scope.Go("pool", f.pool.Run)
	return scope
}

// A pool ends and runs again while files are written and rotated, and some of what it read
// is still being delivered: each line comes once, in order, and nothing is left over.
func TestAPoolThatRunsAgainGoesOnWhereItWas(t *testing.T) {
	f := newIdleFixture(t)
	late := make(chan *record.Batch, 10_000) // answered late
	f.out.answer = func(b *record.Batch) (record.Outcome, error) {
		b.Retain(1)
		late <- b
		return record.Delivered, nil
	}
	scope := f.begin()
	const files, rounds, burst = 5, 100, 20
	var targets []source.Target
	want := map[string][]string{}
	for i := range files {
		targets = append(targets, f.target(fmt.Sprintf("%d.log", i)))
	}
	f.pool.Apply(targets)
	goroutines := 0
	begun := func() {
		f.eventually("two workers and the pool", func() bool {
			got := f.scope.Census()
			return got["test/again/readers/file"] == 2 && got["test/again/pool"] == 1
		})
	}
	for round := range rounds {
		for i, tg := range targets {
			for range burst {
				line := fmt.Sprintf("%d-%d", i, len(want[tg.Source.ID]))
				want[tg.Source.ID] = append(want[tg.Source.ID], line)
				f.write(filepath.Base(tg.Path), line+"\n")
			}
		}
		if round == 0 { // a log that is rotated before anybody saw it begins with its new file
			f.settled(t, targets, want)
		}
		if round%10 == 9 { // in between, and while it is off
			f.write(filepath.Base(targets[0].Path), "rotated\n")
			want[targets[0].Source.ID] = append(want[targets[0].Source.ID], "rotated")
			if err := os.Rename(targets[0].Path, targets[0].Path+".1"); err != nil {
				t.Fatal(err)
			}
			f.write(filepath.Base(targets[0].Path), "fresh\n")
			want[targets[0].Source.ID] = append(want[targets[0].Source.ID], "fresh")
			f.arrives(targets[0].Source.ID, want[targets[0].Source.ID]...)
		}
		scope = f.ended(scope)()
		if len(late) > 50 {
			(<-late).Done(record.Delivered)
		}
		if round == 10 {
			f.settled(t, targets, want)
			begun()
			goroutines = runtime.NumGoroutine()
		}
	}
	f.settled(t, targets, want)
	f.eventually("as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	begun()
	f.ended(scope)
	if n := f.stats.Descriptors.Load(); n != 0 {
		t.Errorf("%d descriptors while it is off", n)
	}
	for len(late) > 0 {
		(<-late).Done(record.Delivered)
	}
	for _, tg := range targets {
		if c := f.store.Get(tg.Source.ID); c.File == nil || c.File.Offset == 0 {
			t.Errorf("%s: answers that came while it was off moved no position: %+v", tg.Path, c)
		}
	}
}

func (f *fixture) settled(t *testing.T, targets []source.Target, want map[string][]string) {
	t.Helper()
	for _, tg := range targets {
		f.eventually("all lines", func() bool { return len(f.out.of(tg.Source.ID)) >= len(want[tg.Source.ID]) })
		if got := f.out.of(tg.Source.ID); !slices.Equal(got, want[tg.Source.ID]) {
			t.Fatalf("%s: %d lines, want %d; the last are %q", tg.Path, len(got), len(want[tg.Source.ID]), got[max(0, len(got)-30):])
		}
	}
}

// What nobody could open again stays open: a file that was removed before it was read.
func TestAFileWithoutANameStaysOpen(t *testing.T) {
	f := newIdleFixture(t)
	f.out.full = map[string]bool{"file:a.log": true, "file:b.log": true}
	scope := f.begin()
	f.write("a.log", "1\n2\n")
	f.write("b.log", "1\n")
	f.pool.Apply([]source.Target{f.target("a.log"), f.target("b.log")})
	if err := os.Remove(filepath.Join(f.dir, "a.log")); err != nil {
		t.Fatal(err)
	}
	again := f.ended(scope)
	if n := f.stats.Descriptors.Load(); n != 1 {
		t.Errorf("%d descriptors, want that of the file without a name", n)
	}
	clear(f.out.full)
	again()
	f.arrives("file:a.log", "1", "2")
	f.arrives("file:b.log", "1")
}

// Targets that went, came, or were not wanted any more while it was off.
func TestTargetsThatChangedMeanwhile(t *testing.T) {
	f := newIdleFixture(t)
	scope := f.begin()
	for _, name := range []string{"gone.log", "left.log", "stays.log"} {
		f.write(name, "1\n")
	}
	f.pool.Apply([]source.Target{f.target("gone.log"), f.target("left.log"), f.target("stays.log")})
	for _, name := range []string{"gone.log", "left.log", "stays.log"} {
		f.arrives("file:"+name, "1")
	}
	again := f.ended(scope)
	if rows, figures := f.pool.Statuses(), f.pool.Figures(); len(rows) != 0 || len(figures.Targets) != 0 {
		t.Errorf("while it is off it says that it reads %v, %v", rows, figures)
	}
	for _, name := range []string{"gone.log", "left.log", "stays.log", "new.log"} {
		f.write(name, "2\n")
	}
	again()
	gone := f.target("gone.log")
	gone.Gone = true
	f.pool.Apply([]source.Target{gone, f.target("stays.log"), f.target("new.log")})
	f.arrives("file:gone.log", "1", "2")
	f.arrives("file:stays.log", "1", "2")
	f.arrives("file:new.log", "2")
	f.eventually("the end of what is gone", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return slices.Contains(f.forgot, "file:gone.log") })
	f.eventually("the end of what is not wanted", func() bool { return len(f.pool.Statuses()) == 2 })
	if c := f.store.Get("file:left.log"); c.File == nil {
		t.Error("what is not wanted has lost its position")
	}
}

// A log that was read to its end, and that nobody has looked at since, is not opened again.
func TestALogThatHasEndedStaysEnded(t *testing.T) {
	f := newIdleFixture(t)
	scope := f.begin()
	f.write("a.log", "1\n")
	gone := f.target("a.log")
	f.pool.Apply([]source.Target{gone})
	f.arrives("file:a.log", "1")
	gone.Gone = true
	f.pool.Apply([]source.Target{gone})
	f.eventually("its end", func() bool {
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		j := f.pool.jobs["file:a.log"]
		return j == nil || j.state == ended
	})
	f.write("a.log", "of another life\n")
	scope = f.ended(scope)()
	f.eventually("nothing to be left of it", func() bool { return len(f.pool.Statuses()) == 0 })
	f.ended(scope)
	if n := f.stats.Descriptors.Load(); n != 0 {
		t.Errorf("%d descriptors are held", n)
	}
	f.arrives("file:a.log", "1")
}
