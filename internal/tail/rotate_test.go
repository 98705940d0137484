package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

const lineSize = 16 // bytes of each line that a writer writes

// writer writes numbered lines to a log, and rotates it like the engine does.
type writer struct {
	t     *testing.T
	path  string
	files int // names that there are at most: 1 = what is rotated loses its name at once
	lines int // written so far
}

func newWriter(t *testing.T, files int) *writer {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "c.log"), files: files}
	put(t, w.path, "")
	return w
}

func (w *writer) write(lines int) {
	w.t.Helper()
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var text []byte
	for range lines {
		text = fmt.Appendf(text, "%015d\n", w.lines)
		w.lines++
	}
	if _, err := f.Write(text); err != nil {
		w.t.Fatal(err)
	}
}

// rotate makes the newest an older one, and a new one with some lines.
func (w *writer) rotate(lines int) {
	w.t.Helper()
	name := func(n int) string {
		if n == 0 {
			return w.path
		}
		return w.path + "." + strconv.Itoa(n)
	}
	_ = os.Remove(name(w.files - 1))
	for n := w.files - 2; n >= 0; n-- {
		if err := os.Rename(name(n), name(n+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Fatal(err)
		}
	}
	w.write(lines)
}

// reading is a log that is read, and what came of it.
type reading struct {
	t      *testing.T
	pool   *record.Pool
	tailer *Tailer

	last      int // number of the last line; -1 = none
	delivered int
	lost      int64
	gaps      int
}

func read(t *testing.T, w *writer, k *Keeper, open *ledger.Account) *reading {
	t.Helper()
	return readWith(t, w, Options{History: true, Keeper: k, Open: open})
}

func readWith(t *testing.T, w *writer, opt Options) *reading {
	t.Helper()
	log := NewLog(w.path, opt)
	t.Cleanup(log.Close)
	tailer, _, err := NewTailer(log, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &reading{t: t, pool: record.NewPool(1 << 20), tailer: tailer, last: -1}
}

func (r *reading) look() {
	r.t.Helper()
	if _, err := r.tailer.Look(); err != nil {
		r.t.Fatal(err)
	}
}

// next reads some text and takes at most the given number of lines of it.
func (r *reading) next(most int) error {
	b, final, err := r.tailer.Fill(context.Background(), r.pool, 0)
	gap := r.tailer.Gap()
	if gap {
		r.gaps++
	}
	if err != nil {
		return err
	}
	defer b.Done(record.Delivered)
	size := 0
	for text := b.Arena; most > 0; most-- {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			break
		}
		r.line(string(text[:end]), gap)
		gap = false
		text, size = text[end+1:], size+end+1
	}
	switch {
	case size > 0:
		r.tailer.Consume(int64(size))
	case final:
		r.t.Errorf("text without a newline at the end of a generation: %q", b.Arena)
		r.tailer.Consume(int64(len(b.Arena)))
	default:
		r.tailer.Stall(int64(len(b.Arena)))
	}
	return nil
}

func (r *reading) line(text string, gap bool) {
	n, err := strconv.Atoi(text)
	if err != nil || len(text) != lineSize-1 {
		r.t.Errorf("not a whole line: %q", text)
	}
	if n <= r.last {
		r.t.Errorf("line %d after line %d", n, r.last)
	}
	if n != r.last+1 && !gap {
		r.t.Errorf("line %d after line %d without word of a gap", n, r.last)
	}
	r.last = n
	r.delivered++
}

// drain reads until there is nothing more, and returns why.
func (r *reading) drain() error {
	for {
		if err := r.next(1 << 30); errors.Is(err, source.ErrIdle) || errors.Is(err, io.EOF) {
			return err
		} else if err != nil {
			r.t.Fatal(err)
		}
	}
}

// balance reads the rest and holds that every line was either delivered or counted.
func (r *reading) balance(w *writer) {
	r.t.Helper()
	r.tailer.SetGone(true)
	if err := r.drain(); !errors.Is(err, io.EOF) {
		r.t.Errorf("at the end of a log that is gone: %v", err)
	}
	_, lost := r.tailer.TakeLetGo()
	r.lost += lost
	if int64(r.delivered)+r.lost != int64(w.lines) {
		r.t.Errorf("%d lines delivered, %d counted as lost, of %d", r.delivered, r.lost, w.lines)
	}
	if r.last != w.lines-1 {
		r.t.Errorf("the last line is %d of %d: the newest generation was not read", r.last, w.lines)
	}
}

// deletedBytes returns the sizes of the files without a name in dir that this process
// has open, as the kernel tells.
func deletedBytes(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		path := "/proc/self/fd/" + fd.Name()
		to, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(to, dir) || !strings.HasSuffix(to, " (deleted)") {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		bytes += st.Size
	}
	return bytes
}
