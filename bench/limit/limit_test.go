package limit

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// BenchmarkLimit is what one core of this machine can do at best, without a
// network: each step includes those before it. A share of the limit is a share
// of the last step, "snappy".
func BenchmarkLimit(b *testing.B) {
	size := bench.Size(b)
	plain := bench.File(b, "plain.log", bench.Lines("bench", size))
	records := bench.File(b, "records.log", bench.JSONFile("bench", size))

	for _, step := range []struct {
		name, path string
		lines      func(l *Limit, b []byte)
		snappy     bool
	}{
		{"plain/read", plain, nil, false},
		{"plain/split", plain, func(*Limit, []byte) {}, false},
		{"plain/copy", plain, (*Limit).Copy, false},
		{"plain/snappy", plain, (*Limit).Copy, true},
		{"jsonfile/split", records, func(*Limit, []byte) {}, false},
		{"jsonfile/unescape", records, (*Limit).Unescape, false},
		{"jsonfile/snappy", records, (*Limit).Unescape, true},
	} {
		b.Run(step.name, func(b *testing.B) {
			l := New(step.snappy)
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				var err error
				if n, err = l.File(step.path, step.lines); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(n)
		})
	}
}

func TestTheLimitSeesEveryLine(t *testing.T) {
	content := bench.Lines("bench", 3*block)
	l := New(true)
	n, err := l.File(bench.File(t, "plain.log", content), (*Limit).Copy)
	if err != nil || n != int64(len(content)) || l.lines != bytes.Count(content, []byte("\n")) || l.packedBytes == 0 {
		t.Fatalf("%d bytes, %d lines, %d packed, %v", n, l.lines, l.packedBytes, err)
	}
}

func TestTheTimeOfTheLimitIsTakenForAllFiles(t *testing.T) {
	path := bench.File(t, "records.log", bench.JSONFile("bench", block))
	one, err := Time(0, true, path)
	if err != nil || one <= 0 {
		t.Fatal(one, err)
	}
	if _, err := Time(0, true, path, path+".none"); err == nil {
		t.Fatal("a file that is not there was measured")
	}
}
