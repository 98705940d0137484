package localfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/logcapturer/log_capturer/internal/units"
)

func TestFilesEndAtTheirSizeAndNothingIsLost(t *testing.T) {
	for _, compress := range []string{CompressZstd, CompressGzip, CompressNone} {
		w := newWorld(t, "{data_dir}/{source}.log", func(c *Config) {
			c.Rotate.MaxBytes, c.Rotate.Compress = 1000, compress
		})
		var want strings.Builder
		for i := range 200 {
			line := fmt.Sprintf("line %d %s", i, strings.Repeat("x", 40))
			w.send(batch(source("a"), noon, line))
			want.WriteString(line + "\n")
			w.now = w.now.Add(time.Second)
		}
		if diff := cmp.Diff(want.String(), w.all()); diff != "" {
			t.Errorf("%s: %s", compress, diff)
		}
		files := w.files()
		if len(files) < 10 {
			t.Errorf("%s: %d files", compress, len(files))
		}
		for _, name := range files {
			old, ended := parseRotated(name)
			if len(w.read(name)) > 1000 || ended && old.compressed != (compress != CompressNone) || !ended && name != "a.log" {
				t.Errorf("%s: %s has %d bytes", compress, name, len(w.read(name)))
			}
		}
	}
}

func TestEndedFilesOfOneSecondHaveNamesOfTheirOwn(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", func(c *Config) { c.Rotate.MaxBytes = 1 })
	w.send(batch(source("a"), noon, "1"))
	w.send(batch(source("a"), noon, "2"))
	w.send(batch(source("a"), noon, "3"))
	want := []string{"a.log", "a.log-20260304T120000.1.zst", "a.log-20260304T120000.2.zst"}
	if diff := cmp.Diff(want, w.files()); diff != "" {
		t.Error(diff)
	}
}

func TestFilesEndAtEveryInterval(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", func(c *Config) {
		c.Rotate.Every, c.Rotate.Compress = units.Duration(time.Hour), CompressNone
	})
	for _, minute := range []int{10, 50, 70, 80, 200} {
		w.now = noon.Add(time.Duration(minute) * time.Minute)
		w.send(batch(source("a"), noon, fmt.Sprint(minute)))
	}
	got := map[string]string{}
	for _, name := range w.files() {
		got[name] = w.read(name)
	}
	want := map[string]string{
		"a.log-20260304T131000.1": "10\n50\n",
		"a.log-20260304T152000.1": "70\n80\n",
		"a.log":                   "200\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func zstdOf(t *testing.T, text string) string {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	out := string(e.EncodeAll([]byte(text), nil))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheNextStartFinishesWhatACrashLeft(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", nil)
	w.put("a.log-20260304T100000.1", "not yet compressed\n")
	w.put("a.log-20260304T100000.2", "half compressed\n")
	w.put("a.log-20260304T100000.2.zst.tmp", zstdOf(t, "half compressed\n")[:5])
	w.put("a.log-20260304T100000.3", "compressed and not removed\n")
	w.put("a.log-20260304T100000.3.zst", zstdOf(t, "compressed and not removed\n"))
	w.put("b.log-20260304T100000.1", "compressed by gzip, before\n")
	w.put("b.log-20260304T100000.1.gz", "whole")
	w.send(batch(source("a"), noon, "new"))
	want := []string{
		"a.log", "a.log-20260304T100000.1.zst", "a.log-20260304T100000.2.zst", "a.log-20260304T100000.3.zst",
		"b.log-20260304T100000.1.gz",
	}
	if diff := cmp.Diff(want, w.files()); diff != "" {
		t.Fatal(diff)
	}
	for i, text := range []string{"not yet compressed\n", "half compressed\n", "compressed and not removed\n"} {
		if got := w.read(want[i+1]); got != text {
			t.Errorf("%s: %q", want[i+1], got)
		}
	}
}

func TestOldFilesGoAndForeignOnesStay(t *testing.T) {
	w := newWorld(t, "{data_dir}/logs/{date}/{source}.log", nil)
	stay := []string{
		"logs/2026-03-04/a.log",                          // today's
		"logs/2026-02-01/a.log-20260227T130000.1.zst",    // six days old
		"logs/other/a.log-20200101T000000.1.zst",         // no date there
		"logs/2026-02-01/notes.txt",                      // not the template's
		"logs/2026-02-01/notes.txt-20200101T000000.1.gz", // nor this
		"logs/2026-02-01/deep/a.log",
		"logs/a.log-20200101T000000.1.zst",
	}
	for _, name := range stay {
		w.put(name, "stays\n")
	}
	w.put("logs/2026-02-02/a.log-20260202T120000.1.zst", "too old")
	w.put("logs/2026-02-03/a.log-20260202T120000.1", "too old and never compressed")
	w.put("logs/2026-03-02/b.log", "of a past date\n")
	past := time.Date(2026, 3, 2, 23, 59, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(w.dir, "logs/2026-03-02/b.log"), past, past); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "logs/backup-2020-01-01"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.send(batch(source("a"), noon, "new"))
	want := append(slices.Clone(stay), "logs/2026-03-02/b.log-20260302T235900.1.zst")
	slices.Sort(want)
	if diff := cmp.Diff(want, w.files()); diff != "" {
		t.Error(diff)
	}
	if got := w.read("logs/2026-03-02/b.log-20260302T235900.1.zst"); got != "of a past date\n" {
		t.Errorf("got %q", got)
	}
	dirs, err := os.ReadDir(filepath.Join(w.dir, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range dirs {
		if d.IsDir() {
			names = append(names, d.Name())
		}
	}
	if diff := cmp.Diff([]string{"2026-02-01", "2026-03-02", "2026-03-04", "backup-2020-01-01", "other"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestACancelledCompressionKeepsTheFile(t *testing.T) {
	w := newWorld(t, "{data_dir}/{source}.log", nil)
	w.send(batch(source("b"), noon, "first")) // the first look is over
	w.put("a.log-20260304T100000.1", "text\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.sink.compress(ctx, "a.log-20260304T100000.1"); err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff([]string{"a.log-20260304T100000.1", "b.log"}, w.files()); diff != "" {
		t.Error(diff)
	}
	w.now = w.now.Add(2 * sweepEvery)
	w.send(batch(source("b"), noon, "second"))
	if got := w.read("a.log-20260304T100000.1.zst"); got != "text\n" {
		t.Errorf("got %q", got)
	}
}
