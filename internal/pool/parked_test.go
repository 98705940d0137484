package pool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
)

// newCrowd is a fixture that holds so many files open at rest, and the targets of more.
func newCrowd(t *testing.T, open, files int) (*fixture, []source.Target) {
	f := newIdleFixture(t)
	f.pool.SetMaxOpen(open)
	f.pool.resting.regular = 0
	var targets []source.Target
	for i := range files {
		name := fmt.Sprintf("%d.log", i)
		f.write(name, "0\n")
		targets = append(targets, f.target(name))
	}
	f.begin()
	f.pool.Apply(targets)
	for _, tg := range targets {
		f.arrives(tg.Source.ID, "0")
	}
	f.rests(open)
	return f, targets
}

// rests waits until so many files are open, and nothing is to be done.
func (f *fixture) rests(open int) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("%d files that are open, at rest", open), func() bool {
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		for _, j := range f.pool.jobs {
			if j.state != idle {
				return false
			}
		}
		return f.stats.Descriptors.Load() == int64(open)
	})
}

func TestFilesAtRestAreClosedAndReadOnWhenTheyAreWritten(t *testing.T) {
	const open, files = 3, 20
	f, targets := newCrowd(t, open, files)
	for i, tg := range targets {
		began := time.Now()
		f.write(filepath.Base(tg.Path), "1\n")
		f.arrives(tg.Source.ID, "0", "1")
		if took := time.Since(began); took > sweepInterval/2 {
			t.Errorf("line %d of a closed file took %v; the hint did not work", i, took)
		}
	}
	f.rests(open)
	f.pool.SetMaxOpen(1)
	f.rests(1)
	f.pool.SetMaxOpen(0)
	if len(f.lost) > 0 {
		t.Errorf("lost: %q", f.lost)
	}
}

// Who removed a file may still write to it: it is held, however many of them there are, and
// the pool comes to rest all the same.
func TestFilesWithoutANameStayOpen(t *testing.T) {
	const files = 6
	f, targets := newCrowd(t, files, files)
	for _, tg := range targets[1:] {
		if err := os.Remove(tg.Path); err != nil {
			t.Fatal(err)
		}
	}
	f.pool.SetMaxOpen(2)
	f.rests(files - 1)
}

// What becomes of a file while it is closed.
func TestFilesThatAreRotatedWhileTheyAreClosed(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(f *fixture, path string)
		want []string
	}{
		"written and renamed": {func(f *fixture, path string) {
			f.write("0.log", "1\n")
			f.rename(path, path+".1")
			f.write("0.log", "2\n")
		}, []string{"0", "1", "2"}},
		"renamed and written": {func(f *fixture, path string) {
			f.rename(path, path+".1")
			f.write("0.log.1", "1\n")
			f.write("0.log", "2\n")
		}, []string{"0", "1", "2"}},
		"removed and made again": {func(f *fixture, path string) {
			if err := os.Remove(path); err != nil {
				f.t.Fatal(err)
			}
			f.write("0.log", "0\n")
		}, []string{"0", "0"}},
		"cut and written": {func(f *fixture, path string) {
			if err := os.Truncate(path, 0); err != nil {
				f.t.Fatal(err)
			}
			f.write("0.log", "again\n")
		}, []string{"0", "again"}},
		"written without an end": {func(f *fixture, path string) {
			f.write("0.log", "half")
			f.write("0.log", " and half\n")
		}, []string{"0", "half and half"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, targets := newCrowd(t, 1, 4)
			f.write("1.log", "1\n") // which is the open one now
			f.arrives("file:1.log", "0", "1")
			f.rests(1)
			change.do(f, targets[0].Path)
			f.arrives("file:0.log", change.want...)
			f.rests(1)
			if name != "cut and written" && len(f.lost) > 0 {
				t.Errorf("lost: %q", f.lost)
			}
		})
	}
}

func (f *fixture) rename(from, to string) {
	f.t.Helper()
	if err := os.Rename(from, to); err != nil {
		f.t.Fatal(err)
	}
}

// A file that goes while it is closed was read to its end: its job ends without a word.
func TestAClosedFileThatGoesLosesNothing(t *testing.T) {
	f, targets := newCrowd(t, 1, 3)
	gone := slices.Clone(targets)
	for i := range gone {
		if err := os.Remove(gone[i].Path); err != nil {
			t.Fatal(err)
		}
		gone[i].Gone = true
	}
	f.pool.Apply(gone)
	f.eventually("all to be forgotten", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.forgot) == len(gone)
	})
	if len(f.lost) > 0 {
		t.Errorf("lost: %q", f.lost)
	}
}

// Many files, few of which are open, are written, rotated, removed and made again at random.
func TestEachLineComesOnceOfManyFilesFewOfWhichAreOpen(t *testing.T) {
	const open, files, steps = 2, 12, 400
	f, targets := newCrowd(t, open, files)
	random := rand.New(rand.NewPCG(6, 6))
	want := map[string][]string{}
	for _, tg := range targets {
		want[tg.Source.ID] = []string{"0"}
	}
	for n := range steps {
		tg := targets[random.IntN(files)]
		id, name := tg.Source.ID, filepath.Base(tg.Path)
		line := fmt.Sprintf("%d of %s", n, name)
		f.write(name, line+"\n")
		want[id] = append(want[id], line)
		switch random.IntN(12) {
		case 0:
			f.rename(tg.Path, tg.Path+".1")
			f.write(name, "fresh "+line+"\n")
			want[id] = append(want[id], "fresh "+line)
			f.arrives(id, want[id]...) // before .1 is another one
		case 1:
			f.arrives(id, want[id]...)
			if err := os.Remove(tg.Path); err != nil {
				t.Fatal(err)
			}
			f.write(name, "anew "+line+"\n")
			want[id] = append(want[id], "anew "+line)
			f.arrives(id, want[id]...) // two new ones after one that is gone could be three
		case 2:
			f.rests(open)
		}
	}
	for _, tg := range targets {
		f.arrives(tg.Source.ID, want[tg.Source.ID]...)
	}
	f.rests(open)
	if len(f.lost) > 0 {
		t.Errorf("lost: %q", f.lost)
	}
}

func TestFilesThatAreWrittenToRegularlyStayOpen(t *testing.T) {
	f, targets := newCrowd(t, 2, 4)
	f.pool.mu.Lock()
	f.pool.resting.regular = time.Minute
	f.pool.mu.Unlock()
	want := []string{"0"}
	for n := 1; n <= 3; n++ { // with the first their gaps begin to be known
		line := fmt.Sprint(n)
		want = append(want, line)
		for _, tg := range targets {
			f.write(filepath.Base(tg.Path), line+"\n")
		}
		for _, tg := range targets {
			f.arrives(tg.Source.ID, want...)
		}
	}
	f.rests(4)
	f.pool.mu.Lock()
	f.pool.resting.regular = 0
	f.pool.mu.Unlock()
	f.rests(2) // with a sweep
}
