// Package bench measures the agent against the physical limit of the machine, in
// the same run: a share of the limit can be compared between machines, a rate
// cannot. Its input is the same bytes on every machine.
package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// SizeVariable names the environment variable with the size of the input in MiB.
const SizeVariable = "LOG_CAPTURER_BENCH_MIB"

const defaultMiB = 64

// Size returns the number of bytes of input that a benchmark is to use.
func Size(tb testing.TB) int {
	tb.Helper()
	s := os.Getenv(SizeVariable)
	if s == "" {
		return defaultMiB << 20
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		tb.Fatalf("%s=%q: want a number of MiB above 0", SizeVariable, s)
	}
	return n << 20
}

// epoch is the time of the first line; each line comes 10 µs after the one before it.
var epoch = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// Lines returns about size bytes of whole lines: a mix of nginx access (200 bytes),
// JSON application (350) and short (80) lines, each with id and its number from 1.
func Lines(id string, size int) []byte { return whole(id, false, size) }

// JSONFile returns about size bytes of the records that the json-file log driver
// writes for those lines, on standard output.
func JSONFile(id string, size int) []byte { return whole(id, true, size) }

func whole(id string, records bool, size int) []byte {
	var b bytes.Buffer
	b.Grow(size + 1024)
	_, _ = Write(&b, id, records, int64(size)) // a buffer takes everything
	return b.Bytes()
}

// Write writes what Lines or JSONFile returns, and returns the number of lines.
func Write(w io.Writer, id string, records bool, size int64) (lines int64, err error) {
	var b, text []byte
	for written := int64(0); written < size; {
		b = b[:0]
		for ; int64(len(b)) < min(1<<20, size-written); lines++ {
			if !records {
				b = append(line.Append(b, line.Mixed, id, lines+1, 0, lineTime(lines+1)), '\n')
				continue
			}
			text = line.Append(text[:0], line.Mixed, id, lines+1, 0, lineTime(lines+1))
			b = append(b, `{"log":"`...)
			b = appendEscaped(b, text)
			b = append(b, `\n","stream":"stdout","time":"`...)
			b = lineTime(lines+1).AppendFormat(b, time.RFC3339Nano)
			b = append(b, "\"}\n"...)
		}
		if _, err := w.Write(b); err != nil {
			return 0, err
		}
		written += int64(len(b))
	}
	return lines, nil
}

func lineTime(seq int64) time.Time { return epoch.Add(time.Duration(seq)*10*time.Microsecond + 1) }

// appendEscaped escapes as the engine does; the lines are printable ASCII.
func appendEscaped(b, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '<', '>', '&':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return b
}

// File writes content to a file of the test and returns its path; it then is in
// the page cache.
func File(tb testing.TB, name string, content []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
