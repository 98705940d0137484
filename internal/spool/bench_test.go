package spool

import (
	"errors"
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/internal/record"
)

// BenchmarkAppend writes batches of 1,000 lines of 100 bytes, without fsync.
func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), 64<<20, Options{})
	defer s.Close()
	batch := &record.Batch{Source: source("a")}
	batch.Retain(1)
	line := []byte(strings.Repeat("x", 100))
	for i := range 1000 {
		batch.Append(int64(i)*1000, record.Stdout, line)
	}
	b.SetBytes(int64(len(batch.Arena)))
	b.ReportAllocs()
	for b.Loop() {
		err := s.Append(batch, s.LastSeq()+1)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrFull) {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, _, err := s.Sync(); err != nil {
			b.Fatal(err)
		}
		readAll(b, s)
		if err := s.Commit(s.LastSeq()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
