package deadletter

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/spool"
)

// sealed ends the active file and edits the only one there is.
func sealed(t *testing.T, w *Writer) *Edit {
	t.Helper()
	ids, err := w.Seal()
	if err != nil || len(ids) != 1 {
		t.Fatalf("files %v, %v; want one", ids, err)
	}
	return w.Edit(ids[0])
}

func TestAnEditTakesOutAndReplaces(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, Options{})
	if err := write(w, letters("one", "two", "three", strings.Repeat("4", 200<<10))); err != nil {
		t.Fatal(err)
	}
	e := sealed(t, w)
	if err := write(w, letters("later")); err != nil {
		t.Fatal(err)
	}
	err := e.Rewrite(func(n int, line []byte) []byte {
		l, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		switch n {
		case 0:
			return nil
		case 1:
			l.Line = []byte("TWO")
			line = l.Append(nil)
			return line[:len(line)-1]
		}
		return line
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	want := []string{"TWO", "three", strings.Repeat("4", 200<<10), "later"}
	if diff := cmp.Diff(want, texts(t, dir)); diff != "" {
		t.Error(diff)
	}
	before := w.Stats()
	if before.Lines != 4 {
		t.Errorf("%+v, want 4 lines", before)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, open(t, dir, 1<<20, Options{}).Stats()); diff != "" {
		t.Errorf("the numbers after a restart (-before +after):\n%s", diff)
	}
}

func TestAFileWithoutLettersIsRemoved(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, Options{})
	if err := write(w, letters("one")); err != nil {
		t.Fatal(err)
	}
	e := sealed(t, w)
	if err := e.Rewrite(func(int, []byte) []byte { return nil }); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if names := files(t, dir); len(names) != 0 || w.Stats() != (Stats{}) {
		t.Errorf("left: %v, %+v", names, w.Stats())
	}
}

// Power may fail at any moment: what replaces a file must be on disk before it does.
func TestANewFileIsOnDiskBeforeItReplacesTheOld(t *testing.T) {
	dir := t.TempDir()
	real, err := spool.Dir(filepath.Join(dir, Dir, "loki"))
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	fs := &noted{&broken{real, func(op string) error { calls = append(calls, op); return nil }}, &calls}
	w := open(t, dir, 1<<20, Options{FS: fs})
	if err := write(w, letters("one", "two")); err != nil {
		t.Fatal(err)
	}
	e := sealed(t, w)
	calls = nil
	if err := e.Rewrite(func(n int, line []byte) []byte { return [][]byte{nil, line}[n] }); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if diff := cmp.Diff([]string{"remove", "write", "sync", "rename", "sync the directory"}, calls); diff != "" {
		t.Error(diff)
	}
}

// noted notes the calls that broken does not.
type noted struct {
	*broken
	calls *[]string
}

func (n *noted) Rename(from, to string) error {
	*n.calls = append(*n.calls, "rename")
	return n.broken.Rename(from, to)
}

func (n *noted) Remove(name string) error {
	*n.calls = append(*n.calls, "remove")
	return n.broken.Remove(name)
}

func (n *noted) Sync() error {
	*n.calls = append(*n.calls, "sync the directory")
	return n.broken.Sync()
}

func TestAFailedEditLeavesTheFile(t *testing.T) {
	dir := t.TempDir()
	real, err := spool.Dir(filepath.Join(dir, Dir, "loki"))
	if err != nil {
		t.Fatal(err)
	}
	failing := ""
	w := open(t, dir, 1<<20, Options{FS: &broken{real, func(op string) error {
		if op == failing {
			return syscall.ENOSPC
		}
		return nil
	}}})
	if err := write(w, letters("one", "two")); err != nil {
		t.Fatal(err)
	}
	e := sealed(t, w)
	defer e.Close()
	before := w.Stats()
	for _, failing = range []string{"write", "sync"} {
		if err := e.Rewrite(func(n int, line []byte) []byte { return [][]byte{nil, line}[n] }); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", failing, err)
		}
		if diff := cmp.Diff([]string{"one", "two"}, texts(t, dir)); diff != "" || w.Stats() != before {
			t.Errorf("%s: %+v %s", failing, w.Stats(), diff)
		}
	}
}

