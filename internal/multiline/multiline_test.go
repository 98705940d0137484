package multiline

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/units"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

var allPresets = []string{"java", "python", "go", "ruby", "dotnet", "node"}

// matcher compiles the settings that change makes of the default.
func matcher(t testing.TB, change func(*Config)) *Matcher {
	t.Helper()
	c := DefaultConfig()
	change(&c)
	m, err := New(c, units.MiB)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func preset(t testing.TB, names ...string) *Matcher {
	t.Helper()
	return matcher(t, func(c *Config) { c.Presets = names })
}

// group is what a reader does: it gives out entries as they are known to be complete.
func group(m *Matcher, lines []string) (entries [][]string) {
	var s State
	var pending []string
	give := func() {
		if pending != nil {
			entries, pending = append(entries, pending), nil
		}
	}
	for _, line := range lines {
		switch m.Next(&s, []byte(line)) {
		case Continues:
			pending = append(pending, line)
		case Starts:
			give()
			pending = []string{line}
		case Alone:
			give()
			entries = append(entries, []string{line})
		}
	}
	give()
	return entries
}

// starts returns the numbers of the lines that begin an entry.
func starts(entries [][]string) (list []int) {
	n := 0
	for _, entry := range entries {
		list, n = append(list, n), n+len(entry)
	}
	return list
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// samples are the traces in testdata, by the name of the file.
func samples(t testing.TB) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	all := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".log")] = lines(string(text))
	}
	return all
}

func presetOf(name string) string {
	name, _, _ = strings.Cut(name, "-")
	return name
}

// In the golden files a line that begins an entry has a + in front, and one that goes
// on with it a bar.
func marked(entries [][]string) string {
	var b strings.Builder
	for _, entry := range entries {
		for i, line := range entry {
			b.WriteString([]string{"+ ", "| "}[min(i, 1)] + line + "\n")
		}
	}
	return b.String()
}

