package deadletter

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/spool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type letter struct {
	views   []record.View
	refused []sink.Rejection
}

func letters(lines ...string) letter {
	src := &record.Source{ID: "a", Kind: "container", Name: "web-1"}
	src.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "app", Value: "web"}}, record.Labels{{Name: "image", Value: "x"}})
	b := &record.Batch{Source: src}
	b.Retain(1)
	var refused []sink.Rejection
	for i, line := range lines {
		b.Append(int64(i)+1, record.Stdout, []byte(line))
		refused = append(refused, sink.Rejection{View: 1, Entry: i, Reason: "too_old", Detail: "entry is too old"})
	}
	return letter{[]record.View{{Batch: b}, record.Whole(b)}, refused}
}

func write(w *Writer, l letter) error { return w.Write(l.views, l.refused, time.Unix(50, 0)) }

func open(t *testing.T, dir string, max int64, o Options) *Writer {
	t.Helper()
	w, err := Open(dir, "loki", max, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "deadletter", "loki", "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

type object map[string]any

func read(t *testing.T, dir string) (out []object) {
	t.Helper()
	for _, name := range files(t, dir) {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			var o object
			if err := json.Unmarshal(s.Bytes(), &o); err != nil {
				t.Fatalf("%s: %v in %q", name, err, s.Text())
			}
			out = append(out, o)
		}
		if err := errors.Join(s.Err(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func texts(t *testing.T, dir string) (out []string) {
	t.Helper()
	for _, o := range read(t, dir) {
		out = append(out, o["line"].(string))
	}
	return out
}

func TestALetterHoldsTheEntryAndWhyItWasRefused(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, Options{Now: func() time.Time { return time.Unix(100, 5) }})
	in := letters("one", "bad \xff")
	in.refused[1].Detail = strings.Repeat("d", 5000)
	if err := write(w, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(nil, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	labels, metadata := map[string]any{"app": "web"}, map[string]any{"image": "x"}
	source := map[string]any{"id": "a", "kind": "container", "name": "web-1"}
	want := []object{
		{
			"time": "1970-01-01T00:00:00.000000001Z", "labels": labels, "metadata": metadata, "line": "one",
			"source": source, "output": "stdout", "sink": "loki", "reason": "too_old", "detail": "entry is too old",
			"first_try": "1970-01-01T00:00:50Z", "last_try": "1970-01-01T00:01:40.000000005Z",
		},
		{
			"time": "1970-01-01T00:00:00.000000002Z", "labels": labels, "metadata": metadata, "line_base64": "YmFkIP8=",
			"source": source, "output": "stdout", "sink": "loki", "reason": "too_old", "detail": strings.Repeat("d", MaxDetail),
			"first_try": "1970-01-01T00:00:50Z", "last_try": "1970-01-01T00:01:40.000000005Z",
		},
	}
	if diff := cmp.Diff(want, read(t, dir)); diff != "" {
		t.Error(diff)
	}
	if st := w.Stats(); st.Lines != 2 || st.Bytes == 0 || st.Bytes != w.Bytes() || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

func TestTheNumbersSurviveARestartAndATornLineDoesNot(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, Options{})
	if err := write(w, letters("one", "two")); err != nil {
		t.Fatal(err)
	}
	before := w.Stats()
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := write(w, letters("late")); err == nil {
		t.Error("a closed writer took a letter")
	}
	f, err := os.OpenFile(files(t, dir)[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(`{"time":"19`)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	w = open(t, dir, 1<<20, Options{})
	if diff := cmp.Diff(before, w.Stats()); diff != "" {
		t.Error(diff)
	}
	if err := write(w, letters("three")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, texts(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A power cut leaves NULs where a page was not written yet, and later pages behind it.
func TestPagesThatAPowerCutTookAreCutOff(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, Options{})
	if err := write(w, letters("kept\x00")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := files(t, dir)[0]
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Repeat("\x00", 100) + "\"}\n{\"line\":\"never taken\"}\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w = open(t, dir, 1<<20, Options{})
	if s := w.Stats(); s.Lines != 1 || len(read(t, dir)) != 1 {
		t.Errorf("%+v, %v", s, read(t, dir))
	}
}

func TestTheCapRemovesTheOldestAndCountsIt(t *testing.T) {
	dir := t.TempDir()
	const max = 32 << 10
	w := open(t, dir, max, Options{})
	const n = 1000
	for i := range n {
		if err := write(w, letters(strings.Repeat("x", 100))); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if b := w.Bytes(); b > max {
			t.Fatalf("%d bytes, the cap is %d", b, max)
		}
	}
	st := w.Stats()
	if st.Lines+st.Dropped != n || st.Dropped == 0 || int64(len(texts(t, dir))) != st.Lines || st.Bytes < max/2 {
		t.Errorf("%+v, %d lines on disk", st, len(texts(t, dir)))
	}
	if err := write(w, letters(strings.Repeat("y", 2*max))); err != nil {
		t.Fatalf("a letter larger than the cap: %v", err)
	}
	if st := w.Stats(); st.Lines != 1 || st.Dropped != n {
		t.Errorf("behind a large letter: %+v", st)
	}
}

// broken fails the calls for which fail returns an error.
type broken struct {
	spool.FS
	fail func(op string) error
}

func (b *broken) Open(name string, flag int) (spool.File, error) {
	f, err := b.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &brokenFile{f, b.fail}, nil
}

type brokenFile struct {
	spool.File
	fail func(op string) error
}

func (f *brokenFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fail("write"); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *brokenFile) Sync() error {
	if err := f.fail("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func TestAFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	fs, err := spool.Dir(filepath.Join(dir, "deadletter", "loki"))
	if err != nil {
		t.Fatal(err)
	}
	failing := ""
	synced := 0
	w := open(t, dir, 1<<20, Options{FS: &broken{fs, func(op string) error {
		if op == "sync" {
			synced++
		}
		if op == failing {
			return syscall.ENOSPC
		}
		return nil
	}}})
	var want []string
	for _, failing = range []string{"", "write", "sync", ""} {
		err := write(w, letters("with "+failing))
		if failing == "" {
			want = append(want, "with ")
		}
		if (failing != "") != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%q: %v", failing, err)
		}
		if st := w.Stats(); st.Lines != int64(len(want)) {
			t.Errorf("%q: %+v", failing, st)
		}
	}
	if diff := cmp.Diff(want, texts(t, dir)); diff != "" {
		t.Error(diff)
	}
	if synced != 3 {
		t.Errorf("%d syncs, want one for each Write that wrote", synced)
	}
}

func TestARejectionOfNothingIsAnError(t *testing.T) {
	w := open(t, t.TempDir(), 1<<20, Options{})
	l := letters("one")
	for _, r := range []sink.Rejection{{View: 2}, {View: -1}, {View: 1, Entry: 1}, {View: 1, Entry: -1}} {
		if err := w.Write(l.views, []sink.Rejection{r}, time.Time{}); err == nil {
			t.Errorf("%+v was written", r)
		}
	}
	if st := w.Stats(); st != (Stats{}) {
		t.Errorf("%+v", st)
	}
}

func TestHostileSinkNamesAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "../x", "/x", `a\b`, "a\x00b"} {
		if w, err := Open(t.TempDir(), name, 1, Options{}); err == nil {
			t.Errorf("%q was taken", name)
			_ = w.Close()
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	w, err := Open(b.TempDir(), "loki", 64<<20, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	in := letters(slices.Repeat([]string{strings.Repeat("x", 100)}, 100)...)
	b.ReportAllocs()
	for b.Loop() {
		if err := write(w, in); err != nil {
			b.Fatal(err)
		}
	}
}
