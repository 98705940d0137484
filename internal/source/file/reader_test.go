package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/source"
)

// host is a directory of log files and the opener that reads them.
type host struct {
	t      *testing.T
	dir    string
	opener *Opener
	shape  *shape.Shape // of the targets

	dates int    // of rotations
	last  string // file that was rotated away
}

func newHost(t *testing.T) *host {
	return &host{t: t, dir: t.TempDir(), opener: &Opener{Pool: record.NewPool(64 << 20), MaxLine: 1 << 20, Stats: &Stats{}}}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(name, text string) {
	h.t.Helper()
	f, err := os.OpenFile(h.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	h.must(err)
	_, err = f.WriteString(text)
	h.must(errors.Join(err, f.Close()))
}

func (h *host) rename(from, to string) { h.t.Helper(); h.must(os.Rename(h.path(from), h.path(to))) }

func (h *host) target(name string) source.Target {
	src := &record.Source{ID: "file:" + h.path(name), Kind: "file", Name: h.path(name), CanWait: true}
	src.Streams[record.OutputNone] = record.NewStream(record.Labels{{Name: "filename", Value: h.path(name)}}, nil)
	return source.Target{Source: src, Mode: source.File, Path: h.path(name), Shape: h.shape}
}

func (h *host) open(name string, from position.Cursor) *Reader {
	h.t.Helper()
	r, err := h.opener.Open(context.Background(), h.target(name), from)
	h.must(err)
	h.t.Cleanup(r.Close)
	return r.(*Reader)
}

// restart closes the reader and reads on with a new agent.
func (h *host) restart(r *Reader, name string) *Reader {
	h.t.Helper()
	c := r.Cursor()
	r.Close()
	h.opener = &Opener{Pool: h.opener.Pool, MaxLine: h.opener.MaxLine, Stats: h.opener.Stats}
	h.opener.Restore(map[string]position.Cursor{"file:" + h.path(name): c})
	return h.open(name, c)
}

func (h *host) expect(r source.Reader, want ...string) {
	h.t.Helper()
	var got []string
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, source.ErrIdle) || errors.Is(err, io.EOF) {
			break
		}
		h.must(err)
		for i := range b.Entries {
			got = append(got, string(b.Line(i)))
		}
		b.Done(record.Delivered)
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		h.t.Fatalf("read %.200q, want %.200q", got, want)
	}
}

func TestReadsLinesAsTheyCome(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "one\ntwo\r\n\nhal")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "one", "two", "")
	h.expect(r)
	h.write("a.log", "f\nfour\n")
	h.expect(r, "half", "four")
}

func TestFollowsRenameRotation(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "1\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "1")
	h.write("a.log", "2\n")
	h.rename("a.log", "a.log.1")
	h.write("a.log.1", "3 by the writer that has not reopened yet\n")
	h.write("a.log", "")
	h.expect(r, "2", "3 by the writer that has not reopened yet")
	h.write("a.log.1", "4 without newline")
	h.write("a.log", "5\n")
	h.expect(r, "4 without newline", "5")
	if n := h.opener.Stats.Descriptors.Load(); n != 1 {
		t.Errorf("%d descriptors held, want 1", n)
	}
}

func TestFindsWhatWasRotatedWhileTheAgentWasDown(t *testing.T) {
	for name, rotate := range map[string]func(h *host){
		"numbered": func(h *host) { h.rename("a.log", "a.log.1") },
		"twice": func(h *host) {
			h.rename("a.log", "a.log.1")
			h.write("a.log", "between\n")
			h.rename("a.log.1", "a.log.2")
			h.rename("a.log", "a.log.1")
		},
		"dated": func(h *host) { h.rename("a.log", "a.log-20261121") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.write("a.log.9", "ancient history\n")
			h.write("a.log", "1\n")
			r := h.open("a.log", position.Cursor{})
			h.expect(r, "1")
			c := r.Cursor()
			r.Close()
			h.write("a.log", "2\n")
			rotate(h)
			h.write("a.log", "3\n")
			want := []string{"2", "3"}
			if name == "twice" {
				want = []string{"2", "between", "3"}
			}
			h.expect(h.open("a.log", c), want...)
		})
	}
}

