package null

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

func TestMain(m *testing.M) {
	Child()
	goleak.VerifyTestMain(m)
}

// lines are n of a source, from a number on, of all shapes.
func lines(id string, from, n int64) (all [][]byte) {
	for seq := from; seq < from+n; seq++ {
		all = append(all, line.Append(nil, line.Mixed, id, seq, 0, time.Unix(seq, 0)))
	}
	return all
}

// field is a length-delimited field of a protobuf message.
func field(number uint64, value []byte) []byte {
	b := binary.AppendUvarint(nil, number<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

func lokiPush(all [][]byte) []byte {
	stream := field(1, []byte(`{job="x",id="id=no seq=7"}`))
	for _, l := range all {
		at := field(1, []byte{0x08, 0x64, 0x10, 0x05})
		meta := field(3, append(field(1, []byte("k")), field(2, []byte("id=no seq=8"))...))
		stream = append(stream, field(2, append(append(at, field(2, l)...), meta...))...)
	}
	return field(1, stream)
}

func otlpExport(all [][]byte) []byte {
	scope := field(1, field(1, []byte("scope id=no seq=7")))
	for _, l := range all {
		record := append([]byte{0x09}, make([]byte, 8)...)              // time_unix_nano, fixed64
		record = append(record, 0x10, 9)                                // severity_number
		record = append(record, field(5, field(1, l))...)               // body
		record = append(record, field(6, field(1, []byte("seq=9")))...) // attributes
		record = append(record, append([]byte{0x45}, 0, 0, 0, 0)...)    // flags, fixed32
		scope = append(scope, field(2, record)...)
	}
	return field(1, append(field(1, []byte("resource")), field(2, scope)...))
}

func documents(all [][]byte, before string) []byte {
	var b bytes.Buffer
	for _, l := range all {
		doc, _ := json.Marshal(map[string]string{"message": string(l), "file": "/x id=no.log"})
		b.WriteString(before)
		b.Write(doc)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func lokiDocument(all [][]byte) []byte {
	values := [][2]string{}
	for _, l := range all {
		values = append(values, [2]string{"1700000000000000000", string(l)})
	}
	b, _ := json.Marshal(map[string]any{"streams": []any{map[string]any{"stream": map[string]string{"job": "x"}, "values": values}}})
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func inFrames(b []byte) []byte {
	var out bytes.Buffer
	w := s2.NewWriter(&out, s2.WriterSnappyCompat())
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// push sends a request to the handler and returns the status.
func push(h http.Handler, path, kind, encoding string, body []byte) int {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func report(t *testing.T, h http.Handler) (r Report) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, pathReport, nil))
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachProtocolIsReadAndEachLineCountedOnce(t *testing.T) {
	const protobuf, doc = "application/x-protobuf", "application/json"
	block := func(b []byte) []byte { return s2.EncodeSnappy(nil, b) }
	same := func(b []byte) []byte { return b }
	for _, c := range []struct {
		name, path, kind, encoding string
		body                       func([][]byte) []byte
		pack                       func([]byte) []byte
	}{
		{"Loki", PathLoki, protobuf, "", lokiPush, block},
		{"Loki, JSON", PathLoki, doc, "", lokiDocument, same},
		{"Loki, JSON, gzip", PathLoki, doc, "gzip", lokiDocument, gzipped},
		{"bulk", PathBulk, doc, "", func(l [][]byte) []byte { return documents(l, `{"index":{"_index":"x"}}`+"\n") }, same},
		{"bulk of an index, gzip", "/logs" + PathBulk, doc, "gzip", func(l [][]byte) []byte { return documents(l, `{"create":{}}`+"\n") }, gzipped},
		{"OTLP", PathOTLP, protobuf, "", otlpExport, same},
		{"OTLP, gzip", PathOTLP, protobuf, "gzip", otlpExport, gzipped},
		{"OTLP, a block of snappy", PathOTLP, protobuf, "snappy", otlpExport, block},
		{"OTLP, frames of snappy", PathOTLP, protobuf, "snappy", otlpExport, inFrames},
		{"NDJSON", PathNDJSON, doc, "", func(l [][]byte) []byte { return documents(l, "") }, same},
		{"text", PathNDJSON, "text/plain", "", func(l [][]byte) []byte { return append(bytes.Join(l, []byte("\n")), '\n') }, same},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := NewHandler()
			sent := 0
			for _, id := range []string{"a", "b-2"} {
				for _, span := range [][2]int64{{1, 100}, {101, 50}} { // larger, then smaller: buffers are used again
					body := c.pack(c.body(lines(id, span[0], span[1])))
					sent += len(body)
					if code := push(h, c.path, c.kind, c.encoding, body); code/100 != 2 {
						t.Fatalf("answered with %d: %+v", code, report(t, h))
					}
				}
			}
			r := report(t, h)
			if r.Lines != 300 || r.Repeated != 0 || r.Sources != 2 || r.Foreign != 0 || r.Disorder != 0 ||
				r.Requests != 4 || r.Bytes != int64(sent) || r.First == 0 || r.Last < r.First {
				t.Fatalf("%+v", r)
			}
		})
	}
}

func TestWhatIsLostRepeatedAndOutOfOrderIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		numbers                     []int64
		lines, repeated, disordered int64
	}{
		"all":                   {[]int64{1, 2, 3, 4, 5}, 5, 0, 0},
		"one lost":              {[]int64{1, 2, 4, 5}, 4, 0, 0},
		"a planted repeat":      {[]int64{1, 2, 2, 3, 4, 5}, 5, 1, 0},
		"a repeat, later":       {[]int64{1, 2, 3, 4, 5, 1}, 5, 1, 0},
		"order":                 {[]int64{1, 3, 2, 4, 5}, 5, 0, 1},
		"a request comes late":  {[]int64{4, 5, 1, 2, 3}, 5, 0, 3},
		"far apart, and a word": {[]int64{63, 64, 65, 1000, 127, 128}, 6, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHandler()
			for _, n := range c.numbers {
				push(h, PathNDJSON, "", "", lines("a", n, 1)[0])
				push(h, PathNDJSON, "", "", lines("other", n, 1)[0]) // sources do not mix
			}
			if r := report(t, h); r.Lines != 2*c.lines || r.Repeated != 2*c.repeated || r.Disorder != 2*c.disordered {
				t.Fatalf("%+v", r)
			}
		})
	}
}

