package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/internal/record"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func source(id string) *record.Source {
	s := &record.Source{ID: id, Kind: "container", Name: "name of " + id}
	for _, o := range []record.Output{record.Stdout, record.Stderr} {
		s.Streams[o] = record.NewStream(
			record.Labels{{Name: "container", Value: id}, {Name: "stream", Value: o.String()}},
			record.Labels{{Name: "image", Value: "registry/app:1"}})
	}
	return s
}

// batch returns a batch of its own memory with the given lines.
func batch(src *record.Source, lines ...string) *record.Batch {
	b := &record.Batch{Source: src}
	b.Retain(1)
	for i, line := range lines {
		b.Append(1_700_000_000_000_000_000+int64(i), record.Stdout+record.Output(i%2), []byte(line))
	}
	return b
}

func lines(b *record.Batch) []string {
	var out []string
	for i := range b.Entries {
		out = append(out, string(b.Line(i)))
	}
	return out
}

func open(t interface {
	Helper()
	Fatalf(string, ...any)
}, dir string, max int64, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, max, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func appendAll(t *testing.T, s *Spool, batches ...*record.Batch) {
	t.Helper()
	for _, b := range batches {
		if err := s.Append(b, s.LastSeq()+1); err != nil {
			t.Fatalf("append: %v", err)
		}
	}
}

func mustSync(t *testing.T, s *Spool) {
	t.Helper()
	if _, _, err := s.Sync(); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

// readAll reads to the end and returns each batch as "seq: source: lines".
func readAll(t interface {
	Helper()
	Fatalf(string, ...any)
}, s *Spool) []string {
	t.Helper()
	var out []string
	for {
		b, seq, err := s.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		out = append(out, fmt.Sprintf("%d: %s: %s", seq, b.Source.ID, strings.Join(lines(b), "|")))
		b.Done(record.Delivered)
	}
}

func closeSpool(t *testing.T, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// copyDir copies the files as a killed process would leave them.
func copyDir(t interface {
	Helper()
	Fatalf(string, ...any)
}, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatalf("copy: %v", err)
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// faultFS lets hook look at every call, and fail it. A failing write writes half.
type faultFS struct {
	FS
	hook func(op, name string) error
}

func (f *faultFS) Open(name string, flag int) (File, error) {
	op := "open"
	if flag != 0 {
		op = "create"
	}
	if err := f.hook(op, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, name, f.hook}, nil
}

func (f *faultFS) Remove(name string) error {
	if err := f.hook("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *faultFS) Sync() error {
	if err := f.hook("syncdir", ""); err != nil {
		return err
	}
	return f.FS.Sync()
}

type faultFile struct {
	File
	name string
	hook func(op, name string) error
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.hook("write", f.name); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.hook("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.hook("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err := f.hook("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func faulty(t *testing.T, dir string, hook func(op, name string) error) *faultFS {
	t.Helper()
	real, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &faultFS{real, hook}
}