func TestARotatedFileThatMatchesTwiceIsReadOnce(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "1\n")
	a := h.open("a.log", position.Cursor{})
	h.expect(a, "1")
	h.write("a.log", "2\n")
	h.rename("a.log", "a.log.1")
	h.write("a.log", "3\n")
	rotated := h.open("a.log.1", position.Cursor{})
	h.expect(rotated) // a has it
	h.expect(a, "2", "3")
	h.write("a.log.1", "late\n")
	h.expect(rotated, "late")
	a = h.restart(a, "a.log")
	h.expect(h.open("a.log.1", position.Cursor{}), "late") // its own position was not given
	h.expect(a)
}

func TestARenamedFileGoesOnUnderItsNewName(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "1\n")
	a := h.open("a.log", position.Cursor{})
	h.expect(a, "1")
	h.rename("a.log", "b.log")
	tg := h.target("a.log")
	tg.Gone = true
	a.Update(tg)
	if _, err := a.Next(context.Background()); !errors.Is(err, io.EOF) {
		t.Fatalf("a gone file ends with %v, want EOF", err)
	}
	a.Close()
	h.write("b.log", "2\n")
	h.expect(h.open("b.log", position.Cursor{}), "2")
}

func TestTruncationStartsAgain(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "a long first line\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "a long first line")
	h.must(os.Truncate(h.path("a.log"), 0))
	h.write("a.log", "short\n")
	h.expect(r, "short")
	if got, want := fmt.Sprint(r.TakeLosses()), fmt.Sprint([]source.Loss{{Reason: source.LostCut, Lines: 1}}); got != want {
		t.Errorf("losses %s, want %s", got, want)
	}
}

func TestTruncationWhileTheAgentWasDown(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "old 1\nold 2\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "old 1", "old 2")
	c := r.Cursor()
	r.Close()
	h.must(os.Truncate(h.path("a.log"), 0))
	h.write("a.log", "new 1\nnew 2\nnew 3\n")
	h.expect(h.open("a.log", c), "new 1", "new 2", "new 3")
}

func TestOddOlderNamesDoNotMatter(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "1\n")
	h.must(os.Symlink("a.log", h.path("a.log.1")))
	h.must(os.Mkdir(h.path("a.log.2"), 0o700))
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "1")
	c := r.Cursor()
	r.Close()
	h.write("a.log", "2\n")
	h.expect(h.open("a.log", c), "2")
}

func TestManyShortLinesAreBounded(t *testing.T) {
	h := newHost(t)
	h.write("a.log", strings.Repeat("\n", 3*shape.MaxEntries))
	r := h.open("a.log", position.Cursor{})
	lines := 0
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, source.ErrIdle) {
			break
		}
		h.must(err)
		if len(b.Entries) > shape.MaxEntries {
			t.Fatalf("a batch of %d entries", len(b.Entries))
		}
		lines += len(b.Entries)
		b.Done(record.Delivered)
	}
	if lines != 3*shape.MaxEntries {
		t.Errorf("%d lines, want %d", lines, 3*shape.MaxEntries)
	}
}

func TestGoesOnWhereItWas(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "1\n2\npart")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "1", "2")
	r = h.restart(r, "a.log")
	h.write("a.log", "ial\n")
	h.expect(r, "partial")
}

