package localfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the time of the tests' entries and of their clock.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func source(name string) *record.Source {
	s := &record.Source{ID: "container:" + name, Kind: "container", Name: name}
	for _, o := range []record.Output{record.OutputNone, record.Stdout, record.Stderr} {
		s.Streams[o] = record.NewStream(record.Labels{{Name: "app", Value: "web"}, {Name: "stream", Value: o.String()}}, nil)
	}
	return s
}

// batch returns the lines as entries one microsecond apart, from at on.
func batch(src *record.Source, at time.Time, lines ...string) record.View {
	b := &record.Batch{Source: src}
	b.Retain(1)
	for i, line := range lines {
		b.Append(at.UnixNano()+int64(i)*1000, record.Stdout, []byte(line))
	}
	return record.Whole(b)
}

// world is a sink with a clock and its data directory.
type world struct {
	*testing.T
	dir  string
	sink *Sink
	now  time.Time
}

// newWorld returns a sink with files at path, raw where nothing else is said.
func newWorld(t *testing.T, path string, edit func(*Config)) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), now: noon}
	w.start(path, edit)
	return w
}

func (w *world) start(path string, edit func(*Config)) {
	w.Helper()
	c := DefaultConfig()
	c.Path, c.Format = path, FormatRaw
	if edit != nil {
		edit(&c)
	}
	s, err := New(c, sink.Deps{Name: "local_file", DataDir: w.dir})
	if err != nil {
		w.Fatal(err)
	}
	s.now = func() time.Time { return w.now }
	w.sink = s
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Errorf("close: %v", err)
		}
	})
}

func (w *world) send(views ...record.View) {
	w.Helper()
	if err := w.sink.Send(w.Context(), views); err != nil {
		w.Fatalf("send: %v", err)
	}
}

// files returns the paths below the data directory, sorted.
func (w *world) files() (out []string) {
	w.Helper()
	err := filepath.WalkDir(w.dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(w.dir, name)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// read returns a file's content, decompressed.
func (w *world) read(name string) string {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	var r io.Reader = bytes.NewReader(data)
	switch filepath.Ext(name) {
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			w.Fatal(err)
		}
		defer z.Close()
		r = z
	case ".gz":
		if r, err = gzip.NewReader(r); err != nil {
			w.Fatal(err)
		}
	}
	data, err = io.ReadAll(r)
	if err != nil {
		w.Fatalf("%s: %v", name, err)
	}
	return string(data)
}

// all returns the content of all files, ended ones first.
func (w *world) all() string {
	w.Helper()
	var ended, active strings.Builder
	for _, name := range w.files() {
		if _, ok := parseRotated(filepath.Base(name)); ok {
			ended.WriteString(w.read(name))
		} else {
			active.WriteString(w.read(name))
		}
	}
	return ended.String() + active.String()
}

// put writes a file below the data directory.
func (w *world) put(name, content string) {
	w.Helper()
	full := filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
		w.Fatal(err)
	}
}

// faultyFile fails writes after some bytes, and what else is asked for.
type faultyFile struct {
	osFile
	fail *fault
	name string
}

type fault struct {
	name     string // of the file; every one when empty
	write    int    // bytes of the next write that get through; -1 for all
	sync     bool
	truncate bool
}

func (f *faultyFile) hit() bool { return f.fail.name == "" || f.fail.name == f.name }

func (f *faultyFile) Write(b []byte) (int, error) {
	if !f.hit() || f.fail.write < 0 {
		return f.osFile.Write(b)
	}
	n, _ := f.osFile.Write(b[:min(f.fail.write, len(b))])
	return n, syscall.ENOSPC
}

func (f *faultyFile) Sync() error {
	if f.hit() && f.fail.sync {
		return syscall.EIO
	}
	return f.osFile.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if f.fail.truncate {
		return syscall.EIO
	}
	return f.osFile.Truncate(size)
}

// faults puts faults behind the sink's files; none at first.
func (w *world) faults() *fault {
	fail := &fault{write: -1}
	w.sink.open = func(root *os.Root, name string, flag int) (osFile, error) {
		f, err := openFile(root, name, flag)
		if err != nil {
			return nil, err
		}
		return &faultyFile{f, fail, name}, nil
	}
	return fail
}

type jsonLine struct {
	Time       time.Time
	Labels     map[string]string
	Metadata   map[string]string
	Line       *string
	LineBase64 []byte `json:"line_base64"`
}

func parseLines(t testing.TB, content string) (out []jsonLine) {
	t.Helper()
	for line := range strings.Lines(content) {
		var j jsonLine
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, j)
	}
	return out
}
