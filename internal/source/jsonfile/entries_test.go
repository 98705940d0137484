package jsonfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

func matcher(t testing.TB, change func(*multiline.Config)) *multiline.Matcher {
	t.Helper()
	c := multiline.DefaultConfig()
	change(&c)
	m, err := multiline.New(c, units.MiB)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// entry is one as it was delivered, or a line as it was written.
type entry struct {
	Time int64
	Text string
}

// world is a container's log, what is done to it, and the agent that reads it.
type world struct {
	t       *testing.T
	l       *engineLog
	target  source.Target
	r       *Reader
	acked   position.Cursor
	written [record.Outputs][]entry
	begun   [record.Outputs]entry // lines of which parts were written
	got     [record.Outputs][]entry
	seq     int
	rotated int
}

func (w *world) open(from position.Cursor) {
	if w.r != nil {
		w.r.Close()
	}
	w.r, _ = open(w.t, w.target, from)
}

func (w *world) write(output record.Output, text string, part bool) {
	b := &w.begun[output]
	if !part {
		text += "\n"
	}
	w.l.write(output.String(), text)
	if b.Text == "" {
		b.Time = w.l.clock.UnixNano()
	}
	b.Text += text
	if !part {
		b.Text = strings.TrimSuffix(b.Text, "\n")
		w.written[output] = append(w.written[output], *b)
		*b = entry{}
	}
}

// take notes a batch that was delivered.
func (w *world) take(b *record.Batch) {
	for i, e := range b.Entries {
		w.got[e.Output] = append(w.got[e.Output], entry{e.Time, string(b.Line(i))})
	}
	b.Done(record.Delivered)
	w.acked = w.r.Cursor()
}

// read takes so many batches; the next one, if any, is read and not delivered.
func (w *world) read(batches int, oneMore bool) {
	for range batches {
		b, err := w.r.Next(context.Background())
		if err != nil {
			w.acked = w.r.Cursor() // as the pool does when there is nothing more
			return
		}
		w.take(b)
	}
	if !oneMore {
		return
	}
	if b, err := w.r.Next(context.Background()); err == nil {
		b.Done(record.Failed)
		w.open(w.acked)
	}
}

// entries returns what an undisturbed pass makes of lines.
func entries(m *multiline.Matcher, lines []entry) (out []entry) {
	var state multiline.State
	for _, ln := range lines {
		if m.Next(&state, []byte(ln.Text)) == multiline.Continues {
			out[len(out)-1].Text += "\n" + ln.Text
			continue
		}
		out = append(out, ln)
	}
	return out
}

func lines(entries []entry) (out []string) {
	for _, e := range entries {
		out = append(out, strings.Split(e.Text, "\n")...)
	}
	return out
}

// Whatever the two outputs write, wherever the log is rotated, and wherever the agent is
// killed and another reader goes on, by the place in the file or by what was delivered:
// each line is there once, and the entries are those of an undisturbed pass.
func TestEntriesAreTheSameWhereverReadingStops(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "log")
		if err != nil {
			rt.Fatal(err)
		}
		w := &world{t: t, l: newEngineLog(t, dir, 3)}
		w.l.clock = w.l.clock.Add(1) // it counts nanoseconds
		w.target = target(w.l.path)
		w.target.Multiline = matcher(t, func(c *multiline.Config) {
			c.MaxLines = rapid.IntRange(2, 6).Draw(rt, "max_lines")
			c.Start = "^a"
			if rapid.Bool().Draw(rt, "some stand alone") {
				c.Continue = "^b"
			}
		})
		torn := rapid.IntRange(0, 2).Draw(rt, "lines do not come in time") == 0
		w.open(position.Cursor{})
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(rt, "lines") {
					output := record.Output(rapid.IntRange(1, 2).Draw(rt, "output"))
					w.seq++
					text := fmt.Sprint(rapid.SampledFrom([]string{"a", "b", "b", "c"}).Draw(rt, "kind"), w.seq, ",")
					w.write(output, text, rapid.IntRange(0, 5).Draw(rt, "part") == 0)
				}
			},
			"wait": func(*rapid.T) { w.l.clock = w.l.clock.Add(30 * time.Second) },
			"rotate": func(rt *rapid.T) {
				if w.rotated++; w.rotated > 2 { // further generations are gone for a reader that starts anew
					w.read(1000, false)
					if _, ok := w.r.Due(); ok || w.begun[1].Text+w.begun[2].Text != "" {
						rt.Skip("it would begin in a generation that is gone")
					}
					w.rotated = 1
				}
				w.l.rotate()
				_, _ = w.r.Look()
			},
			"read": func(rt *rapid.T) {
				w.read(rapid.IntRange(0, 2).Draw(rt, "batches"), rapid.Bool().Draw(rt, "and fails"))
			},
			"reopen": func(rt *rapid.T) {
				c := w.acked
				if rapid.IntRange(0, 3).Draw(rt, "by what was delivered") == 0 && c.API != nil {
					c.File, c.Ahead = nil, nil
				}
				w.open(c)
			},
			"flush": func(rt *rapid.T) {
				if !torn {
					rt.Skip("lines come in time")
				}
				b := w.r.opener.Pool.Force(0)
				w.r.emitHeld(b, true)
				w.take(b)
			},
			"": func(*rapid.T) {},
		})
		for _, output := range []record.Output{record.Stdout, record.Stderr} {
			if w.begun[output].Text != "" {
				w.write(output, "", false)
			}
		}
		gone := w.target
		gone.Gone = true
		w.r.Update(gone)
		w.read(1000, false)
		for output, written := range w.written {
			if diff := cmp.Diff(lines(written), lines(w.got[output])); diff != "" {
				rt.Fatalf("%s, lines: %s", record.Output(output), diff)
			}
			if diff := cmp.Diff(entries(w.target.Multiline, written), w.got[output]); diff != "" && !torn {
				rt.Fatalf("%s, entries: %s", record.Output(output), diff)
			}
		}
		w.r.Close()
	})
}