func TestARecycledInodeStartsAtZero(t *testing.T) {
	h := newHost(t)
	h.write("a.log", "equal head\nold\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "equal head", "old")
	c := r.Cursor()
	r.Close()
	for range 100 { // until the file system gives the number again, if it does
		h.must(os.Remove(h.path("a.log")))
		h.write("a.log", "equal head\nnew\n")
		var st syscall.Stat_t
		h.must(syscall.Stat(h.path("a.log"), &st))
		if st.Ino == c.File.Inode {
			break
		}
	}
	h.expect(h.open("a.log", c), "equal head", "new")
}

func TestTwoFilesWithEqualHeadsAreBothRead(t *testing.T) {
	h := newHost(t)
	head := strings.Repeat("=", 2000) + "\n"
	h.write("a.log", head+"a\n")
	h.write("b.log", head+"b\n")
	h.expect(h.open("a.log", position.Cursor{}), head[:2000], "a")
	h.expect(h.open("b.log", position.Cursor{}), head[:2000], "b")
}

func TestLinesOverMaxLineAreCut(t *testing.T) {
	h := newHost(t)
	h.opener.MaxLine = 300_000
	h.write("a.log", strings.Repeat("x", 300_000)+"\n"+strings.Repeat("y", 5<<20))
	r := h.open("a.log", position.Cursor{})
	h.expect(r, strings.Repeat("x", 300_000))
	h.write("a.log", "still the same line\nnext\n")
	h.expect(r, strings.Repeat("y", 300_000), "next")
	if h.opener.Stats.Truncated.Load() != 1 {
		t.Errorf("truncated is %d, want 1", h.opener.Stats.Truncated.Load())
	}
	info, err := os.Stat(h.path("a.log"))
	h.must(err)
	if c := r.Cursor(); c.File.Offset != info.Size() {
		t.Errorf("offset %d, want %d", c.File.Offset, info.Size())
	}
}

func TestMaxLineBelowTheChunk(t *testing.T) {
	h := newHost(t)
	h.opener.MaxLine = 10
	h.write("a.log", "0123456789abc\nshort\n")
	h.expect(h.open("a.log", position.Cursor{}), "0123456789", "short")
}

func TestSinceLeavesOldFilesAlone(t *testing.T) {
	h := newHost(t)
	h.write("old.log", "history\n")
	tg := h.target("old.log")
	tg.Since = time.Now().Add(time.Hour)
	r, err := h.opener.Open(context.Background(), tg, position.Cursor{})
	h.must(err)
	t.Cleanup(r.Close)
	h.write("old.log", "news\n")
	h.expect(r, "news")
	tg = h.target("young.log")
	tg.Since = time.Unix(1, 0)
	h.write("young.log", "all of it\n")
	r, err = h.opener.Open(context.Background(), tg, position.Cursor{})
	h.must(err)
	t.Cleanup(r.Close)
	h.expect(r, "all of it")
}

func TestRefusesWhatIsNoFile(t *testing.T) {
	h := newHost(t)
	h.must(syscall.Mkfifo(h.path("fifo"), 0o600))
	h.must(os.Mkdir(h.path("dir"), 0o700))
	for _, name := range []string{"fifo", "dir"} {
		_, err := h.opener.Open(context.Background(), h.target(name), position.Cursor{})
		if err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("open %s: %v, want a refusal", name, err)
		}
	}
	if n := h.opener.Stats.Descriptors.Load(); n != 0 {
		t.Errorf("%d descriptors held, want 0", n)
	}
}

func TestTimestampsGrowWithinAndAcrossRestarts(t *testing.T) {
	h := newHost(t)
	frozen := time.Unix(1_700_000_000, 0)
	h.opener.Now = func() time.Time { return frozen }
	h.write("a.log", "x\nx\nx\n")
	r := h.open("a.log", position.Cursor{})
	b, err := r.Next(context.Background())
	h.must(err)
	for i, e := range b.Entries {
		if want := frozen.UnixNano() + int64(i); e.Time != want {
			t.Errorf("entry %d at %d, want %d", i, e.Time, want)
		}
	}
	b.Done(record.Delivered)
	h.write("a.log", "x\n")
	r = h.restart(r, "a.log")
	h.opener.Now = func() time.Time { return frozen }
	b, err = r.Next(context.Background())
	h.must(err)
	if want := frozen.UnixNano() + 3; b.Entries[0].Time != want {
		t.Errorf("after the restart at %d, want %d", b.Entries[0].Time, want)
	}
	b.Done(record.Delivered)
}

func BenchmarkReader(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.log")
	line := strings.Repeat("0123456789 ", 18) + "\n"
	if err := os.WriteFile(path, bytes.Repeat([]byte(line), 100_000), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(100_000 * len(line)))
	b.ReportAllocs()
	src := &record.Source{ID: "file:" + path}
	n := 0
	for b.Loop() {
		o := &Opener{Pool: record.NewPool(64 << 20), MaxLine: 1 << 20, Stats: &Stats{}}
		r, err := o.Open(context.Background(), source.Target{Source: src, Path: path}, position.Cursor{})
		if err != nil {
			b.Fatal(err)
		}
		for n = 0; ; {
			batch, err := r.Next(context.Background())
			if err != nil {
				break
			}
			n += len(batch.Entries)
			batch.Done(record.Delivered)
		}
		r.Close()
	}
	if n != 100_000 {
		b.Fatalf("read %d lines", n)
	}
}
