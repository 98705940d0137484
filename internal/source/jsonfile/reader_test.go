package jsonfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
)

// engineLog writes json-files and rotates them as the engine does.
type engineLog struct {
	t       testing.TB
	path    string
	maxFile int
	clock   time.Time
	parts   map[string]time.Time // of the first part of an unfinished line, by stream
	f       *os.File
}

func newEngineLog(t testing.TB, dir string, maxFile int) *engineLog {
	t.Helper()
	l := &engineLog{t: t, path: filepath.Join(dir, "c-json.log"), maxFile: maxFile, clock: time.Unix(1_700_000_000, 0), parts: map[string]time.Time{}}
	l.open()
	return l
}

func (l *engineLog) open() {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	l.must(err)
	l.f = f
}

func (l *engineLog) must(err error) {
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *engineLog) rotate() {
	l.must(l.f.Close())
	if l.maxFile == 1 {
		l.must(os.Remove(l.path))
		l.open()
		return
	}
	for n := l.maxFile - 1; n > 1; n-- {
		from := fmt.Sprintf("%s.%d", l.path, n-1)
		if _, err := os.Lstat(from); err == nil {
			l.must(os.Rename(from, fmt.Sprintf("%s.%d", l.path, n)))
		}
	}
	l.must(os.Rename(l.path, l.path+".1"))
	l.open()
}

// write adds one record; text without a newline is a part of a line, and all parts of
// a line have the time of the first.
func (l *engineLog) write(stream, text string) {
	l.clock = l.clock.Add(time.Microsecond)
	at, unfinished := l.parts[stream]
	if !unfinished {
		at = l.clock
	}
	l.parts[stream] = at
	if strings.HasSuffix(text, "\n") {
		delete(l.parts, stream)
	}
	_, err := l.f.Write(append(engineLine(text, stream, at, nil), '\n'))
	l.must(err)
}

// crash ends the process that wrote: what it left unfinished stays so.
func (l *engineLog) crash() { clear(l.parts) }

func (l *engineLog) raw(b []byte) {
	_, err := l.f.Write(b)
	l.must(err)
}

func target(path string) source.Target {
	labels := record.Labels{{Name: "container", Value: "c"}}
	src := &record.Source{ID: "container:c", Kind: "container", Name: "c", CanWait: true}
	src.Streams[record.Stdout] = record.NewStream(append(labels, record.Label{Name: "stream", Value: "stdout"}), nil)
	src.Streams[record.Stderr] = record.NewStream(append(labels, record.Label{Name: "stream", Value: "stderr"}), nil)
	return source.Target{Source: src, Mode: source.File, Path: path, Container: &source.Container{ID: "c"}}
}

func open(t testing.TB, tg source.Target, from position.Cursor) (*Reader, *Stats) {
	t.Helper()
	stats := &Stats{}
	o := &Opener{Pool: record.NewPool(64 << 20), MaxLine: 1 << 20, Stats: stats}
	r, err := o.Open(context.Background(), tg, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r.(*Reader), stats
}

// lost returns what the reader lost for a reason since it was asked last.
func lost(r *Reader, reason string) (lines int64) {
	for _, l := range r.TakeLosses() {
		if l.Reason == reason {
			lines += l.Lines
		}
	}
	return lines
}

// drain reads until there is nothing more now and returns "output text" of each entry.
func drain(t testing.TB, r source.Reader) (lines []string) {
	t.Helper()
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, source.ErrIdle) || errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Entries {
			lines = append(lines, b.Entries[i].Output.String()+" "+string(b.Line(i)))
		}
		b.Done(record.Delivered)
	}
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d lines, want %d\ngot  %.300q\nwant %.300q", len(got), len(want), got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("line %d is %.200q, want %.200q", i, got[i], want[i])
		}
	}
}

func TestReadsEveryLineAcrossRotations(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	r, stats := open(t, target(l.path), position.Cursor{})
	var want []string
	for i := range 1000 {
		if i%100 == 99 {
			l.rotate()
			if _, err := r.Look(); err != nil {
				t.Fatal(err)
			}
		}
		line := fmt.Sprintf("seq=%d", i)
		l.write("stdout", line+"\n")
		want = append(want, "stdout "+line)
	}
	equal(t, drain(t, r), want)
	if n := stats.Descriptors.Load(); n != 1 {
		t.Errorf("%d descriptors held after reading, want 1", n)
	}
	if n := len(r.TakeLosses()); n != 0 {
		t.Errorf("%d losses counted, want 0", n)
	}
}

func TestHoldsGenerationsThatTheEngineRemoves(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 1)
	r, _ := open(t, target(l.path), position.Cursor{})
	var want []string
	for i := range 50 {
		l.write("stdout", fmt.Sprintf("%d\n", i))
		want = append(want, fmt.Sprintf("stdout %d", i))
		l.rotate() // removes what was written
		if _, err := r.Look(); err != nil {
			t.Fatal(err)
		}
	}
	tg := target(l.path)
	tg.Gone = true
	l.must(os.RemoveAll(filepath.Dir(l.path)))
	r.Update(tg)
	equal(t, drain(t, r), want)
}

