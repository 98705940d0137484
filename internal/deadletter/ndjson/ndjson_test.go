package ndjson

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/record"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type entry struct {
	Time       time.Time
	Labels     map[string]string
	Metadata   map[string]string
	Line       *string
	LineBase64 []byte `json:"line_base64"`
	Truncated  bool
}

func object(stream *record.Stream, ns int64, line []byte, flags record.Flags) []byte {
	b := AppendTime([]byte(`{"time":`), ns)
	b = AppendStream(append(b, ','), stream)
	b = AppendLine(append(b, ','), line, flags)
	return append(b, '}')
}

func TestWhatIsAppendedReadsBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.OneOf(
			rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		).Draw(t, "line")
		ns := rapid.Int64().Draw(t, "time")
		value := rapid.String().Draw(t, "value")
		stream := record.NewStream(record.Labels{{Name: "a", Value: value}, {Name: "b", Value: "2"}},
			record.Labels{{Name: "image", Value: `x"y\`}})
		b := object(stream, ns, line, record.Truncated)
		if strings.ContainsAny(string(b), "\n\r\x00\x1b") {
			t.Fatalf("control characters in %q", b)
		}
		var got entry
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%v in %q", err, b)
		}
		text := string(got.LineBase64)
		if got.Line != nil {
			text = *got.Line
		}
		if text != string(line) || got.Time.UnixNano() != ns || !got.Truncated {
			t.Fatalf("%q became %q", line, b)
		}
		if got.Labels["a"] != stream.Labels.Get("a") || got.Labels["b"] != "2" || got.Metadata["image"] != `x"y\` {
			t.Fatalf("labels of %q", b)
		}
	})
}

func TestTheForm(t *testing.T) {
	stream := record.NewStream(record.Labels{{Name: "app", Value: "web"}}, nil)
	want := `{"time":"2023-11-14T22:13:20.000000007Z","labels":{"app":"web"},"line":"a\tb \"c\" \u001b[0m é"}`
	got := object(stream, 1_700_000_000_000_000_007, []byte("a\tb \"c\" \x1b[0m é"), 0)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if got := string(AppendString(nil, "half \xe2\x82")); got != `"half `+"�"+`"` {
		t.Errorf("invalid UTF-8 in a label: %s", got)
	}
}

func BenchmarkAppendLine(b *testing.B) {
	stream := record.NewStream(record.Labels{{Name: "container", Value: "web"}, {Name: "stream", Value: "stdout"}}, nil)
	rendered := AppendStream(nil, stream)
	line := []byte(strings.Repeat(`GET /index.html HTTP/1.1 "200" `, 4))
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendTime(append(buf[:0], `{"time":`...), 1_700_000_000_123_456_789)
		buf = append(append(buf, ','), rendered...)
		buf = append(AppendLine(append(buf, ','), line, 0), '}', '\n')
	}
}
