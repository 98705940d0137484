package localfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/sinktest"
)

func TestSuite(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		t.Run(fmt.Sprint("fsync=", fsync), func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{New: func(t testing.TB) sinktest.Instance { return instance(t, fsync) }, Once: true})
		})
	}
}

func instance(t testing.TB, fsync bool) sinktest.Instance {
	dir := t.TempDir()
	c := DefaultConfig()
	c.Fsync = fsync
	s, err := New(c, sink.Deps{Name: "local_file", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fail := &fault{write: -1}
	s.open = func(root *os.Root, name string, flag int) (osFile, error) {
		f, err := openFile(root, name, flag)
		return &faultyFile{f, fail, name}, err
	}
	return sinktest.Instance{
		Sink: s,
		Break: func(testing.TB) func() {
			fail.write = 700
			return func() { fail.write = -1 }
		},
		Received: func(t testing.TB) (out []sinktest.Entry) {
			names, err := filepath.Glob(filepath.Join(dir, "logs", "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range parseLines(t, string(data)) {
					line := j.LineBase64
					if j.Line != nil {
						line = []byte(*j.Line)
					}
					out = append(out, sinktest.Entry{
						Source: j.Labels[sinktest.LabelSource], Output: j.Labels[sinktest.LabelOutput],
						Time: j.Time.UnixNano(), Line: line,
					})
				}
			}
			return out
		},
	}
}

func TestEntriesGoToTheFilesOfTheirDates(t *testing.T) {
	w := newWorld(t, "{data_dir}/logs/{date}/{hour}/{kind}-{source}-{stream}-{label:app}.log", nil)
	v := batch(source("web"), noon, "one", "two", "three", "four")
	v.Batch.Entries[1].Output = record.Stderr
	v.Batch.Entries[2].Time += time.Hour.Nanoseconds()
	v.Batch.Entries[3].Time -= (12*time.Hour + time.Second).Nanoseconds()
	w.send(v)
	got := map[string]string{}
	for _, name := range w.files() {
		got[name] = w.read(name)
	}
	want := map[string]string{
		"logs/2026-03-04/12/container-web-stdout-web.log": "one\n",
		"logs/2026-03-04/12/container-web-stderr-web.log": "two\n",
		"logs/2026-03-04/13/container-web-stdout-web.log": "three\n",
		"logs/2026-03-03/23/container-web-stdout-web.log": "four\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFailedSendLeavesNoLineInAnyFile(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		w := newWorld(t, "{data_dir}/{source}.log", func(c *Config) { c.Fsync = fsync })
		fail := w.faults()
		w.send(batch(source("a"), noon, "a0"), batch(source("b"), noon, "b0"))
		views := []record.View{batch(source("a"), noon, "a1"), batch(source("b"), noon, "b1"), batch(source("c"), noon, "c1")}
		fails := []fault{{name: "b.log", write: 2}, {name: "c.log", write: 0}}
		if fsync {
			fails = append(fails, fault{name: "b.log", write: -1, sync: true})
		}
		for _, *fail = range fails {
			if err := w.sink.Send(t.Context(), views); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
				t.Fatalf("send: %v", err)
			}
			if got := w.all(); got != "a0\nb0\n" {
				t.Fatalf("after %+v: %q", *fail, got)
			}
		}
		*fail = fault{write: -1}
		w.send(views...)
		if got := w.all(); got != "a0\na1\nb0\nb1\nc1\n" {
			t.Errorf("in the end: %q", got)
		}
	}
}

func TestWhatCannotBeCutBackIsCutBeforeTheNextWrite(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", nil)
	fail := w.faults()
	w.send(batch(source("a"), noon, "a0"))
	views := []record.View{batch(source("a"), noon, "a1")}
	*fail = fault{write: 1, truncate: true}
	for range 2 {
		if err := w.sink.Send(t.Context(), views); err == nil {
			t.Fatal("no error")
		}
	}
	*fail = fault{write: -1}
	w.send(views...)
	if got := w.all(); got != "a0\na1\n" {
		t.Errorf("got %q", got)
	}
}

func TestAFullDiskIsAnErrorAndLaterAllIsThereOnce(t *testing.T) {
	// A limit of the process's own would hit everything beside it; a file that is full
	// is what the sink sees in both cases.
	w := newWorld(t, "{data_dir}/{source}.log", nil)
	fail := w.faults()
	var want strings.Builder
	for i := range 50 {
		line := fmt.Sprintf("line %d", i)
		v := batch(source("a"), noon, line)
		if i%3 == 0 {
			fail.write = i % 9
			if err := w.sink.Send(t.Context(), []record.View{v}); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("send: %v", err)
			}
			fail.write = -1
		}
		w.send(v)
		want.WriteString(line + "\n")
	}
	if diff := cmp.Diff(want.String(), w.all()); diff != "" {
		t.Error(diff)
	}
}