func TestCountsAGenerationThatWasGoneBeforeItWasSeen(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 2)
	r, _ := open(t, target(l.path), position.Cursor{})
	l.write("stdout", "first\n")
	drain(t, r)
	for i := range 5 { // nobody looks meanwhile
		l.rotate()
		l.write("stdout", fmt.Sprintf("%d\n", i))
	}
	equal(t, drain(t, r), []string{"stdout 3", "stdout 4"})
	if n := lost(r, source.LostRotated); n != 1 {
		t.Errorf("missed is %d, want 1", n)
	}
}

func TestCountsAContainerThatWasGoneBeforeItsFileWasSeen(t *testing.T) {
	for _, ran := range []bool{true, false} {
		tg := target(filepath.Join(t.TempDir(), "x-json.log"))
		if ran {
			tg.Container.Started = time.Unix(1, 0)
		}
		r, _ := open(t, tg, position.Cursor{})
		equal(t, drain(t, r), nil)
		tg.Gone = true
		r.Update(tg)
		want := int64(0)
		if ran {
			want = 1
		}
		for range 2 {
			if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		if n := lost(r, source.LostRemoved); n != want {
			t.Errorf("it ran: %v, lost is %d, want %d", ran, n, want)
		}
	}
}

func TestJoinsPartialLinesPerOutput(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	a, b := strings.Repeat("a", 16384), strings.Repeat("b", 16384)
	l.write("stdout", a)
	l.write("stderr", "between\n")
	l.write("stderr", b)
	l.rotate() // a sequence may straddle a rotation
	l.write("stdout", a)
	l.write("stdout", "end\n")
	l.write("stderr", "tail\n")
	r, _ := open(t, target(l.path), position.Cursor{})
	equal(t, drain(t, r), []string{"stderr between", "stdout " + a + a + "end", "stderr " + b + "tail"})
}

func TestLastWordsWithoutANewline(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	l.write("stdout", "run 1 ends here")
	l.write("stderr", "panic: no newline")
	tg := target(l.path)
	tg.Container.Running, tg.Container.Started = true, time.Unix(1, 0)
	r, _ := open(t, tg, position.Cursor{})
	equal(t, drain(t, r), nil) // there may be more to come
	l.crash()
	l.write("stdout", "run 2\n")
	equal(t, drain(t, r), []string{"stdout run 1 ends here", "stdout run 2"})
	tg.Gone = true
	r.Update(tg)
	equal(t, drain(t, r), []string{"stderr panic: no newline"})
}

func TestAStoppedContainersLastWordsAreNotHeldBack(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	l.write("stdout", "the end")
	tg := target(l.path)
	tg.Container.Started = time.Unix(1, 0) // ran, and runs no more
	r, _ := open(t, tg, position.Cursor{})
	equal(t, drain(t, r), nil)
	r.parts[record.Stdout].since = time.Now().Add(-patience)
	equal(t, drain(t, r), []string{"stdout the end"})
	c := r.Cursor()
	again, _ := open(t, tg, c)
	equal(t, drain(t, again), nil)
}

func TestGoesOnBehindWhatWasReadAsAStream(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	l.write("stdout", "1\n")
	l.write("stderr", "2\n")
	l.write("stdout", "3\n")
	c := position.Cursor{API: &position.APIPos{Streams: [2]position.StreamPos{
		{Time: l.clock.UnixNano(), Seen: []uint64{replay.Hash(l.clock.UnixNano(), []byte("3"))}},
		{Time: l.clock.UnixNano() - 2000},
	}}}
	l.write("stdout", "4\n")
	r, _ := open(t, target(l.path), c)
	equal(t, drain(t, r), []string{"stderr 2", "stdout 4"})
}

func TestCutsLinesAtMaxLine(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	long := strings.Repeat("x", 16384)
	for range 100 {
		l.write("stdout", long)
	}
	l.write("stdout", "end\n")
	l.write("stdout", "next\n")
	r, stats := open(t, target(l.path), position.Cursor{})
	r.opener.MaxLine = 100_000
	got := drain(t, r)
	if len(got) != 2 || len(got[0]) != 100_000+len("stdout ") || got[1] != "stdout next" {
		t.Fatalf("got %d lines of %d bytes", len(got), len(got[0]))
	}
	if stats.Truncated.Load() != 1 {
		t.Errorf("truncated is %d, want 1", stats.Truncated.Load())
	}
}

func TestSkipsDamageAndCountsTheHole(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	l.write("stdout", "before\n")
	l.raw(bytes.Repeat([]byte{0}, 5000))
	l.write("stdout", "right behind the hole\n")
	l.raw([]byte("{\"log\":\"half a rec\nmore garbage\n\xff\xfe\n"))
	l.write("stdout", "after\n")
	l.raw([]byte("\n\n"))
	l.raw(bytes.Repeat([]byte{0}, 3<<20)) // longer than any record
	l.raw([]byte("\n"))
	l.write("stdout", "the end\n")
	r, _ := open(t, target(l.path), position.Cursor{})
	equal(t, drain(t, r), []string{"stdout before", "stdout right behind the hole", "stdout after", "stdout the end"})
	if n := lost(r, source.LostDamaged); n != 3 {
		t.Errorf("%d holes counted, want 3", n)
	}
}

func TestWaitsForTheRestOfARecord(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	whole := append(engineLine("slow disk\n", "stdout", l.clock, nil), '\n')
	l.raw(whole[:20])
	r, _ := open(t, target(l.path), position.Cursor{})
	equal(t, drain(t, r), nil)
	l.raw(whole[20:])
	equal(t, drain(t, r), []string{"stdout slow disk"})
	if n := lost(r, source.LostDamaged); n != 0 {
		t.Errorf("%d holes counted, want 0", n)
	}
}

func TestStartsAgainWhenTheFileWasEmptied(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	l.write("stdout", "old line that is longer\n")
	r, _ := open(t, target(l.path), position.Cursor{})
	drain(t, r)
	l.must(os.Truncate(l.path, 0))
	l.write("stdout", "new\n")
	equal(t, drain(t, r), []string{"stdout new"})
	if n := lost(r, source.LostCut); n != 1 {
		t.Errorf("cut files: %d, want 1", n)
	}
}

func TestTerminalLinesLoseTheirCarriageReturn(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	l.write("stdout", "prompt\r\n")
	tg := target(l.path)
	r, _ := open(t, tg, position.Cursor{})
	equal(t, drain(t, r), []string{"stdout prompt"})
}

// Whatever is written, rotated and restarted, in whatever order, each line comes once.
func TestEachLineOnceHoweverOftenItIsReopened(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "log")
		if err != nil {
			rt.Fatal(err)
		}
		l := newEngineLog(t, dir, 3)
		r, _ := open(t, target(l.path), position.Cursor{})
		open1 := r
		pending := map[string]string{}
		want := map[string][]string{}
		got := map[string][]string{}
		last := map[record.Output]int64{}
		seq := 0
		read := func(batches int) {
			for range batches {
				b, err := r.Next(context.Background())
				if err != nil {
					return
				}
				for i := range b.Entries {
					e := &b.Entries[i]
					got[e.Output.String()] = append(got[e.Output.String()], string(b.Line(i)))
					if e.Time <= last[e.Output] {
						rt.Fatalf("timestamp %d of %q is not behind %d", e.Time, b.Line(i), last[e.Output])
					}
					last[e.Output] = e.Time
				}
				b.Done(record.Delivered)
			}
		}
		rotated := 0
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				stream := rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(rt, "stream")
				text := fmt.Sprintf("%d,", seq)
				seq++
				if rapid.IntRange(0, 3).Draw(rt, "part") == 0 {
					pending[stream] += text
					l.write(stream, text)
					return
				}
				l.write(stream, text+"\n")
				want[stream] = append(want[stream], pending[stream]+text)
				pending[stream] = ""
			},
			"rotate": func(*rapid.T) {
				if rotated++; rotated > 2 { // further generations are gone for a reader that starts anew
					read(1000)
					if pending["stdout"]+pending["stderr"] != "" {
						return
					}
					rotated = 1
				}
				l.rotate()
				_, _ = r.Look()
			},
			"read": func(*rapid.T) { read(1) },
			"reopen": func(*rapid.T) {
				c := r.Cursor()
				r.Close()
				r, _ = open(t, target(l.path), c)
			},
			"": func(*rapid.T) {},
		})
		read(1000)
		for stream := range want {
			if strings.Join(got[stream], "|") != strings.Join(want[stream], "|") {
				rt.Fatalf("%s: got %q, want %q", stream, got[stream], want[stream])
			}
		}
		r.Close()
		open1.Close()
	})
}

