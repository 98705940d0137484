package jsonfile

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/record"
)

// engineLine writes a record as the engine does.
func engineLine(text, stream string, at time.Time, attrs map[string]string) []byte {
	v := struct {
		Log    string            `json:"log,omitempty"`
		Stream string            `json:"stream"`
		Attrs  map[string]string `json:"attrs,omitempty"`
		Time   time.Time         `json:"time"`
	}{text, stream, attrs, at.UTC()}
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return line
}

func TestDecodeEqualsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[a-z"\\<>&{}:,\t ]{0,60}`),
			rapid.Just(`","stream":"stderr","time":"2020-01-01T00:00:00Z"}`),
			rapid.Just("\U0001f600 \u2028 \x00\x1f"),
		).Draw(t, "text") + rapid.SampledFrom([]string{"\n", ""}).Draw(t, "end")
		at := time.Unix(0, rapid.Int64Range(0, 4e18).Draw(t, "time")).UTC()
		stream := rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "stream")
		var attrs map[string]string
		if rapid.Bool().Draw(t, "attrs") {
			attrs = map[string]string{"tag": `a","time":"x`}
		}
		line := engineLine(text, stream, at, attrs)
		var want struct{ Log string }
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		var d decoder
		got, damaged, ok := d.decode(bytes.Clone(line))
		if !ok || damaged {
			t.Fatalf("decode(%s): ok %v, damaged %v", line, ok, damaged)
		}
		if string(got.text) != want.Log || got.time != at.UnixNano() || got.output.String() != stream {
			t.Fatalf("decode(%s) = %q %d %s, want %q %d %s", line, got.text, got.time, got.output, want.Log, at.UnixNano(), stream)
		}
	})
}

func TestDecodeFindsARecordBehindDamage(t *testing.T) {
	line := engineLine("after the power cut\n", "stdout", time.Unix(1, 5), nil)
	var d decoder
	got, damaged, ok := d.decode(append(bytes.Repeat([]byte{0}, 300), line...))
	if !ok || !damaged || string(got.text) != "after the power cut\n" {
		t.Fatalf("got %q, damaged %v, ok %v", got.text, damaged, ok)
	}
}

func TestDecodeTakesMembersInAnyOrder(t *testing.T) {
	for _, line := range []string{
		`{"log":"a\tb\n","time":"2026-11-21T23:35:01.5Z","stream":"stderr"}`,
		`{"time":"2026-11-21T23:35:01.5Z","stream":"stderr","log":"a\tb\n"}`,
		`{"stream":"stderr","log":"a\tb\n","time":"2026-11-21T23:35:01.500Z"}`,
		`{"log":"a\tb\n","stream":"stderr","time":"2026-11-22T01:35:01.5+02:00"}`,
	} {
		var d decoder
		got, damaged, ok := d.decode([]byte(line))
		if !ok || damaged || string(got.text) != "a\tb\n" || got.output != record.Stderr || got.time != 1795304101_500000000 {
			t.Errorf("decode(%s) = %q %v %d, damaged %v, ok %v", line, got.text, got.output, got.time, damaged, ok)
		}
	}
}

func TestATornRecordDoesNotSwallowTheNext(t *testing.T) {
	whole := engineLine("after\n", "stdout", time.Unix(1, 5), nil)
	torn := engineLine("torn\n", "stdout", time.Unix(1, 4), nil)
	for cut := 1; cut < len(torn); cut++ {
		var d decoder
		got, damaged, ok := d.decode(append(bytes.Clone(torn[:cut]), whole...))
		if !ok || !damaged || string(got.text) != "after\n" || got.time != time.Unix(1, 5).UnixNano() {
			t.Errorf("cut at %d: %q at %d, damaged %v, ok %v", cut, got.text, got.time, damaged, ok)
		}
	}
}

func TestDecodeRefusesWhatIsNoRecord(t *testing.T) {
	for _, line := range []string{
		"", "\x00\x00", "{", `{"log":"`, `{"log":"a`, `{"log":"a"`, `{"log":"a","stream":"stdout"`,
		`{"log":"a","stream":"stdout","time":""}`, `{"log":"x","stream":"stdout","time":"}`, `{"log":"a","stream":"stdout","time":"2026-11-21T23:61:01Z"`,
		`{"log":"\u12","stream":"stdout","time":"2026-11-21T23:35:01Z"}`, `[]`, `null`,
	} {
		var d decoder
		if got, _, ok := d.decode([]byte(line)); ok {
			t.Errorf("decode(%q) = %+v, want none", line, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(engineLine("hello\n", "stdout", time.Unix(1, 1), nil))
	f.Add([]byte(`{"log":"\ud83d\ude00\ud83d","stream":"stderr","time":"2026-11-21T23:35:01.5Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		line = bytes.ReplaceAll(line, []byte("\n"), nil)
		var d decoder
		got, _, ok := d.decode(bytes.Clone(line))
		if ok && got.output != record.Stdout && got.output != record.Stderr {
			t.Fatalf("output %v", got.output)
		}
		if ok && got.off >= 0 && (got.off > len(line) || got.off+len(got.text) > len(line)) {
			t.Fatalf("text outside the line: off %d, len %d of %d", got.off, len(got.text), len(line))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, text := range map[string]string{
		"plain": "10.0.0.1 - - [21/Nov/2026:23:35:01 +0000] GET /index.html HTTP/1.1 200 612 - Mozilla/5.0 (X11; Linux x86_64) id=a seq=12345\n",
		"json":  `{"level":"info","ts":"2026-11-21T23:35:01Z","msg":"request served","path":"/api/v1/things","status":200,"ms":12.5,"user":"someone"}` + "\n",
	} {
		b.Run(name, func(b *testing.B) {
			line := engineLine(text, "stdout", time.Date(2026, 11, 21, 23, 35, 1, 123456789, time.UTC), nil)
			buf := make([]byte, len(line))
			var d decoder
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, line)
				if _, _, ok := d.decode(buf); !ok {
					b.Fatalf("not decoded: %s", line)
				}
			}
		})
	}
}
