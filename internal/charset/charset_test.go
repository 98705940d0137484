package charset

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// encode writes text as e; what e does not have stays away from the tests.
func encode(e Encoding, text string) (out []byte) {
	for _, r := range text {
		switch e {
		case UTF8:
			out = utf8.AppendRune(out, r)
		case UTF16LE:
			for _, u := range utf16.Encode([]rune{r}) {
				out = binary.LittleEndian.AppendUint16(out, u)
			}
		case UTF16BE:
			for _, u := range utf16.Encode([]rune{r}) {
				out = binary.BigEndian.AppendUint16(out, u)
			}
		default:
			out = append(out, byte(r))
		}
	}
	return out
}

// file reads a whole file as a tail reader does, and returns its lines with the offsets at
// which they begin.
func file(e Encoding, raw []byte) (d Decoder, lines []string, starts []int) {
	e, at := Detect(raw, e)
	d.Encoding = e
	var buf []byte
	for at < len(raw) {
		starts = append(starts, at)
		end, next := e.End(raw[at:])
		if end < 0 {
			end, next = len(raw)-at, len(raw)-at
		}
		var text []byte
		text, buf = d.Line(raw[at:at+end], buf[:0])
		lines = append(lines, string(text))
		at += next
	}
	return d, lines, starts
}

func TestFilesOfEveryEncoding(t *testing.T) {
	for name, c := range map[string]struct {
		e             Encoding
		raw           string
		lines         string
		invalid, nuls int64
	}{
		"plain":                     {UTF8, "a\nb\n", "a|b", 0, 0},
		"no end":                    {UTF8, "a\nb", "a|b", 0, 0},
		"blank lines":               {UTF8, "\n\na\n", "||a", 0, 0},
		"CRLF":                      {UTF8, "a\r\nb\r\r\n\r\n", "a|b\r|", 0, 0},
		"a mark":                    {Latin1, "\xef\xbb\xbfä\n", "ä", 0, 0},
		"latin1 in utf-8":           {UTF8, "caf\xe9 \xff\xfe ok\n", `caf\xe9 \xff\xfe ok`, 3, 0},
		"a cut rune":                {UTF8, "\xe2\x82\nx\xe2\x82\xac\n", `\xe2\x82|x€`, 2, 0},
		"surrogates in utf-8":       {UTF8, "\xed\xa0\x80\n", `\xed\xa0\x80`, 3, 0},
		"overlong":                  {UTF8, "\xc0\xaf\n", `\xc0\xaf`, 2, 0},
		"a real U+FFFD":             {UTF8, "\ufffd\n", "\ufffd", 0, 0},
		"a gap":                     {UTF8, "\x00\x00\x00after\nx\x00\x00y\r\n", "after|xy", 0, 5},
		"a gap at the end":          {UTF8, "a\n\x00\x00", "a|", 0, 2},
		"utf-16 by its mark":        {UTF8, "\xff\xfea\x00\n\x00\xac\x20\r\x00\n\x00", "a|€", 0, 0},
		"big-endian by its mark":    {UTF8, "\xfe\xff\x00a\x00\n\x20\xac\x00\r\x00\n", "a|€", 0, 0},
		"a 0a that is no newline":   {UTF16LE, "\x0a\x0a\x00\x0a\x0a\x01x\x00\n\x00y\x00", "\u0a0a\u0a00\u010ax|y", 0, 0},
		"the same, big-endian":      {UTF16BE, "\x0a\x0a\x0a\x00\x01\x0a\x00x\x00\n\x00y", "\u0a0a\u0a00\u010ax|y", 0, 0},
		"beyond the first plane":    {UTF16LE, "\x3d\xd8\x00\xde\n\x00", "😀", 0, 0},
		"half a pair":               {UTF16BE, "\xd8\x3d\x00x\xde\x00", `\ud83dx\ude00`, 2, 0},
		"a high one at the end":     {UTF16LE, "\x3d\xd8\n\x00a\x00", `\ud83d|a`, 1, 0},
		"half a unit":               {UTF16LE, "a\x00b", `a\x62`, 1, 0},
		"a gap in utf-16":           {UTF16LE, "\x00\x00\x00\x00a\x00\n\x00", "a", 0, 4},
		"latin1":                    {Latin1, "caf\xe9\x85\xff\r\n", "café\u0085ÿ", 0, 0},
		"windows-1252":              {Windows1252, "\x80 caf\xe9 \x93q\x94\x81\xa0\n", "€ café “q”\\x81\u00a0", 1, 0},
		"windows-1252 with a gap":   {Windows1252, "\x00\x00a\n", "a", 0, 2},
		"no mark in utf-16 by name": {UTF16BE, "\x00a\x00\n", "a", 0, 0},
	} {
		d, lines, _ := file(c.e, []byte(c.raw))
		if got := strings.Join(lines, "|"); got != c.lines || d.Invalid != c.invalid || d.NULs != c.nuls {
			t.Errorf("%s: %q, %d invalid, %d NULs; want %q, %d, %d", name, got, d.Invalid, d.NULs, c.lines, c.invalid, c.nuls)
		}
	}
}

