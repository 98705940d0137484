package shape

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/units"
)

const now = int64(1_700_000_000_000_000_000)

// entry is one as a person sees it.
type entry struct {
	Output record.Output
	Time   int64
	Text   string
	Cut    bool
}

func compile(t testing.TB, change func(*Config)) *Shape {
	t.Helper()
	c := DefaultConfig()
	c.Timestamp.Zone = "UTC"
	if change != nil {
		change(&c)
	}
	if errs := c.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	s, err := c.Compile(units.Size(200))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read gives a log to a Shaper in pieces that end at the places of visible, and returns the
// entries; after some of the pieces the agent is started again.
func read(s *Shape, log []byte, visible []int, restart []bool) (out []entry) {
	shaper := New(s)
	at := shaper.Begin(log[:min(3, len(log))])
	for i, end := range append(visible, len(log)) {
		flush := Flush(0)
		if i == len(visible) {
			flush = All
		}
		b := &record.Batch{Arena: append([]byte(nil), log[min(at, end):max(at, end)]...)}
		used, _ := shaper.Take(b, len(b.Arena), now, flush)
		at += used
		for i, e := range b.Entries {
			out = append(out, entry{e.Output, e.Time, string(b.Line(i)), e.Flags&record.Truncated != 0})
		}
		if i < len(restart) && restart[i] {
			clocks := shaper.Clocks
			shaper = New(s)
			shaper.Begin(log[:min(3, len(log))])
			shaper.Clocks = clocks
		}
	}
	return out
}

func wide(text string, bigEndian, mark bool) []byte {
	var out []byte
	if mark {
		text = "\ufeff" + text
	}
	for _, u := range utf16.Encode([]rune(text)) {
		if bigEndian {
			out = binary.BigEndian.AppendUint16(out, u)
		} else {
			out = binary.LittleEndian.AppendUint16(out, u)
		}
	}
	return out
}

const stamp = "2026-01-02T15:04:05.000000001Z "

func TestLinesBecomeEntries(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 1, time.UTC).UnixNano()
	for name, c := range map[string]struct {
		change func(*Config)
		log    string
		want   []entry
	}{
		"plain": {nil, "a\n\nb\r\nno end", []entry{{0, now, "a", false}, {0, now + 1, "", false}, {0, now + 2, "b", false}, {0, now + 3, "no end", false}}},
		"cut":   {nil, strings.Repeat("x", 300) + "\nb\n", []entry{{0, now, strings.Repeat("x", 200), true}, {0, now + 1, "b", false}}},
		"damaged bytes and a gap": {
			nil, "\x00\x00\x00a\xffb\nc\x00d\n", []entry{{0, now, `a\xffb`, false}, {0, now + 1, "cd", false}},
		},
		"traces": {
			func(c *Config) { c.Multiline.Presets = []string{"java"} },
			"one\njava.lang.Exception: x\n\tat a.b(C.java:1)\r\n\tat a.b(C.java:2)\ntwo\n",
			[]entry{{0, now, "one", false}, {0, now + 1, "java.lang.Exception: x\n\tat a.b(C.java:1)\n\tat a.b(C.java:2)", false}, {0, now + 2, "two", false}},
		},
		"timestamps": {
			func(c *Config) { c.Timestamp.Format = "rfc3339" },
			stamp + "a\n" + stamp + "b\nnone\n",
			[]entry{{0, at, stamp + "a", false}, {0, at + 1, stamp + "b", false}, {0, now, "none", false}},
		},
		"syslog": {
			func(c *Config) { c.Format = Syslog },
			stamp + "host app[1]: a\n", []entry{{0, at, stamp + "host app[1]: a", false}},
		},
		"cri": {
			func(c *Config) { c.Format = CRI },
			stamp + "stdout F a\n" + stamp + "stdout P b\n" + stamp + "stderr F e\n" + stamp + "stdout F c\nforeign\n" + stamp + "stdout P left",
			[]entry{{record.Stdout, at, "a", false}, {record.Stderr, at, "e", false}, {record.Stdout, at + 1, "bc", false}, {0, now, "foreign", false}, {record.Stdout, at + 2, "left", false}},
		},
		"traces of both outputs": {
			func(c *Config) { c.Format, c.Multiline.Presets = CRI, []string{"indented"} },
			stamp + "stdout F a\n" + stamp + "stderr F A\n" + stamp + "stdout F  b\n" + stamp + "stderr F  B\n" + stamp + "stdout F c\n",
			[]entry{{record.Stdout, at, "a\n b", false}, {record.Stdout, at + 1, "c", false}, {record.Stderr, at, "A\n B", false}},
		},
		"latin1": {func(c *Config) { c.Encoding = "latin1" }, "\xe4\nb\n", []entry{{0, now, "ä", false}, {0, now + 1, "b", false}}},
		"utf-16": {nil, string(wide("ä\r\n\nb", false, true)), []entry{{0, now, "ä", false}, {0, now + 1, "", false}, {0, now + 2, "b", false}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(compile(t, c.change), []byte(c.log), nil, nil)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// However much of a log is there when it is looked at, and whenever the agent is started
// again, the entries are the same, each once.
func TestEntriesDoNotDependOnWhenTheyAreRead(t *testing.T) {
	shapes := map[string]*Shape{
		"plain":          compile(t, nil),
		"presets":        compile(t, func(c *Config) { c.Multiline.Presets = []string{"java", "python", "go"} }),
		"start":          compile(t, func(c *Config) { c.Multiline.Start = "^[0-9]" }),
		"few lines":      compile(t, func(c *Config) { c.Multiline.Start, c.Multiline.MaxLines = "^[0-9]", 3 }),
		"cri":            compile(t, func(c *Config) { c.Format = CRI }),
		"cri and traces": compile(t, func(c *Config) { c.Format, c.Multiline.Presets = CRI, []string{"indented", "java"} }),
		"timestamps":     compile(t, func(c *Config) { c.Timestamp.Format, c.Multiline.Presets = "rfc3339", []string{"indented"} }),
		"latin1":         compile(t, func(c *Config) { c.Encoding, c.Multiline.Presets = "latin1", []string{"indented"} }),
		"utf-16":         compile(t, func(c *Config) { c.Encoding = "utf-16be" }),
	}
	pieces := []string{"2 a", "plain", " indented", "\tat a.b(C.java:1)", "x.Exception: y", "Caused by: z", "", "ä\xff\x00", strings.Repeat("long ", 50), "panic: x", "goroutine 1 [running]:"}
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"plain", "presets", "start", "few lines", "cri", "cri and traces", "timestamps", "latin1", "utf-16"}).Draw(rt, "shape")
		var text strings.Builder
		for i := range rapid.IntRange(0, 30).Draw(rt, "lines") {
			if name[:3] == "cri" || name == "timestamps" {
				fmt.Fprintf(&text, "2026-01-02T15:04:05.%09dZ ", rapid.IntRange(i, i+2).Draw(rt, "time"))
			}
			if name[:3] == "cri" {
				text.WriteString(rapid.SampledFrom([]string{"stdout F ", "stdout F ", "stderr F ", "stderr P ", "stdout P ", "broken "}).Draw(rt, "tags"))
			}
			text.WriteString(rapid.SampledFrom(pieces).Draw(rt, "text"))
			text.WriteString(rapid.SampledFrom([]string{"\n", "\n", "\n", "\r\n"}).Draw(rt, "end"))
		}
		log := []byte(text.String())
		if name == "utf-16" {
			log = wide(string(log), true, rapid.Bool().Draw(rt, "mark"))
		}
		var visible []int
		var restart []bool
		end := 0
		for range rapid.IntRange(0, 10).Draw(rt, "looks") {
			end = rapid.IntRange(end, len(log)).Draw(rt, "visible")
			visible, restart = append(visible, end), append(restart, rapid.Bool().Draw(rt, "restart"))
		}
		want := byOutput(read(shapes[name], log, nil, nil))
		got := byOutput(read(shapes[name], log, visible, restart))
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("%s, log %q, looks %v (-want +got)\n%s", name, log, visible, diff)
		}
	})
}

func byOutput(list []entry) (out [record.Outputs][]entry) {
	for _, e := range list {
		out[e.Output] = append(out[e.Output], e)
	}
	return out
}
