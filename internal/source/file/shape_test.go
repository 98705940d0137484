package file

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/units"
)

// shaped has the host's files read as the settings say, by a clock that is its own.
func shaped(t *testing.T, change func(*shape.Config)) (h *host, pass func(time.Duration)) {
	t.Helper()
	h = newHost(t)
	now := time.Unix(1e9, 0)
	h.opener.Now = func() time.Time { return now }
	c := shape.DefaultConfig()
	change(&c)
	s, err := c.Compile(units.Size(h.opener.MaxLine))
	if err != nil {
		t.Fatal(err)
	}
	h.shape = s
	return h, func(d time.Duration) { now = now.Add(d) }
}

// due fails the test unless the reader wants to be asked again after about d.
func due(t *testing.T, r *Reader, d time.Duration) {
	t.Helper()
	if wait, ok := r.Due(); !ok || wait < d-time.Millisecond || wait > d {
		t.Errorf("it is due in %v (%v), want in %v", wait, ok, d)
	}
}

func TestAnEntryThatMayGoOnWaits(t *testing.T) {
	h, pass := shaped(t, func(c *shape.Config) { c.Multiline.Start = "^[0-9]" })
	h.write("a.log", "1\n a\n2\n b\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "1\n a")
	due(t, r, time.Second)
	pass(900 * time.Millisecond)
	h.write("a.log", " c\n")
	h.expect(r)
	pass(900 * time.Millisecond)
	h.expect(r)
	due(t, r, 100*time.Millisecond)
	pass(100 * time.Millisecond)
	h.expect(r, "2\n b\n c")
	if wait, ok := r.Due(); ok {
		t.Errorf("nothing is held, and it is due in %v", wait)
	}
	h.write("a.log", " late\n3\n")
	h.expect(r, " late")
	pass(2 * time.Second)
	h.expect(r, "3")
}

func TestAnEntryIsWholeAfterARestart(t *testing.T) {
	h, _ := shaped(t, func(c *shape.Config) { c.Multiline.Start = "^[0-9]" })
	now := h.opener.Now
	h.write("a.log", "1\n a\n2\n b\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "1\n a")
	c := r.Cursor()
	r.Close()
	h.opener = &Opener{Pool: h.opener.Pool, MaxLine: h.opener.MaxLine, Stats: h.opener.Stats, Now: now}
	h.opener.Restore(map[string]position.Cursor{"file:" + h.path("a.log"): c})
	r = h.open("a.log", c)
	h.expect(r)
	h.rename("a.log", "a.log.1")
	h.write("a.log", "3\n")
	h.expect(r, "2\n b")
}

func TestALineWithoutItsEndWaitsUntilItIsAskedFor(t *testing.T) {
	h, pass := shaped(t, func(c *shape.Config) { c.Partial = units.Duration(5 * time.Second) })
	h.write("a.log", "one\npassword: ")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "one")
	due(t, r, 5*time.Second)
	pass(5 * time.Second)
	h.expect(r, "password: ")
	h.write("a.log", "ok\n")
	h.expect(r, "ok")

	h, pass = shaped(t, func(*shape.Config) {})
	h.write("a.log", "password: ")
	r = h.open("a.log", position.Cursor{})
	h.expect(r)
	pass(time.Hour)
	h.expect(r)
}

func TestTheEncodingIsThatOfTheFile(t *testing.T) {
	h, _ := shaped(t, func(c *shape.Config) { c.Encoding = "latin1" })
	h.write("a.log", "\xe4 1\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "ä 1")
	h.rename("a.log", "a.log.1")
	h.write("a.log", "\xff")
	h.expect(r) // half a mark, perhaps
	h.write("a.log", "\xfeb\x00\r\x00\n\x00c\x00")
	h.expect(r, "b")
	r = h.restart(r, "a.log")
	h.shape = nil
	h.write("a.log", "\n\x00")
	h.expect(r, "c")
}

func TestAGapIsPassedOver(t *testing.T) {
	h, _ := shaped(t, func(*shape.Config) {})
	h.write("a.log", "one\n")
	if err := os.Truncate(h.path("a.log"), 5<<20); err != nil {
		t.Fatal(err)
	}
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "one") // it may still be written over
	h.write("a.log", "two\n")
	h.expect(r, "two")
	if n := h.opener.Stats.NULs.Load(); n != 5<<20-4 {
		t.Errorf("%d bytes were left out, want %d", n, 5<<20-4)
	}
}

// A file that was rotated away may end in a gap, or within a line that is too long.
func TestWhatNeverEndsEndsWithItsFile(t *testing.T) {
	h, _ := shaped(t, func(*shape.Config) {})
	h.opener.MaxLine = 1 << 20
	for name, end := range map[string]func(){
		"gap":  func() { h.must(os.Truncate(h.path("a.log"), 5<<20)) },
		"line": func() { h.write("a.log", strings.Repeat("x", 5<<20)) },
	} {
		h.write("a.log", "one\n")
		end()
		r := h.open("a.log", position.Cursor{})
		h.expect(r, "one")
		h.rename("a.log", "a.log.1")
		h.write("a.log", "two\n")
		if name == "gap" {
			h.expect(r, "two")
		} else {
			h.expect(r, strings.Repeat("x", 1<<20), "two")
		}
		r.Close()
		h.must(os.Remove(h.path("a.log")))
	}
	if n := h.opener.Stats.NULs.Load(); n != 5<<20-4 {
		t.Errorf("%d bytes were left out, want %d", n, 5<<20-4)
	}
}

// An entry longer than what is read at once is one, up to its bounds.
func TestALongEntryIsWhole(t *testing.T) {
	h, _ := shaped(t, func(*shape.Config) {})
	h.opener.MaxLine = 4 << 20
	c := shape.DefaultConfig()
	c.Multiline.Start, c.Multiline.MaxBytes, c.Multiline.MaxLines = "^[0-9]", 16*units.MiB, 100_000
	s, err := c.Compile(4 * units.MiB)
	if err != nil {
		t.Fatal(err)
	}
	h.shape = s
	var long strings.Builder
	long.WriteString("1")
	for i := range 30_000 {
		fmt.Fprintf(&long, "\n line %d %s", i, strings.Repeat("x", 60))
	}
	h.write("a.log", long.String()+"\n2\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, long.String())
	due(t, r, time.Second)
}