func TestTracesBecomeOneEntryEachAndOtherLinesStayAlone(t *testing.T) {
	for name, sample := range samples(t) {
		t.Run(name, func(t *testing.T) {
			got, file := marked(group(preset(t, presetOf(name)), sample)), "testdata/"+name+".golden"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A host of many languages: with every preset, no trace falls apart.
func TestAllPresetsTogetherTearNoTraceApart(t *testing.T) {
	all := preset(t, allPresets...)
	for name, sample := range samples(t) {
		if presetOf(name) == "indented" {
			continue
		}
		own := starts(group(preset(t, presetOf(name)), sample))
		for _, at := range starts(group(all, sample)) {
			if !slices.Contains(own, at) {
				t.Errorf("%s: with all presets an entry begins at line %d: %q", name, at+1, sample[at])
			}
		}
	}
}

func TestATraceWithWindowsLineEndsIsTheSame(t *testing.T) {
	for name, sample := range samples(t) {
		m, windows := preset(t, presetOf(name)), make([]string, len(sample))
		for i, line := range sample {
			windows[i] = line + "\r"
		}
		want := marked(group(m, sample))
		if got := strings.ReplaceAll(marked(group(m, windows)), "\r", ""); got != want {
			t.Errorf("%s: %s", name, cmp.Diff(want, got))
		}
	}
}

// A flush in the middle makes two entries or more of one; those behind it are as they
// were.
func TestAFlushTearsOnlyTheEntryThatItEnds(t *testing.T) {
	for name, sample := range samples(t) {
		m := preset(t, presetOf(name))
		whole := starts(group(m, sample))
		for cut := 1; cut < len(sample); cut++ {
			torn := starts(group(m, sample[cut:]))
			for _, at := range whole {
				if at > cut && !slices.Contains(torn, at-cut) {
					t.Errorf("%s: after a flush before line %d no entry begins at line %d: %q", name, cut+1, at+1, sample[at])
				}
			}
		}
	}
}

func TestALineThatNothingCanFollowIsNotHeld(t *testing.T) {
	var s State
	m := preset(t, allPresets...)
	for _, line := range []string{`10.0.0.1 - - "GET / HTTP/1.1" 200`, "", "2026-11-22 10:00:00 INFO ready", `{"level":"info","msg":"ready"}`, "level=error msg=\"no errors\""} {
		if v := m.Next(&s, []byte(line)); v != Alone || s.Pending() {
			t.Errorf("%q is %v", line, v)
		}
	}
	var none *Matcher
	if v := none.Next(&s, []byte("java.lang.Error")); v != Alone || none.Wait(&s, time.Now()) != 0 {
		t.Errorf("without settings a line is %v", v)
	}
}

func TestTheWaitBeginsWhenThereIsNoFurtherLine(t *testing.T) {
	var s State
	m, now := preset(t, "java"), time.Now()
	if m.Next(&s, []byte("java.lang.Error: x")) != Starts {
		t.Fatal("not held")
	}
	now = now.Add(time.Hour) // no one looked: the reader had no room
	if wait := m.Wait(&s, now); wait != time.Second {
		t.Fatalf("waits %s", wait)
	}
	if wait := m.Wait(&s, now.Add(900*time.Millisecond)); wait != 100*time.Millisecond {
		t.Fatalf("waits %s", wait)
	}
	if m.Next(&s, []byte("\tat x(y)")) != Continues || m.Wait(&s, now.Add(900*time.Millisecond)) != time.Second {
		t.Fatal("a line did not begin the wait anew")
	}
	if wait := m.Wait(&s, now.Add(2*time.Second)); wait > 0 {
		t.Fatalf("still waits %s", wait)
	}
	s.Reset()
	if s.Pending() || m.Wait(&s, now) != time.Second {
		t.Fatal("something is pending after Reset")
	}
}

func TestAnEntryEndsAtItsBounds(t *testing.T) {
	var s State
	m := matcher(t, func(c *Config) { c.Presets, c.MaxLines = []string{"indented"}, 3 })
	for i, want := range []Verdict{Starts, Continues, Continues, Starts, Continues, Continues, Starts} {
		if v := m.Next(&s, []byte(" x")); v != want || s.Cut() != (i == 3 || i == 6) {
			t.Fatalf("line %d is %v, cut %t", i+1, v, s.Cut())
		}
	}
	m, s = matcher(t, func(c *Config) { c.Presets, c.MaxBytes = []string{"indented"}, units.KiB }), State{}
	long := bytes.Repeat([]byte(" "), 511)
	for i, want := range []Verdict{Starts, Continues, Starts, Continues} {
		if v := m.Next(&s, long); v != want || s.Bytes() > 1024 {
			t.Fatalf("line %d is %v, %d bytes", i+1, v, s.Bytes())
		}
	}
	c := DefaultConfig()
	c.Presets = []string{"indented"}
	small, err := New(c, 600)
	if err != nil {
		t.Fatal(err)
	}
	s = State{}
	for range 2 {
		if small.Next(&s, long) != Starts {
			t.Fatal("an entry is longer than max_line")
		}
	}
}

func TestPatterns(t *testing.T) {
	text := lines("  orphan\n2026 a\nb\n  c\n2026 d\n\n2026 e\n[x\n]y\nz")
	for _, test := range []struct{ name, start, cont, want string }{
		{"start", `^\d{4}`, "", "+   orphan\n+ 2026 a\n| b\n|   c\n+ 2026 d\n| \n+ 2026 e\n| [x\n| ]y\n| z\n"},
		{"continue", "", `^\s|^\]`, "+   orphan\n+ 2026 a\n+ b\n|   c\n+ 2026 d\n+ \n+ 2026 e\n+ [x\n| ]y\n+ z\n"},
		{"both", `^\d{4}`, `^[\sb]`, "+   orphan\n+ 2026 a\n| b\n|   c\n+ 2026 d\n+ \n+ 2026 e\n+ [x\n+ ]y\n+ z\n"},
		{"not at the beginning", `[a-e]$`, "", "+   orphan\n+ 2026 a\n+ b\n+   c\n+ 2026 d\n| \n+ 2026 e\n| [x\n| ]y\n| z\n"},
	} {
		m := matcher(t, func(c *Config) { c.Start, c.Continue = test.start, test.cont })
		if diff := cmp.Diff(test.want, marked(group(m, text))); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestTheTableOfFirstBytesNeverSaysNoToAMatch(t *testing.T) {
	exprs := []string{`^\d{4}`, `^(?i)error`, `^[^\s]`, `^\s+at|^Caused`, `(?m)^x`, `^(a|b)?c`, `^.x`, `^\bword`, `^é`, `^(?i)k`, `x$`, `^\x{fffd}`}
	rapid.Check(t, func(t *rapid.T) {
		expr := rapid.SampledFrom(exprs).Draw(t, "expr")
		p, err := compile(expr)
		if err != nil {
			t.Fatal(err)
		}
		line := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 6),
			rapid.Custom(func(t *rapid.T) []byte {
				return []byte(rapid.SampledFrom([]string{"2026", "ERROR", "a", "cx", "bc", "\tat", "word", "é", "\u212aelvin", "Kk", "\n x"}).Draw(t, "known"))
			}),
		).Draw(t, "line")
		if p.match(line) != p.re.Match(line) {
			t.Fatalf("%s and %q: the table changes the answer", expr, line)
		}
	})
	if p, err := compile(`^\d{4}`); err != nil || p.first == nil || p.first['x'] || !p.first['7'] {
		t.Fatal("no table")
	}
}

// anyLines draws lines as logs have them: pieces of traces, of lines, and noise.
func anyLines(t *rapid.T, pieces []string) []string {
	return rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(pieces), rapid.StringMatching(`[ \t]{0,2}[a-zA-Z0-9.:]{0,12}`)), 1, 60).Draw(t, "lines")
}

func anyMatcher(t *rapid.T) *Matcher {
	c := DefaultConfig()
	c.MaxLines = rapid.IntRange(2, 12).Draw(t, "max_lines")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		c.Start = `^[A-Z]`
	case 1:
		c.Continue = `^\s`
	case 2:
		c.Start, c.Continue = `^[A-Z]`, `^\s|^$`
	default:
		c.Presets = rapid.SliceOfNDistinct(rapid.SampledFrom(append(slices.Clone(allPresets), "indented")), 1, 7, rapid.ID[string]).Draw(t, "presets")
	}
	m, err := New(c, units.MiB)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEntriesHoldTheLinesAndARestartFindsTheSame(t *testing.T) {
	var pieces []string
	for _, sample := range samples(t) {
		pieces = append(pieces, sample...)
	}
	slices.Sort(pieces)
	rapid.Check(t, func(t *rapid.T) {
		m, text := anyMatcher(t), anyLines(t, pieces)
		entries := group(m, text)
		if diff := cmp.Diff(text, slices.Concat(entries...)); diff != "" {
			t.Fatalf("the entries are not the lines: %s", diff)
		}
		at := 0
		for i, entry := range entries {
			if diff := cmp.Diff(entries[i:], group(m, text[at:])); diff != "" {
				t.Fatalf("from entry %d on, a restart finds others: %s", i+1, diff)
			}
			if len(entry) > m.maxLines {
				t.Fatalf("%d lines in an entry", len(entry))
			}
			at += len(entry)
		}
	})
}

func FuzzNext(f *testing.F) {
	for _, sample := range samples(f) {
		f.Add([]byte(strings.Join(sample, "\n")))
	}
	all := preset(f, allPresets...)
	f.Fuzz(func(t *testing.T, text []byte) {
		all := *all
		all.maxLines, all.maxBytes = 20, 400
		var s State
		for line := range bytes.SplitSeq(text, []byte("\n")) {
			before, copied := s, bytes.Clone(line)
			v := all.Next(&s, line)
			var fresh State
			if again := all.Next(&fresh, line); v != Continues && (again != v || fresh.phases != s.phases) {
				t.Fatalf("%q is %v after %v, %v alone", line, v, before, again)
			}
			if s.Lines() > 20 || s.Lines() > 1 && s.Bytes() > 400 || !bytes.Equal(line, copied) {
				t.Fatalf("%q: %+v", line, s)
			}
		}
	})
}

func TestNoAllocationForALine(t *testing.T) {
	samples := samples(t)
	// Package regexp keeps its machines in a pool, which a collection, and the race
	// detector at random, may empty.
	allowed := map[string]float64{"start": 0.05}
	for name, m := range map[string]*Matcher{
		"all": preset(t, allPresets...), "start": matcher(t, func(c *Config) { c.Start = `^\d{4}` }),
	} {
		var text [][]byte
		for _, sample := range samples {
			for _, line := range sample {
				text = append(text, []byte(line), []byte(line+"\r"))
			}
		}
		var s State
		if n := testing.AllocsPerRun(20, func() {
			for _, line := range text {
				m.Next(&s, line)
			}
		}); n > allowed[name]*float64(len(text)) {
			t.Errorf("%s: %.0f allocations for %d lines", name, n, len(text))
		}
	}
}

func BenchmarkNext(b *testing.B) {
	plain := []byte(`10.0.0.1 - alice [22/Nov/2026:10:00:00 +0000] "GET /api/v1/orders/17 HTTP/1.1" 200 5316 "-" "Mozilla/5.0 (X11; Linux x86_64)"`)
	dated := []byte(`2026-11-22T10:00:00.001Z INFO  [main] shop.Shop - order 17 of customer 5316 was paid within 17 ms, nothing to complain about`)
	frame := []byte("\tat org.springframework.web.servlet.DispatcherServlet.doDispatch(DispatcherServlet.java:1072)")
	for _, bench := range []struct {
		name string
		m    *Matcher
		line []byte
	}{
		{"java/other", preset(b, "java"), plain},
		{"python/other", preset(b, "python"), plain},
		{"go/other", preset(b, "go"), plain},
		{"ruby/other", preset(b, "ruby"), plain},
		{"all/other", preset(b, allPresets...), plain},
		{"all/frame", preset(b, allPresets...), frame},
		{"indented/other", preset(b, "indented"), plain},
		{"start/match", matcher(b, func(c *Config) { c.Start = `^\d{4}-\d{2}-\d{2}` }), dated},
		{"start/other", matcher(b, func(c *Config) { c.Start = `^\d{4}-\d{2}-\d{2}` }), frame},
		{"continue/other", matcher(b, func(c *Config) { c.Continue = `^\s` }), plain},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var s State
			b.SetBytes(int64(len(bench.line)))
			b.ReportAllocs()
			for b.Loop() {
				bench.m.Next(&s, bench.line)
			}
		})
	}
}
