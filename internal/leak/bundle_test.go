package leak

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
)

// leaky has an agent leak streams until there is an alarm.
func leaky(t *testing.T, w *world) {
	t.Helper()
	began := w.passed
	if _, ok := w.untilAlarm(t, 5*time.Minute, func(at time.Duration) []Series {
		return []Series{streams((at - began).Seconds(), 0), {What: Descriptors + "socket", Value: 7, Expected: 7}}
	}); !ok {
		t.Fatal("no alarm")
	}
}

// recovered has all of it go away.
func recovered(t *testing.T, w *world) {
	t.Helper()
	if v := w.over(t, 3*time.Minute, func(time.Duration) []Series { return nil }); v.Status != health.Healthy {
		t.Fatalf("it is %+v", v)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestTheFirstAlarmOfAnEpisodeWritesOneBundle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "diagnostics")
	w := newWorld(func(_ *Config, d *Deps) {
		d.Dir = dir
		d.Effective = func() ([]byte, error) { return []byte("leak_watch: {webhook_url: '***'}\n"), nil }
		d.LastLines = func() []byte { return []byte("msg=hello\n") }
	})
	leaky(t, w)
	w.over(t, 10*time.Minute, func(at time.Duration) []Series { return []Series{streams(at.Seconds(), 0)} })
	if got := names(t, dir); len(got) != 1 || !isBundle(got[0]) {
		t.Fatalf("in the directory are %v", got)
	}
	bundle := w.Verdict().Bundle
	if filepath.Dir(bundle) != dir {
		t.Fatalf("the verdict names %q", bundle)
	}
	want := map[string]string{
		"verdict.json": stream, "snapshot.json": "container_monitor", "goroutines.txt": "goroutine ",
		"goroutines_by_stack.txt": "goroutine profile", "goroutines.pb.gz": "\x1f\x8b", "heap.pb.gz": "\x1f\x8b",
		"descriptors.txt": "socket           7", "config.yaml": "***", "agent.log": "msg=hello",
	}
	if got := names(t, bundle); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the files are %v", got)
	}
	for name, holds := range want {
		text, err := os.ReadFile(filepath.Join(bundle, name))
		if err != nil || !bytes.Contains(text, []byte(holds)) {
			t.Errorf("%s does not hold %q (%v)", name, holds, err)
		}
		if info, err := os.Stat(filepath.Join(bundle, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	for _, d := range []string{dir, bundle} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
	var v Verdict
	text, _ := os.ReadFile(filepath.Join(bundle, "verdict.json"))
	if err := json.Unmarshal(text, &v); err != nil || v.Owner != stream || v.Status != health.Degraded {
		t.Errorf("the verdict is %+v, %v", v, err)
	}
	if numbers, _ := os.ReadFile(filepath.Join(bundle, "descriptors.txt")); !bytes.Contains(numbers, []byte("\n0      ")) {
		t.Errorf("no descriptor is listed in\n%s", numbers)
	}
}

func TestOnlyTheNewestBundlesAreKept(t *testing.T) {
	dir := t.TempDir()
	others := []string{"of-somebody", "20261121T120000Z.tar"}
	for _, name := range append(others, unfinished+"20200101T000000Z", "20250101T000000Z", "20250101T000000Z-2", "20250102T000000Z", "20250103T000000Z", "20250104T000000Z", "20250105T000000Z") {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(func(c *Config, d *Deps) { c.Keep, d.Dir = 2, dir })
	var newest []string
	for range 4 {
		leaky(t, w)
		newest = append(newest, filepath.Base(w.Verdict().Bundle))
		recovered(t, w)
	}
	want := append(newest[2:], others...)
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

func TestNoBundleIsWrittenWhereNoneAreKept(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(func(c *Config, d *Deps) { c.Keep, d.Dir = 0, dir })
	leaky(t, w)
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("there is %v", got)
	}
}

// A disk that refuses is a line in the log; health says the same.
func TestABundleThatCannotBeWrittenDoesNotStopTheWatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w := newWorld(func(_ *Config, d *Deps) {
		d.Dir, d.Log = filepath.Join(file, "diagnostics"), slog.New(slog.NewTextHandler(&log, nil))
	})
	leaky(t, w)
	if v := w.Verdict(); v.Owner != stream || v.Bundle != "" {
		t.Errorf("the verdict is %+v", v)
	}
	if !strings.Contains(log.String(), "make the directory of dumps") {
		t.Errorf("the log says\n%s", log.String())
	}
}

func TestAPartThatFailsLeavesTheOthers(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(func(_ *Config, d *Deps) {
		d.Dir, d.Log = t.TempDir(), slog.New(slog.NewTextHandler(&log, nil))
		d.Effective = func() ([]byte, error) { return nil, errors.New("no configuration today") }
	})
	leaky(t, w)
	if got := names(t, w.Verdict().Bundle); !slices.Contains(got, "heap.pb.gz") {
		t.Errorf("the files are %v", got)
	}
	if !strings.Contains(log.String(), "write config.yaml: no configuration today") {
		t.Errorf("the log says\n%s", log.String())
	}
}

func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	big := func(out io.Writer) error {
		for range 10 {
			if n, err := out.Write(make([]byte, maxFile/4)); n != maxFile/4 || err != nil {
				t.Fatal(n, err)
			}
		}
		return nil
	}
	if err := (part{"text", true, big}).save(dir); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, "text"))
	if err != nil || info.Size() != maxFile+int64(len(cutNote)) {
		t.Errorf("%v, %v", info, err)
	}
	if err := (part{"binary", false, big}).save(dir); err == nil || !strings.Contains(err.Error(), "left out") {
		t.Errorf("it says %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"text"}) {
		t.Errorf("there are %v", got)
	}
}
