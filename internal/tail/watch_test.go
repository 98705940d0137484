package tail

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/task"
)

// watch runs a watcher until the test ends.
func watch(t *testing.T) *Watcher {
	t.Helper()
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	run(t, w)
	return w
}

func run(t *testing.T, w *Watcher) {
	t.Helper()
	scope := task.NewRoot(context.Background(), "test", slog.New(slog.DiscardHandler))
	scope.Go("watcher", w.Run)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := scope.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for !ok() {
		if !task.Sleep(ctx, time.Millisecond) {
			t.Fatalf("not within 5s: %s", what)
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestANameThatAppearsIsReported(t *testing.T) {
	w, dir := watch(t), t.TempDir()
	var seen, other atomic.Int64
	if err := w.WatchName(dir, "a.log", func() { seen.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := w.WatchDir(dir, "test", func(string) { other.Add(1) }); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "b.log"), "")
	put(t, filepath.Join(dir, "a.log"), "")
	if err := os.Rename(filepath.Join(dir, "b.log"), filepath.Join(dir, "a.log")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two hints by name, three of all", func() bool { return seen.Load() == 2 && other.Load() == 3 })
	w.UnwatchName(dir, "a.log")
	put(t, filepath.Join(dir, "c.log"), "")
	eventually(t, "a fourth name", func() bool { return other.Load() == 4 })
	if seen.Load() != 2 {
		t.Error("a hint after its end")
	}
}

// More happens than the kernel's queue holds: everybody is told to look, and it is counted.
func TestEventsThatAreLostHaveEverybodyLook(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	queue, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	dir, quiet := t.TempDir(), filepath.Join(t.TempDir(), "quiet.log")
	put(t, quiet, "1")
	f, err := openFile(quiet, false, new(ledger.Account))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	var name, any, written atomic.Int64
	if err := errors.Join(
		w.WatchName(dir, "never.log", func() { name.Add(1) }),
		w.WatchDir(dir, "test", func(name string) {
			if name == "" {
				any.Add(1)
			}
		}),
		w.Arm(f, func() { written.Add(1) }),
	); err != nil {
		t.Fatal(err)
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	put(t, one, "")
	for range queue + 100 {
		if err := os.Rename(one, two); err != nil {
			t.Fatal(err)
		}
		one, two = two, one
	}
	run(t, w)
	eventually(t, "everybody to look", func() bool { return name.Load() == 1 && any.Load() == 1 && written.Load() == 1 })
	if n := w.Overflows.Load(); n != 1 {
		t.Errorf("%d overflows are counted, want 1", n)
	}
}

func TestAWriteIsReportedOncePerArming(t *testing.T) {
	w, path := watch(t), filepath.Join(t.TempDir(), "a.log")
	put(t, path, "1")
	var open ledger.Account
	var hints atomic.Int64
	f, err := openFile(path, false, &open)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for round := int64(1); round <= 3; round++ {
		if err := w.Arm(f, func() { hints.Add(1) }); err != nil {
			t.Fatal(err)
		}
		put(t, path, "several")
		put(t, path, "writes")
		eventually(t, "a hint", func() bool { return hints.Load() == round })
	}
}

func TestTwoPathsOfOneDirectoryAreBothHinted(t *testing.T) {
	w, dir := watch(t), t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	var seen, seenByLink atomic.Int64
	if err := w.WatchName(dir, "a.log", func() { seen.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := w.WatchName(link, "a.log", func() { seenByLink.Add(1) }); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "a.log"), "")
	eventually(t, "a hint for both", func() bool { return seen.Load() == 1 && seenByLink.Load() == 1 })
	w.UnwatchName(link, "a.log")
	if err := os.Remove(filepath.Join(dir, "a.log")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "a.log"), "")
	eventually(t, "a hint for the one that is left", func() bool { return seen.Load() == 2 })
	w.UnwatchName(dir, "a.log")
	w.mu.Lock()
	defer w.mu.Unlock()
	if seenByLink.Load() != 1 || len(w.byWD) != 0 || len(w.dirs) != 0 {
		t.Errorf("%d hints, %d watches, %d directories", seenByLink.Load(), len(w.byWD), len(w.dirs))
	}
}

func TestTwoLogsOfOneFileAreBothHinted(t *testing.T) {
	w, dir := watch(t), t.TempDir()
	path, link := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	put(t, path, "1")
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	var open ledger.Account
	var hints atomic.Int64
	var files []*File
	for _, name := range []string{path, link, path} {
		f, err := openFile(name, false, &open)
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		files = append(files, f)
	}
	for _, f := range []*File{files[0], files[0], files[1], files[2]} { // the first twice: once counts
		if err := w.Arm(f, func() { hints.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	files[2].close() // its hint is nobody's
	if err := w.Arm(files[1], func() { hints.Add(1) }); err != nil {
		t.Fatal(err)
	}
	put(t, path, "2")
	eventually(t, "a hint for both", func() bool { return hints.Load() >= 2 })
	w.mu.Lock()
	defer w.mu.Unlock()
	if hints.Load() != 2 || len(w.armed) != 0 {
		t.Errorf("%d hints, %d still armed", hints.Load(), len(w.armed))
	}
}

func TestADirectoryMadeAgainIsWatchedAnew(t *testing.T) {
	w, dir := watch(t), filepath.Join(t.TempDir(), "d")
	var seen atomic.Int64
	for round := int64(1); round <= 3; round++ {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a new watch", func() bool { return w.WatchName(dir, "a", func() { seen.Add(1) }) == nil })
		put(t, filepath.Join(dir, "a"), "")
		eventually(t, "a hint", func() bool { return seen.Load() == round })
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the watch to be forgotten", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.dirs) == 0 && len(w.byWD) == 0
		})
	}
}

func TestALogThatIsGoneBeforeItIsAskedForIsHeld(t *testing.T) {
	w, root := watch(t), t.TempDir()
	var open ledger.Account
	early := NewEarly(w, func(dir string) string { return dir + ".log" }, &open)
	defer early.Close()
	if err := early.Watch(root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "c1")
	path := filepath.Join(dir, "c1.log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, path, "the only line\n")
	eventually(t, "the log to be held", func() bool { return open.Load() == 1 })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	log := NewLog(path, Options{Early: early, Open: &open})
	defer log.Close()
	if fresh, err := log.Look(); err != nil || !fresh {
		t.Fatalf("look: %v %v, want the held file", fresh, err)
	}
	buf := make([]byte, 100)
	if n, err := log.Current().ReadAt(buf, 0); err != nil || string(buf[:n]) != "the only line\n" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	if early.Take(path) != nil {
		t.Error("it was given out twice")
	}
}

func TestWhatNobodyAsksForIsLetGo(t *testing.T) {
	w, root := watch(t), t.TempDir()
	var open ledger.Account
	early := NewEarly(w, func(dir string) string { return dir + ".log" }, &open)
	put(t, filepath.Join(root, "x.log"), "")
	early.hold(filepath.Join(root, "x.log"))
	early.mu.Lock()
	early.expire(time.Now().Add(earlyTime + time.Second))
	early.mu.Unlock()
	if open.Load() != 0 || len(early.held) != 0 {
		t.Errorf("%d descriptors, %d files held", open.Load(), len(early.held))
	}
}

// While it rests nothing is opened, and nothing is held but what has no name any more.
func TestAnEarlyThatRestsHoldsWhatHasNoName(t *testing.T) {
	w, root := watch(t), t.TempDir()
	var open ledger.Account
	early := NewEarly(w, func(dir string) string { return dir + ".log" }, &open)
	defer early.Close()
	appear := func(name string) string {
		t.Helper()
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, name, name+".log")
		put(t, path, "x\n")
		return path
	}
	if err := early.Watch(root); err != nil {
		t.Fatal(err)
	}
	gone, stays := appear("gone"), appear("stays")
	eventually(t, "both logs to be held", func() bool { return open.Load() == 2 })
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	early.Pause()
	if open.Load() != 1 {
		t.Errorf("%d files are held", open.Load())
	}
	early.hold(appear("later"))
	// The watcher opens it, and closes it, at some moment.
	eventually(t, "nothing to be held while it rests", func() bool { return open.Load() == 1 && early.Take(stays) == nil })
	if err := early.Watch(root); err != nil {
		t.Fatal(err)
	}
	again := appear("again")
	for _, path := range []string{gone, again} {
		var f *File
		eventually(t, "the file without a name, and the next log, to be held", func() bool {
			f = early.Take(path)
			return f != nil
		})
		f.close()
	}
}

// A file that was closed is hinted still, and takes no memory: there may be thousands.
func TestAHintKeepsNoFile(t *testing.T) {
	w, path := watch(t), filepath.Join(t.TempDir(), "a.log")
	put(t, path, "1\n")
	var wrote atomic.Int64
	arm := func() weak.Pointer[File] {
		f, err := openFile(path, false, &ledger.Account{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		if err := w.Arm(f, func() { wrote.Add(1) }); err != nil {
			t.Fatal(err)
		}
		return weak.Make(f)
	}
	f := arm()
	eventually(t, "the file to be collected", func() bool {
		runtime.GC()
		return f.Value() == nil
	})
	put(t, path, "2\n")
	eventually(t, "the hint", func() bool { return wrote.Load() == 1 })
	arm()
	arm() // that of before is closed, and another one's is not added to it
	put(t, path, "3\n")
	eventually(t, "the hint", func() bool { return wrote.Load() == 2 })
}

func TestHintsOfManyWritesComeTogetherAndNoneIsMissing(t *testing.T) {
	w, dir := watch(t), t.TempDir()
	var files []*File
	for i := range 20 {
		path := filepath.Join(dir, strconv.Itoa(i)+".log")
		put(t, path, "")
		f, err := openFile(path, false, &ledger.Account{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		files = append(files, f)
	}
	const rounds = 100
	began := time.Now()
	for n := range rounds {
		var told atomic.Int64
		for i, f := range files {
			if err := w.Arm(f, func() { told.Add(1) }); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, strconv.Itoa(i)+".log"), strconv.Itoa(n))
		}
		eventually(t, "the hints of all writes", func() bool { return told.Load() == int64(len(files)) })
	}
	if took, least := time.Since(began), (rounds-hurried/5)*gather/2; took < least {
		t.Errorf("%d rounds took %v, want more than %v: their hints did not wait for others", rounds, took, least)
	}
	var named atomic.Bool
	if err := w.WatchName(dir, "new.log", func() { named.Store(true) }); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "new.log"), "")
	eventually(t, "the name that appears", named.Load)
}