func TestTheRestOfAnInterruptedEditIsRemoved(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, Options{})
	if err := errors.Join(write(w, letters("one")), w.Close()); err != nil {
		t.Fatal(err)
	}
	half := files(t, dir)[0] + rewrite
	if err := os.WriteFile(half, []byte(`{"time":"19`), 0o600); err != nil {
		t.Fatal(err)
	}
	w = open(t, dir, 1<<20, Options{})
	if names := files(t, dir); len(names) != 1 || strings.HasSuffix(names[0], rewrite) || w.Stats().Lines != 1 {
		t.Errorf("left: %v, %+v", names, w.Stats())
	}
}

func TestTheCapLeavesAFileThatIsEdited(t *testing.T) {
	dir := t.TempDir()
	const max = 32 << 10
	w := open(t, dir, max, Options{})
	if err := write(w, letters("first")); err != nil {
		t.Fatal(err)
	}
	e := sealed(t, w)
	fill := func(n int) {
		for range n {
			if err := write(w, letters(strings.Repeat("x", 100))); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(500)
	if st := w.Stats(); st.Dropped == 0 || st.Bytes > max || texts(t, dir)[0] != "first" {
		t.Errorf("%+v, the first is %.10q", st, texts(t, dir)[0])
	}
	e.Close()
	fill(200)
	if slices.Contains(texts(t, dir), "first") {
		t.Error("the oldest letter stays although its edit has ended")
	}
	if got := w.Edit(1); got != nil {
		t.Error("a file that is gone can be edited")
	}
}

// Old files go, counted; and a slow trickle does not keep old letters for ever.
func TestLettersThatAreTooOldAreRemovedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		const day = 24 * time.Hour
		w := open(t, dir, 1<<20, Options{MaxAge: 8 * day})
		began := time.Now()
		const n = 100
		for i := range n {
			if err := write(w, letters("line")); err != nil {
				t.Fatal(err)
			}
			if err := w.Expire(); err != nil {
				t.Fatal(err)
			}
			st := w.Stats()
			if st.Lines+st.Expired != int64(i)+1 {
				t.Fatalf("after %d letters: %+v", i+1, st)
			}
			oldest := time.Now()
			if err := w.Each(func(line []byte) bool {
				l, err := Parse(line)
				if err != nil {
					t.Fatal(err)
				}
				oldest = l.LastTry
				return false
			}); err != nil {
				t.Fatal(err)
			}
			age := time.Since(oldest)
			if age > 10*day {
				t.Fatalf("a letter is %v old", age)
			}
			if passed := time.Since(began); passed > 12*day && age < 8*day-6*time.Hour {
				t.Fatalf("the oldest letter is %v old only", age)
			}
			time.Sleep(6 * time.Hour) //nolint:forbidigo // of the bubble's clock
		}
		if st := w.Stats(); st.Expired == 0 || st.Dropped != 0 {
			t.Errorf("%+v", st)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8*day + time.Second) //nolint:forbidigo // of the bubble's clock
		w = open(t, dir, 1<<20, Options{MaxAge: 8 * day})
		left := w.Stats().Lines
		if err := w.Expire(); err != nil || left == 0 || w.Stats().Expired != left || len(files(t, dir)) != 0 {
			t.Errorf("after a restart: %v, %+v of %d", err, w.Stats(), left)
		}
	})
}

func TestALetterThatWasTriedAgainIsAsYoungAsItsLastTry(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	w := open(t, t.TempDir(), 1<<20, Options{MaxAge: time.Hour, Now: func() time.Time { return now }})
	if err := write(w, letters("one")); err != nil {
		t.Fatal(err)
	}
	e := sealed(t, w)
	now = now.Add(50 * time.Minute)
	err := e.Rewrite(func(_ int, line []byte) []byte {
		l, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		l.Refused("too_old", "again", now)
		line = l.Append(nil)
		return line[:len(line)-1]
	})
	e.Close()
	now = now.Add(20 * time.Minute)
	if err := errors.Join(err, w.Expire()); err != nil || w.Stats().Lines != 1 {
		t.Errorf("%v, %+v", err, w.Stats())
	}
	now = now.Add(time.Hour)
	if err := w.Expire(); err != nil || w.Stats().Expired != 1 {
		t.Errorf("%v, %+v", err, w.Stats())
	}
}
