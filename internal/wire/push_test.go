package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type entry struct {
	time     int64
	line     string
	metadata string // name=value;…
}

type stream struct {
	labels  string
	entries []entry
}

// fields calls fn for each field of a protobuf message; a plain reader of the wire
// format, written from its specification, so that the encoder is not its own judge.
func fields(t *rapid.T, b []byte, fn func(field int, number uint64, data []byte)) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			t.Fatalf("bad tag in % x", b)
		}
		b = b[n:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			t.Fatalf("bad varint in % x", b)
		}
		b = b[n:]
		switch tag & 7 {
		case 0:
			fn(int(tag>>3), v, nil)
		case 2:
			if uint64(len(b)) < v {
				t.Fatalf("length %d passes the end, %d bytes are left", v, len(b))
			}
			fn(int(tag>>3), 0, b[:v])
			b = b[v:]
		default:
			t.Fatalf("wire type %d does not occur", tag&7)
		}
	}
}

func decode(t *rapid.T, b []byte) (out []stream) {
	fields(t, b, func(_ int, _ uint64, data []byte) {
		var s stream
		fields(t, data, func(field int, _ uint64, data []byte) {
			if field == 1 {
				s.labels = string(data)
				return
			}
			s.entries = append(s.entries, decodeEntry(t, data))
		})
		out = append(out, s)
	})
	return out
}

func decodeEntry(t *rapid.T, b []byte) (e entry) {
	fields(t, b, func(field int, _ uint64, data []byte) {
		switch field {
		case 1:
			fields(t, data, func(field int, v uint64, _ []byte) {
				if field == 1 {
					e.time += int64(v) * 1e9
					return
				}
				if v >= 1e9 {
					t.Fatalf("%d nanoseconds are more than a second", v)
				}
				e.time += int64(v)
			})
		case 2:
			e.line = string(data)
		case 3:
			var pair [3]string
			fields(t, data, func(field int, _ uint64, data []byte) { pair[field] = string(data) })
			e.metadata += pair[1] + "=" + pair[2] + ";"
		}
	})
	return e
}

func TestWhatIsEncodedCanBeDecoded(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.IntRange(100, 40000), func(n int) string { return strings.Repeat("x", n) }))
	times := rapid.OneOf(rapid.Int64(), rapid.Int64Range(1.7e18, 1.7e18+3e9), rapid.SampledFrom([]int64{0, -1, 1, 1e9, -1e9, math.MaxInt64, math.MinInt64}))
	genEntry := rapid.Custom(func(t *rapid.T) entry {
		return entry{times.Draw(t, "time"), text.Draw(t, "line"), ""}
	})
	var p Push
	rapid.Check(t, func(t *rapid.T) {
		name, value := rapid.StringN(1, 200, -1).Draw(t, "name"), rapid.String().Draw(t, "value")
		metadata := AppendMetadata(AppendMetadata(nil, name, value), "b", "2")
		var want []stream
		p.Reset()
		for i := range rapid.IntRange(0, 3).Draw(t, "streams") {
			s := stream{labels: fmt.Sprintf(`{n="%d"}`, i), entries: rapid.SliceOfN(genEntry, 0, 5).Draw(t, "entries")}
			p.Begin(s.labels)
			for i := range s.entries {
				var m []byte
				if i%2 == 0 {
					m, s.entries[i].metadata = metadata, name+"="+value+";b=2;"
				}
				p.Entry(s.entries[i].time, []byte(s.entries[i].line), m)
			}
			p.End()
			want = append(want, s)
		}
		raw, err := s2.Decode(nil, p.Snappy(nil))
		if err != nil || !bytes.Equal(raw, p.Bytes()) {
			t.Fatalf("snappy does not give back what was compressed: %v", err)
		}
		got := decode(t, raw)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestOverheadHolds(t *testing.T) {
	var p Push
	p.Begin(`{}`)
	for _, line := range []int{0, 127, 128, 1 << 14, 1 << 21} {
		before := p.Len()
		p.Entry(math.MinInt64+1, make([]byte, line), nil)
		if got := p.Len() - before - line; got > EntryOverhead {
			t.Errorf("a line of %d bytes costs %d bytes more, EntryOverhead says %d", line, got, EntryOverhead)
		}
	}
}

func TestNothingIsAllocatedPerLine(t *testing.T) {
	var p Push
	var body []byte
	line, metadata := bytes.Repeat([]byte("abc "), 50), AppendMetadata(nil, "id", "1")
	push := func() {
		p.Reset()
		p.Begin(`{app="web"}`)
		for i := range int64(1000) {
			p.Entry(1.7e18+i*1e7, line, metadata)
		}
		p.End()
		body = p.Snappy(body[:0])
	}
	push()
	if n := testing.AllocsPerRun(10, push); n > 0 {
		t.Errorf("%v allocations for a request of 1,000 lines, want none", n)
	}
}

// corpus returns 1 MiB of lines of about 200 bytes that look like an access log.
func corpus() (lines [][]byte, size int) {
	seed := uint64(1)
	next := func(n uint64) uint64 {
		seed = seed*6364136223846793005 + 1442695040888963407
		return (seed >> 33) % n
	}
	for size < 1<<20 {
		line := fmt.Appendf(nil, `10.%d.%d.%d - - [21/Nov/2026:23:%02d:%02d +0000] "GET /api/v1/items/%d?page=%d HTTP/1.1" %d %d "https://example.com/shop/%d" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML) Chrome/%d.0" rt=0.%03d`,
			next(256), next(256), next(256), next(60), next(60), next(1e6), next(50), 200+next(4)*100, next(1e5), next(1000), 90+next(50), next(1000))
		lines = append(lines, line)
		size += len(line)
	}
	return lines, size
}

// BenchmarkEncode is the work of one request of 1 MiB; BenchmarkLimit beside it is
// what nothing can beat: the same bytes copied plainly and compressed.
func BenchmarkEncode(b *testing.B) {
	lines, size := corpus()
	for _, compress := range []bool{false, true} {
		b.Run(fmt.Sprintf("snappy=%v", compress), func(b *testing.B) {
			var p Push
			var body []byte
			now := time.Now().UnixNano()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				p.Reset()
				p.Begin(`{container="web-1", host="a"}`)
				for i, line := range lines {
					p.Entry(now+int64(i)*1e5, line, nil)
				}
				p.End()
				if compress {
					body = p.Snappy(body[:0])
				}
			}
			if compress {
				b.ReportMetric(float64(size)/float64(len(body)), "ratio")
			}
		})
	}
}

func BenchmarkLimit(b *testing.B) {
	lines, size := corpus()
	for _, compress := range []bool{false, true} {
		b.Run(fmt.Sprintf("snappy=%v", compress), func(b *testing.B) {
			buf := make([]byte, 0, 2*size)
			body := make([]byte, s2.MaxEncodedLen(2*size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				buf = buf[:0]
				for _, line := range lines {
					buf = append(buf, line...)
				}
				if compress {
					s2.EncodeSnappy(body, buf)
				}
			}
		})
	}
}
