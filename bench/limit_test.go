package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
)

const block = 1 << 20

// BenchmarkLimit is what one core of this machine can do at best, without a
// network: each step includes those before it. A share of the limit is a share
// of the last step, "snappy".
func BenchmarkLimit(b *testing.B) {
	size := Size(b)
	plain := File(b, "plain.log", Lines("bench", size))
	records := File(b, "records.log", JSONFile("bench", size))

	for _, step := range []struct {
		name, path string
		lines      func(l *limit, b []byte)
		snappy     bool
	}{
		{"plain/read", plain, nil, false},
		{"plain/split", plain, func(*limit, []byte) {}, false},
		{"plain/copy", plain, (*limit).copy, false},
		{"plain/snappy", plain, (*limit).copy, true},
		{"jsonfile/split", records, func(*limit, []byte) {}, false},
		{"jsonfile/unescape", records, (*limit).unescape, false},
		{"jsonfile/snappy", records, (*limit).unescape, true},
	} {
		b.Run(step.name, func(b *testing.B) {
			l := newLimit(step.snappy)
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				var err error
				if n, err = l.file(step.path, step.lines); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(n)
		})
	}
}

// limit holds the buffers of one run, so that nothing is allocated in it.
type limit struct {
	chunk, out, packed []byte
	snappy             bool
	lines, packedBytes int
}

func newLimit(snappy bool) *limit {
	return &limit{
		chunk: make([]byte, 0, 2*block), out: make([]byte, 0, 2*block),
		packed: make([]byte, s2.MaxEncodedLen(2*block)), snappy: snappy,
	}
}

// file reads a file by chunks, splits it and hands each line to add; nil only reads.
func (l *limit) file(path string, add func(*limit, []byte)) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	total, kept := int64(0), 0
	for {
		n, err := f.Read(l.chunk[kept : kept+block])
		total += int64(n)
		if errors.Is(err, io.EOF) {
			l.flush()
			return total, nil
		}
		if err != nil {
			return 0, err
		}
		if add == nil {
			continue
		}
		rest := l.chunk[:kept+n]
		for {
			at := bytes.IndexByte(rest, '\n')
			if at < 0 {
				break
			}
			add(l, rest[:at])
			l.lines++
			rest = rest[at+1:]
		}
		kept = copy(l.chunk[:block], rest)
	}
}

// begin appends what stands before the line in a push request: tags, lengths and a timestamp.
func (l *limit) begin(n int) {
	l.out = append(l.out, 0x12)
	l.out = binary.AppendUvarint(l.out, uint64(n+16))
	l.out = append(l.out, 0x0a, 0x0c, 0x08)
	l.out = binary.AppendUvarint(l.out, 1_795_300_000)
	l.out = append(l.out, 0x10)
	l.out = binary.AppendUvarint(l.out, uint64(l.lines))
	l.out = append(l.out, 0x12)
	l.out = binary.AppendUvarint(l.out, uint64(n))
}

func (l *limit) end() {
	if len(l.out) >= block {
		l.flush()
	}
}

func (l *limit) copy(b []byte) {
	l.begin(len(b))
	l.out = append(l.out, b...)
	l.end()
}

// valueEnd is what follows the log value; within it a quote would be escaped.
var valueEnd = []byte(`","stream":"`)

// unescape does what must be done to a json-file record at the least: it finds the
// end of the log value, undoes its escapes, and trusts the rest.
func (l *limit) unescape(b []byte) {
	b = b[len(`{"log":"`):]
	b = b[:max(bytes.LastIndex(b, valueEnd), 0)]
	l.begin(len(b))
	for {
		at := bytes.IndexByte(b, '\\')
		if at < 0 {
			l.out = append(l.out, b...)
			l.end()
			return
		}
		l.out = append(l.out, b[:at]...)
		switch b[at+1] {
		case 'u':
			l.out = append(l.out, hex(b[at+4])<<4|hex(b[at+5]))
			b = b[at+6:]
			continue
		case 'n':
			l.out = append(l.out, '\n')
		default:
			l.out = append(l.out, b[at+1])
		}
		b = b[at+2:]
	}
}

func hex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func (l *limit) flush() {
	if l.snappy {
		l.packedBytes += len(s2.EncodeSnappy(l.packed, l.out))
	}
	l.out = l.out[:0]
}

func TestTheInputIsWhatTheFiguresNeed(t *testing.T) {
	plain := Lines("bench", block)
	if !bytes.Equal(plain, Lines("bench", block)) {
		t.Error("two calls differ")
	}
	n := bytes.Count(plain, []byte("\n"))
	if mean := len(plain) / n; mean < 150 || mean > 300 {
		t.Errorf("the mean line has %d bytes, want about 210", mean)
	}
	var want [][]byte
	for l := range bytes.Lines(plain) {
		want = append(want, l)
	}
	i := 0
	for l := range bytes.Lines(JSONFile("bench", block)) {
		var rec struct {
			Log, Stream string
			Time        time.Time
		}
		if err := json.Unmarshal(l, &rec); err != nil || rec.Stream != "stdout" || rec.Time.IsZero() {
			t.Fatalf("%q: %v", l, err)
		}
		if i < len(want) && rec.Log != string(want[i]) {
			t.Fatalf("record %d is %q, want %q", i, rec.Log, want[i])
		}
		i++
	}
}

func TestTheLimitSeesEveryLine(t *testing.T) {
	content := Lines("bench", 3*block)
	l := newLimit(true)
	n, err := l.file(File(t, "plain.log", content), (*limit).copy)
	if err != nil || n != int64(len(content)) || l.lines != bytes.Count(content, []byte("\n")) || l.packedBytes == 0 {
		t.Fatalf("%d bytes, %d lines, %d packed, %v", n, l.lines, l.packedBytes, err)
	}
}