func TestWhatCannotBeReadIsToldAndNotCounted(t *testing.T) {
	good := lokiPush(lines("a", 1, 3))
	h := NewHandler()
	for name, c := range map[string]struct {
		path, encoding string
		body           []byte
	}{
		"cut":              {PathOTLP, "", otlpExport(lines("a", 1, 3))[:200]},
		"not compressed":   {PathLoki, "", good},
		"unknown encoding": {PathOTLP, "br", good},
		"no gzip":          {PathOTLP, "gzip", good},
		"documents alone":  {PathBulk, "", documents(lines("a", 1, 2), "")},
		"nowhere":          {"/else", "", good},
	} {
		if code := push(h, c.path, "application/x-protobuf", c.encoding, c.body); code != http.StatusBadRequest && code != 0 {
			t.Errorf("%s: answered with %d", name, code)
		}
	}
	if r := report(t, h); r.Broken != 6 || r.Error == "" {
		t.Fatalf("%+v", r)
	}
	h = NewHandler()
	push(h, PathNDJSON, "", "", []byte("hello\nid=a seq=\nid=a seq=99999999999999999999\nno seq=3\n"))
	if r := report(t, h); r.Foreign != 4 || r.Lines != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestAServerThatIsDownRefusesAndCountsNothing(t *testing.T) {
	h := NewHandler()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, pathDown, nil))
	if code := push(h, PathNDJSON, "", "", lines("a", 1, 1)[0]); code != http.StatusServiceUnavailable {
		t.Fatal(code)
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, pathUp, nil))
	push(h, PathNDJSON, "", "", lines("a", 1, 1)[0])
	if r := report(t, h); r.Refused != 1 || r.Lines != 1 || r.Repeated != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestAServerOfItsOwnProcessNotesArrivals(t *testing.T) {
	s, err := Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.Arrivals(); err != nil {
		t.Fatal(err)
	}
	before := time.Now().UnixNano()
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr+PathNDJSON, strings.NewReader(string(lines("a", 2, 1)[0])))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.http.Do(post)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	at, err := s.Arrivals()
	if err != nil || len(at["a"]) != 3 || at["a"][1] != 0 || at["a"][2] < before || at["a"][2] > time.Now().UnixNano() {
		t.Fatal(at, err)
	}
	if r, err := s.Report(); err != nil || r.Lines != 1 || r.CPU <= 0 {
		t.Fatal(r, err)
	}
}

// BenchmarkPush is what the server makes of requests of 1 MiB of lines: it should be several
// times what the fastest agent sends.
func BenchmarkPush(b *testing.B) {
	all := lines("a", 1, 5000)
	size := 0
	for _, l := range all {
		size += len(l) + 1
	}
	body := s2.EncodeSnappy(nil, lokiPush(all))
	h := NewHandler()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if push(h, PathLoki, "application/x-protobuf", "", body) != http.StatusNoContent {
			b.Fatal("refused")
		}
	}
}