func TestAHalfLineOfACrashIsCutOff(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for before, after := range map[string]string{
		"":                       "",
		"one\n":                  "one\n",
		"one\ntw":                "one\n",
		"one\n" + long:           "one\n",
		"tw":                     "",
		long:                     "",
		"one\n\n":                "one\n\n",
		long + "\n" + long + "y": long + "\n",
	} {
		w := newWorld(t, "{data_dir}/{source}.log", nil)
		w.put("a.log", before)
		w.send(batch(source("a"), noon, "next"))
		if got := w.all(); got != after+"next\n" {
			t.Errorf("of %.20q became %.20q, %d bytes", before, got, len(got))
		}
	}
}

func TestDescriptorsAreBounded(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", nil)
	for round := range 3 {
		var views []record.View
		for i := range 3 * maxOpen {
			views = append(views, batch(source(fmt.Sprint("s", i)), noon, fmt.Sprint(round)))
		}
		w.send(views...)
		if n := len(w.sink.handles); n > maxOpen {
			t.Errorf("%d open files", n)
		}
	}
	for _, name := range w.files() {
		if got := w.read(name); got != "0\n1\n2\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if n := len(w.files()); n != 3*maxOpen {
		t.Errorf("%d files", n)
	}
}

func TestAFileThatOthersMovedAwayIsMadeAnew(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", nil)
	w.send(batch(source("a"), noon, "1"))
	if err := os.Rename(filepath.Join(w.dir, "a.log"), filepath.Join(w.dir, "moved")); err != nil {
		t.Fatal(err)
	}
	w.send(batch(source("a"), noon, "2"))
	if err := os.Truncate(filepath.Join(w.dir, "moved"), 0); err != nil {
		t.Fatal(err)
	}
	if got := w.all(); got != "2\n" {
		t.Errorf("got %q", got)
	}
}

func TestLinksAndSpecialFilesAreRefused(t *testing.T) {
	outside := t.TempDir()
	for name, plant := range map[string]func(dir string) error{
		"a link out of the directory": func(dir string) error {
			return os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "d", "a.log"))
		},
		"a link within the directory": func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600), os.Symlink("../secret", filepath.Join(dir, "d", "a.log")))
		},
		"a link for a directory": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "d")), os.Symlink(outside, filepath.Join(dir, "d")))
		},
		"a pipe":      func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "d", "a.log"), 0o600) },
		"a directory": func(dir string) error { return os.Mkdir(filepath.Join(dir, "d", "a.log"), 0o700) },
		"a file for a directory": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "d")), os.WriteFile(filepath.Join(dir, "d"), nil, 0o600))
		},
	} {
		w := newWorld(t, "{data_dir}/{kind}/{source}.log", nil)
		if err := errors.Join(os.Mkdir(filepath.Join(w.dir, "d"), 0o700), plant(w.dir)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		src := source("a")
		src.Kind = "d"
		if err := w.sink.Send(t.Context(), []record.View{batch(src, noon, "x")}); err == nil {
			t.Errorf("%s: no error", name)
		}
		left, err := os.ReadDir(outside)
		if err != nil || len(left) != 0 {
			t.Errorf("%s: written outside: %v, %v", name, left, err)
		}
		if secret, err := os.ReadFile(filepath.Join(w.dir, "secret")); err == nil && len(secret) != 0 {
			t.Errorf("%s: written through a link: %q", name, secret)
		}
	}
}

func TestAnEndedContextAndAClosedSinkWriteNothing(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.sink.Send(ctx, []record.View{batch(source("a"), noon, "x")}); !errors.Is(err, context.Canceled) {
		t.Errorf("send: %v", err)
	}
	if err := w.sink.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.sink.Send(t.Context(), []record.View{batch(source("a"), noon, "x")}); err == nil {
		t.Error("a closed sink took entries")
	}
	if got := w.files(); got != nil {
		t.Errorf("files: %q", got)
	}
}

func BenchmarkEncode(b *testing.B) {
	c := DefaultConfig()
	s, err := New(c, sink.Deps{Name: "local_file", DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	lines := make([]string, 1000)
	for i := range lines {
		lines[i] = strings.Repeat(`GET /index.html HTTP/1.1 200 `, 4)
	}
	v := batch(source("web"), noon, lines...)
	b.SetBytes(int64(v.Bytes()))
	b.ReportAllocs()
	for b.Loop() {
		s.encode(v)
		s.release()
	}
}

func BenchmarkSend(b *testing.B) {
	c := DefaultConfig()
	c.Rotate.MaxBytes = 0
	s, err := New(c, sink.Deps{Name: "local_file", DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	lines := make([]string, 1000)
	for i := range lines {
		lines[i] = strings.Repeat(`GET /index.html HTTP/1.1 200 `, 4)
	}
	views := []record.View{batch(source("web"), noon, lines...)}
	b.SetBytes(int64(views[0].Bytes()))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Send(b.Context(), views); err != nil {
			b.Fatal(err)
		}
	}
}