func TestAnEntryThatMayGoOnIsGivenOutInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newEngineLog(t, t.TempDir(), 3)
		tg := target(l.path)
		tg.Multiline = matcher(t, func(c *multiline.Config) { c.Presets = []string{"java"} })
		r, _ := open(t, tg, position.Cursor{})
		l.write("stdout", "ready\n")
		l.write("stdout", "java.lang.IllegalStateException: no\n")
		l.write("stderr", "warning\n")
		l.write("stdout", "\tat com.acme.Shop.pay(Shop.java:17)\n")
		equal(t, drain(t, r), []string{"stdout ready", "stderr warning"})
		if wait, ok := r.Due(); !ok || wait != time.Second {
			t.Errorf("it is due in %v (%v), want in 1s", wait, ok)
		}
		<-time.After(900 * time.Millisecond)
		l.rotate()
		l.write("stdout", "\tat com.acme.Shop.main(Shop.java:5)\n")
		equal(t, drain(t, r), nil)
		<-time.After(900 * time.Millisecond)
		equal(t, drain(t, r), nil)
		<-time.After(100 * time.Millisecond)
		trace := "java.lang.IllegalStateException: no\n\tat com.acme.Shop.pay(Shop.java:17)\n\tat com.acme.Shop.main(Shop.java:5)"
		equal(t, drain(t, r), []string{"stdout " + trace})
		if wait, ok := r.Due(); ok {
			t.Errorf("nothing is held, and it is due in %v", wait)
		}
		c := r.Cursor()
		if c.Ahead != nil || c.File.Offset != r.Offset() {
			t.Errorf("nothing is held, and the cursor is %+v", c)
		}
	})
}

// What belongs together is told anew while an entry is held: it is given out as it is.
func TestTheSettingsMayChange(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	tg := target(l.path)
	tg.Multiline = matcher(t, func(c *multiline.Config) { c.Start = "^a" })
	r, _ := open(t, tg, position.Cursor{})
	l.write("stdout", "a\n")
	l.write("stdout", "b\n")
	equal(t, drain(t, r), nil)
	tg.Multiline = nil
	r.Update(tg)
	l.write("stdout", "b\n")
	equal(t, drain(t, r), []string{"stdout a\nb", "stdout b"})
	tg.Multiline = matcher(t, func(c *multiline.Config) { c.Continue = "^b" })
	r.Update(tg)
	l.write("stdout", "a\n")
	l.write("stdout", "b\n")
	tg.Gone = true
	r.Update(tg)
	equal(t, drain(t, r), []string{"stdout a\nb"})
	if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Error("there is more:", err)
	}
}