func BenchmarkReader(b *testing.B) { benchmarkReader(b, nil) }

// Every line begins an entry, and none goes on: what it costs to wait for that.
func BenchmarkReaderOfEntries(b *testing.B) {
	benchmarkReader(b, matcher(b, func(c *multiline.Config) { c.Start = "^0" }))
}

// No line has to do with a trace.
func BenchmarkReaderOfTraces(b *testing.B) {
	benchmarkReader(b, matcher(b, func(c *multiline.Config) { c.Presets = []string{"java"} }))
}

func benchmarkReader(b *testing.B, m *multiline.Matcher) {
	dir := b.TempDir()
	l := newEngineLog(b, dir, 2)
	text := strings.Repeat("0123456789 ", 18) + "\n"
	for range 50_000 {
		l.write("stdout", text)
	}
	info, err := os.Stat(l.path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	o := &Opener{Pool: record.NewPool(64 << 20), MaxLine: 1 << 20, Stats: &Stats{}}
	tg := target(l.path)
	tg.Multiline = m
	for b.Loop() {
		r, err := o.Open(context.Background(), tg, position.Cursor{})
		if err != nil {
			b.Fatal(err)
		}
		lines := 0
		for {
			batch, err := r.Next(context.Background())
			if err != nil {
				break
			}
			lines += len(batch.Entries)
			batch.Done(record.Delivered)
		}
		r.Close()
		if most := 50_000; lines != most && (m == nil || lines != most-1) { // the last one may go on
			b.Fatalf("read %d lines", lines)
		}
	}
}
