package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/test/harness"
)

func parser(r io.Reader, size int) *exported {
	return &exported{r: bufio.NewReaderSize(r, size), maxLine: 100}
}

// Whatever fields an entry has, and in however small pieces it comes.
func TestEntriesAreParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var data []byte
		var want []string
		for n := range rapid.IntRange(0, 5).Draw(t, "entries") {
			fields := []string{"__CURSOR", fmt.Sprint("c", n), "__REALTIME_TIMESTAMP", fmt.Sprint(n + 1)}
			said := ""
			for range rapid.IntRange(0, 6).Draw(t, "fields") {
				name := rapid.SampledFrom([]string{"MESSAGE", "UNIT", "_PID", "FOO", "COREDUMP", "PRIORITY"}).Draw(t, "name")
				value := rapid.OneOf(rapid.StringN(0, 20, 80), rapid.Just("a\nb\n\n__CURSOR=x\n"), rapid.Just(strings.Repeat("=", 300)), rapid.Just("\xff\x00")).Draw(t, "value")
				if name == "MESSAGE" && said == "" {
					said = "+" + value[:min(len(value), 100)]
				}
				fields = append(fields, name, value)
			}
			data = append(harness.AppendExport(data, fields...), '\n')
			want = append(want, fmt.Sprintf("c%d %d %s", n, (n+1)*1000, said))
		}
		in := io.Reader(bytes.NewReader(data))
		if rapid.Bool().Draw(t, "slow") {
			in = iotest.OneByteReader(in)
		}
		x, e := parser(in, rapid.SampledFrom([]int{maxName + 20, 4096}).Draw(t, "buffer")), entry{}
		for _, w := range want {
			if err := x.next(&e); err != nil {
				t.Fatalf("%v; want %q in %q", err, w, data)
			}
			said := ""
			if e.said {
				said = "+" + string(e.message)
			}
			if got := fmt.Sprintf("%s %d %s", e.cursor, e.time, said); got != w {
				t.Fatalf("%q, want %q", got, w)
			}
		}
		if err := x.next(&e); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}

// A child may end anywhere: half an entry is none.
func TestHalfAnEntryIsNone(t *testing.T) {
	whole := append(harness.AppendExport(nil, "__CURSOR", "c", "__REALTIME_TIMESTAMP", "1", "MESSAGE", "a\nb", "UNIT", "u"), '\n')
	for n := range whole {
		var e entry
		x := parser(bytes.NewReader(whole[:n]), 4096)
		if _, _ = x.r.Peek(n); x.ready() {
			t.Fatalf("%q is taken for a whole entry", whole[:n])
		}
		if err := x.next(&e); err == nil || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q: %v", whole[:n], err)
		}
	}
	x := parser(bytes.NewReader(whole), 4096)
	if _, _ = x.r.Peek(len(whole)); !x.ready() {
		t.Error("a whole entry is taken for half of one")
	}
}

func TestNothingIsAllocatedForAnEntry(t *testing.T) {
	var data []byte
	for n := range 1000 {
		data = append(harness.AppendExport(data, "__CURSOR", fmt.Sprint("c", n), "__REALTIME_TIMESTAMP", fmt.Sprint(n+1), "MESSAGE", "hello\nworld",
			"_SYSTEMD_UNIT", fmt.Sprintf("u%d.service", n%10), "PRIORITY", "3", "SYSLOG_IDENTIFIER", "x", "FOO", "bar"), '\n')
	}
	r := &Reader{opener: &Opener{Stats: &Stats{}}, in: exported{maxLine: 1000}}
	base := &record.Source{}
	base.Streams[0] = record.NewStream(nil, nil)
	r.sources = newSources(base, []string{LabelUnit}, Choice{})
	src := bytes.NewReader(data)
	r.in.r = bufio.NewReaderSize(src, bufferSize)
	b := record.NewPool(1 << 20).Force(record.LargeArena)
	all := func() {
		src.Reset(data)
		r.in.r.Reset(src)
		b.Arena, b.Entries = b.Arena[:0], b.Entries[:0]
		for r.read() == nil {
			r.give(b)
		}
		if len(b.Entries) != 1000 {
			t.Fatalf("%d entries", len(b.Entries))
		}
	}
	all()
	if n := testing.AllocsPerRun(10, all); n > 1 {
		t.Errorf("%.0f allocations for 1,000 entries", n)
	}
}

func FuzzExport(f *testing.F) {
	f.Add([]byte("__CURSOR=c\n__REALTIME_TIMESTAMP=1\nMESSAGE=x\n\n"), uint16(300))
	f.Add(append(harness.AppendExport(nil, "__CURSOR", "c", "__REALTIME_TIMESTAMP", "1", "MESSAGE", "a\nb\xff"), '\n'), uint16(500))
	f.Add([]byte("MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffx\n\n"), uint16(0))
	f.Add([]byte("-- Journal begins --\n"), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		x, e := parser(bytes.NewReader(data), max(int(size), 16)), entry{}
		for n := 0; ; n++ {
			x.ready()
			err := x.next(&e)
			if len(e.message) > x.maxLine || len(e.cursor) > maxValue || len(e.unit) > maxValue || len(e.misc) > maxValue {
				t.Fatalf("more is kept than may be: %+v", e)
			}
			if err != nil {
				return
			}
			if len(e.cursor) == 0 || e.time <= 0 || e.level >= int8(len(levels)) || n > len(data) {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func BenchmarkExport(b *testing.B) {
	data := append(harness.AppendExport(nil, "__CURSOR", strings.Repeat("c", 130), "__REALTIME_TIMESTAMP", "1700000000000000", "__MONOTONIC_TIMESTAMP", "1",
		"_BOOT_ID", strings.Repeat("0", 32), "MESSAGE", strings.Repeat("m", 100), "_SYSTEMD_UNIT", "nginx.service", "PRIORITY", "6", "SYSLOG_IDENTIFIER", "nginx"), '\n')
	data = bytes.Repeat(data, 1000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	src := bytes.NewReader(data)
	x, e := parser(src, bufferSize), entry{}
	for b.Loop() {
		src.Reset(data)
		x.r.Reset(src)
		for x.next(&e) == nil {
		}
	}
}