// Wherever a reader stops, whatever it has in its hands, it goes on at the right byte.
func TestLinesAreFoundAtTheirOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Encoding(rapid.IntRange(0, len(names)-1).Draw(t, "encoding"))
		char := rapid.SampledFrom([]rune{'a', 'é', '€', '😀', '\u0a0a', '\u0a00', '\u010a', '\u0d0a', '\r', ' '})
		if e == Latin1 || e == Windows1252 {
			char = rapid.SampledFrom([]rune{'a', 'é', 'ÿ', '\r', ' ', '\n'})
		}
		var raw []byte
		var want []string
		var starts []int
		for _, line := range rapid.SliceOf(rapid.StringOf(char)).Draw(t, "lines") {
			line = strings.ReplaceAll(line, "\n", "")
			starts = append(starts, len(raw))
			raw = append(raw, encode(e, line+"\n")...)
			want = append(want, strings.TrimSuffix(line, "\r"))
		}
		d, lines, at := file(e, raw)
		if len(lines) != len(want) || d.Invalid != 0 || d.NULs != 0 {
			t.Fatalf("%d lines of %d; %+v", len(lines), len(want), d)
		}
		for i := range lines {
			if lines[i] != want[i] || at[i] != starts[i] {
				t.Fatalf("line %d at %d: %q; want at %d: %q", i, at[i], lines[i], starts[i], want[i])
			}
		}
		cut := rapid.IntRange(0, len(raw)).Draw(t, "cut")
		whole := 0
		for _, start := range append(starts[min(1, len(starts)):], len(raw)) {
			if start <= cut {
				whole = start
			}
		}
		if got := e.Whole(raw[:cut]); got != whole {
			t.Fatalf("%s: the first %d bytes have %d of whole lines; want %d", e, cut, got, whole)
		}
	})
}

func TestGapsAreSkippedInWholeUnits(t *testing.T) {
	for n, e := range map[int]Encoding{0: UTF8, 1: UTF8, 7: Latin1, 4096: UTF8, 10001: UTF8, 10000: UTF16LE, 10002: UTF16BE} {
		raw := append(make([]byte, n), 'x')
		if got := e.Gap(raw); got != n {
			t.Errorf("%s: a gap of %d bytes is %d long", e, n, got)
		}
	}
	if got := UTF16BE.Gap([]byte("\x00\x00\x00a")); got != 2 {
		t.Errorf("%d bytes; the third NUL is half of an a", got)
	}
}

