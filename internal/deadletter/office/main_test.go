package office

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a sink that refuses what its script has a reason for.
type scripted struct {
	refuse   func(line string) (reason string)
	err      error  // of the whole Send
	before   func() // each Send
	sends    int
	accepted []string // "time labels metadata line" of each
}

func (s *scripted) send(_ context.Context, views []record.View) error {
	s.sends++
	if s.before != nil {
		s.before()
	}
	if s.err != nil {
		return s.err
	}
	rejected := &sink.RejectedError{}
	for v, view := range views {
		for i := view.From; i < view.To; i++ {
			e, line := &view.Batch.Entries[i], string(view.Batch.Line(i))
			if s.refuse != nil && s.refuse(line) != "" {
				rejected.Entries = append(rejected.Entries, sink.Rejection{View: v, Entry: i, Reason: s.refuse(line), Detail: "no " + line})
				continue
			}
			stream := view.Batch.Source.Streams[e.Output]
			s.accepted = append(s.accepted, fmt.Sprint(e.Time, stream.Key, stream.Metadata, line))
		}
	}
	if len(rejected.Entries) > 0 {
		return rejected
	}
	return nil
}

// stored is how scripted notes a line that bury made.
func stored(source string, n int) string {
	return fmt.Sprint(int64(n), `{source="`+source+`"}`, record.Labels{{Name: "image", Value: "x"}}, text(source, n))
}

func text(source string, n int) string { return fmt.Sprintf("%s %d", source, n) }

// bury writes the lines from..to of a source as dead letters.
func bury(t testing.TB, w *deadletter.Writer, source, reason string, from, to int) {
	t.Helper()
	if err := tryBury(w, source, reason, from, to); err != nil {
		t.Fatal(err)
	}
}

func tryBury(w *deadletter.Writer, source, reason string, from, to int) error {
	src := &record.Source{ID: "container:" + source, Kind: "container", Name: source}
	src.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "source", Value: source}}, record.Labels{{Name: "image", Value: "x"}})
	b := &record.Batch{Source: src}
	var refused []sink.Rejection
	for n := from; n <= to; n++ {
		b.Append(int64(n), record.Stdout, []byte(text(source, n)))
		refused = append(refused, sink.Rejection{Entry: n - from, Reason: reason, Detail: "says Loki"})
	}
	return w.Write([]record.View{record.Whole(b)}, refused, time.Unix(1000, 0))
}

const maxAge = 24 * time.Hour

// opened is an office over one directory.
type opened struct {
	*Office
	dir   string
	boxes map[string]*Box
	sinks map[string]*scripted
}

// disk is the cap of a sink's letters, which the size of files follows, and what stands
// before the real directory.
type disk struct {
	size int64
	fs   func(spool.FS) spool.FS
}

// roomy has large files, as the default cap makes them.
var roomy = disk{size: 64 << 20}

// open opens the office of a directory with sinks of these names.
func open(t testing.TB, dir string, on disk, names ...string) *opened {
	t.Helper()
	o := &opened{dir: dir, boxes: map[string]*Box{}, sinks: map[string]*scripted{}}
	var boxes []*Box
	for _, name := range names {
		options := deadletter.Options{MaxAge: maxAge}
		if on.fs != nil {
			real, err := spool.Dir(filepath.Join(dir, deadletter.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			options.FS = on.fs(real)
		}
		w, err := deadletter.Open(dir, name, on.size, options)
		if err != nil {
			t.Fatal(err)
		}
		s := &scripted{}
		b := &Box{Name: name, Letters: w, Send: s.send}
		o.boxes[name], o.sinks[name] = b, s
		boxes = append(boxes, b)
		t.Cleanup(func() { _ = w.Close() })
	}
	var err error
	if o.Office, err = Open(dir, Caps{MaxBytes: 64 << 20, MaxAge: maxAge}, boxes, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// close closes what open opened, as the end of a process does.
func (o *opened) close() {
	for _, b := range o.boxes {
		_ = b.Letters.Close()
	}
	_ = o.Close()
}

// lines returns the texts of all letters of a filter.
func (o *opened) lines(t testing.TB, f Filter) (out []string) {
	t.Helper()
	shown, err := o.Show(t.Context(), f, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range shown.Entries {
		l, err := deadletter.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(l.Line))
	}
	return out
}

// counts returns "sink reason entries" of a listing.
func counts(groups []Group) (out []string) {
	for _, g := range groups {
		out = append(out, fmt.Sprint(g.Sink, " ", g.Reason, " ", g.Entries))
	}
	return out
}

func texts(source string, from, to int) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, text(source, n))
	}
	return out
}

func accepted(source string, from, to int) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, stored(source, n))
	}
	return out
}

var errDown = errors.New("connection refused")

// times tells how often each string is there.
func times(all []string) map[string]int {
	out := map[string]int{}
	for _, s := range all {
		out[s]++
	}
	return out
}

func odd(line string) string {
	if strings.ContainsAny(line[len(line)-1:], "13579") {
		return "odd"
	}
	return ""
}
