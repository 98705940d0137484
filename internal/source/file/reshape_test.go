package file

import (
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/units"
)

// become has a reader's log shaped in another way, as a reload does.
func (h *host) become(r *Reader, name string, change func(*shape.Config)) {
	h.t.Helper()
	c := shape.DefaultConfig()
	change(&c)
	var err error
	h.shape, err = c.Compile(units.Size(h.opener.MaxLine))
	h.must(err)
	r.Update(h.target(name))
}

// What is held when its log is shaped anew is no entry yet: it becomes one in the new way.
func TestWhatIsHeldIsShapedAnew(t *testing.T) {
	h, _ := shaped(t, func(c *shape.Config) { c.Multiline.Start = "^[0-9]" })
	h.write("a.log", "1\n a\n2\n b\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "1\n a")
	h.become(r, "a.log", func(*shape.Config) {})
	h.expect(r, "2", " b")
	h.write("a.log", "3\n c")
	h.expect(r, "3")
	h.become(r, "a.log", func(c *shape.Config) { c.Multiline.Continue = "^ " })
	h.write("a.log", "\n d\n4\n")
	h.expect(r, " c\n d")
	h.become(r, "a.log", func(c *shape.Config) { c.Partial = units.Duration(time.Second) })
	h.expect(r, "4")
}

// A line over max_line that has no end yet is looked for anew: its end is another one.
func TestALongLineIsShapedAnew(t *testing.T) {
	h, _ := shaped(t, func(c *shape.Config) { c.Encoding = "utf-16le" })
	h.opener.MaxLine = 4
	h.write("a.log", strings.Repeat("a\x00", tail.ChunkSize/2)+"\n\nb\x00")
	r := h.open("a.log", position.Cursor{})
	h.expect(r)
	h.become(r, "a.log", func(*shape.Config) {})
	h.expect(r, "aa", "")
}

// A log that was read in the wrong encoding goes on in the right one, whichever byte of a
// newline it was read to.
func TestTheEncodingIsSetRight(t *testing.T) {
	for _, little := range []bool{true, false} {
		name := "utf-16be"
		if little {
			name = "utf-16le"
		}
		text := func(s string) (raw string) {
			for _, u := range utf16.Encode([]rune(s)) {
				if little {
					u = u>>8 | u<<8
				}
				raw += string([]byte{byte(u >> 8), byte(u)})
			}
			return raw
		}
		h, _ := shaped(t, func(*shape.Config) {})
		h.write("a.log", text("one\ntwo\n"))
		r := h.open("a.log", position.Cursor{})
		h.expect(r, "one", "two") // but for what is no ASCII
		h.become(r, "a.log", func(c *shape.Config) { c.Encoding = name })
		h.write("a.log", text("größer\n日本\n"))
		h.expect(r, "größer", "日本")
		r = h.restart(r, "a.log")
		h.write("a.log", text("größer\n"))
		h.expect(r, "größer")
		h.become(r, "a.log", func(*shape.Config) {})
		h.write("a.log", "ASCII\n")
		h.expect(r, "ASCII")
		r.Close()
	}
}

// Timestamps go on where they were: those of reading never go back behind it.
func TestTimesGoOnWhenALogIsShapedAnew(t *testing.T) {
	h, _ := shaped(t, func(*shape.Config) {})
	h.write("a.log", "1\n2\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, "1", "2")
	last := r.Cursor().Last[record.OutputNone]
	h.become(r, "a.log", func(c *shape.Config) { c.Multiline.Start = "^3" })
	h.become(r, "a.log", func(*shape.Config) {})
	h.write("a.log", "3\n")
	h.expect(r, "3")
	if now := r.Cursor().Last[record.OutputNone]; now != last+1 {
		t.Errorf("the third line's time is %d behind the second's, want 1", now-last)
	}
}