func TestNames(t *testing.T) {
	for e := range Encoding(len(names)) {
		if got, err := ByName(strings.ToUpper(e.String())); err != nil || got != e {
			t.Errorf("%s is %s, %v", e, got, err)
		}
	}
	for name, want := range map[string]Encoding{"UTF8": UTF8, "ISO-8859-1": Latin1, "cp1252": Windows1252} {
		if got, err := ByName(name); err != nil || got != want {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "utf-16", "ebcdic"} {
		if _, err := ByName(name); err == nil || !strings.Contains(err.Error(), "utf-16le") {
			t.Errorf("%s: %v; want an error that names what there is", name, err)
		}
	}
}

func TestValidTextIsNotCopiedAndNothingIsAllocated(t *testing.T) {
	line := []byte("caf\u00e9 and so on\r")
	d := Decoder{}
	text, buf := d.Line(line, nil)
	if &text[0] != &line[0] || buf != nil || len(text) != len(line)-1 {
		t.Error("valid UTF-8 was copied")
	}
	gap := []byte("\x00\x00caf\u00e9")
	if text, buf := d.Line(gap, nil); &text[0] != &gap[2] || buf != nil {
		t.Error("valid UTF-8 behind a gap was copied")
	}
	arena := make([]byte, 0, 1<<10)
	for e := range Encoding(len(names)) {
		d := Decoder{Encoding: e}
		raw := append(encode(e, "abc \u00e9 xyz"), 0xff)
		if n := testing.AllocsPerRun(100, func() { d.Line(raw, arena) }); n != 0 {
			t.Errorf("%s: %v allocations for a line", e, n)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add(uint8(UTF8), []byte("caf\xe9\x00\r"))
	f.Add(uint8(UTF16LE), []byte("\x3d\xd8\x00\xde\n\x00\x0a\x0a"))
	f.Add(uint8(UTF16BE), []byte("\xd8\x3d\x00x\xde"))
	f.Add(uint8(Windows1252), []byte("\x80\x81\n\xff"))
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		e := Encoding(which % uint8(len(names)))
		before := bytes.Clone(raw)
		d := Decoder{Encoding: e}
		at, whole := 0, 0
		var arena []byte
		for at < len(raw) {
			if at%e.Unit() != 0 {
				t.Fatalf("a line begins at %d, inside a unit", at)
			}
			end, next := e.End(raw[at:])
			if end < 0 {
				end, next = len(raw)-at, len(raw)-at
			} else {
				whole = at + next
			}
			if next <= 0 || end > next || at+next > len(raw) {
				t.Fatalf("at %d: end %d, next %d of %d", at, end, next, len(raw))
			}
			var text []byte
			text, arena = d.Line(raw[at:at+end], arena)
			if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 || e.Unit() == 1 && bytes.IndexByte(text, '\n') >= 0 {
				t.Fatalf("%q decodes as %q", raw[at:at+end], text)
			}
			at += next
		}
		if got := e.Whole(raw); got != whole {
			t.Fatalf("%d bytes of whole lines; going from line to line gives %d", got, whole)
		}
		if !bytes.Equal(raw, before) {
			t.Fatal("the bytes were changed")
		}
	})
}

func BenchmarkLine(b *testing.B) {
	text := strings.Repeat("10.0.0.1 - - GET /index.html HTTP/1.1 200 612 - Mozilla/5.0 (X11; Linux x86_64) id=a seq=12345 ", 2)
	for name, raw := range map[string][]byte{"utf-8": []byte(text), "utf-8 accents": []byte(strings.ReplaceAll(text, "-", "é")),
		"utf-8 invalid": []byte(strings.ReplaceAll(text, "-", "\xe9"))} {
		b.Run(name, func(b *testing.B) { benchmark(b, UTF8, raw) })
	}
	for _, e := range []Encoding{UTF16LE, UTF16BE, Latin1, Windows1252} {
		b.Run(e.String(), func(b *testing.B) { benchmark(b, e, encode(e, text)) })
	}
}

func benchmark(b *testing.B, e Encoding, raw []byte) {
	raw = append(raw, encode(e, "\n")...)
	d := Decoder{Encoding: e}
	arena := make([]byte, 0, 8<<10)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		end, _ := e.End(raw)
		if text, _ := d.Line(raw[:end], arena); len(text) == 0 {
			b.Fatal("no text")
		}
	}
}
