package bench

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/queue"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

const (
	spoolBytes   = 64 << 20 // written and read in one round
	spoolLine    = 128
	linesOfBatch = 2000
)

// spoolDirs are where the spool is measured: memory, if there is such a disk, and the
// disk of the tests.
func spoolDirs(b *testing.B) map[string]string {
	b.Helper()
	dirs := map[string]string{"disk": b.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "bench-*"); err == nil {
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
		dirs["tmpfs"] = dir
	}
	return dirs
}

func spoolBatch(lines int) *record.Batch {
	src := &record.Source{ID: "container:bench"}
	src.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "container", Value: "bench"}}, nil)
	b := &record.Batch{Source: src}
	b.Retain(1)
	line := make([]byte, spoolLine)
	for i := range line {
		line[i] = 'a' + byte(i%26)
	}
	for i := range lines {
		b.Append(int64(i)*1000, record.Stdout, line)
	}
	return b
}

// BenchmarkSpool writes and reads a spool on one core, with the fsyncs of a queue, and
// in the same round writes as many bytes to plain files with as many fsyncs. The share
// is of the time of writing.
func BenchmarkSpool(b *testing.B) {
	for name, dir := range spoolDirs(b) {
		b.Run(name, func(b *testing.B) {
			var writing, reading, plain, cpu time.Duration
			round := 0
			for b.Loop() {
				round++
				before := cpuTime(b)
				w, r := spoolRound(b, filepath.Join(dir, "spool"))
				cpu += cpuTime(b) - before
				writing, reading = writing+w, reading+r
				plain += plainRound(b, filepath.Join(dir, "plain"))
			}
			mb := float64(round) * spoolBytes / 1e6
			b.ReportMetric(mb/(writing+reading).Seconds(), "write+read-MB/s")
			b.ReportMetric(mb/cpu.Seconds(), "write+read-MB/CPU-s")
			b.ReportMetric(mb/writing.Seconds(), "write-MB/s")
			b.ReportMetric(mb/reading.Seconds(), "read-MB/s")
			b.ReportMetric(mb/plain.Seconds(), "plain-MB/s")
			b.ReportMetric(100*plain.Seconds()/writing.Seconds(), "%-of-plain")
		})
	}
}

// cpuTime is what this process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func spoolRound(b *testing.B, dir string) (writing, reading time.Duration) {
	b.Helper()
	s, err := spool.Open(dir, 2*spoolBytes, spool.Options{Pool: record.NewPool(1 << 30)})
	if err != nil {
		b.Fatal(err)
	}
	batch := spoolBatch(linesOfBatch)
	size := len(batch.Arena)
	start := time.Now()
	for written, unsynced := 0, 0; written < spoolBytes; written += size {
		if err := s.Append(batch, s.LastSeq()+1); err != nil {
			b.Fatal(err)
		}
		if unsynced += size; unsynced >= queue.SyncBytes {
			if _, _, err := s.Sync(); err != nil {
				b.Fatal(err)
			}
			unsynced = 0
		}
	}
	if _, _, err := s.Sync(); err != nil {
		b.Fatal(err)
	}
	writing = time.Since(start)
	start = time.Now()
	for {
		got, seq, err := s.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		got.Done(record.Delivered)
		if err := s.Commit(seq); err != nil {
			b.Fatal(err)
		}
	}
	reading = time.Since(start)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return writing, reading
}

func plainRound(b *testing.B, path string) time.Duration {
	b.Helper()
	block := make([]byte, linesOfBatch*spoolLine)
	start := time.Now()
	for range spoolBytes / spool.MaxSegment {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		unsynced := 0
		for written := 0; written < spool.MaxSegment; written += len(block) {
			if _, err := f.Write(block); err != nil {
				b.Fatal(err)
			}
			if unsynced += len(block); unsynced >= queue.SyncBytes {
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				unsynced = 0
			}
		}
		if err := errors.Join(f.Sync(), f.Close(), os.Remove(path)); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// BenchmarkAcknowledgement spills a batch every millisecond and measures how long each
// waits for its acknowledgement, and in the same run how long the bare fsync of as many
// bytes takes.
func BenchmarkAcknowledgement(b *testing.B) {
	for name, dir := range spoolDirs(b) {
		b.Run(name, func(b *testing.B) {
			s, err := spool.Open(filepath.Join(dir, "spool"), 1<<30, spool.Options{})
			if err != nil {
				b.Fatal(err)
			}
			q := queue.New(s, queue.Options{MaxBytes: 1})
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { q.Run(ctx) })
			var mu sync.Mutex
			var waited, bare []time.Duration
			tick := time.NewTicker(time.Millisecond)
			for b.Loop() {
				for range 2000 {
					<-tick.C
					batch := spoolBatch(40)
					began := time.Now()
					batch.OnDone(func(record.Outcome) {
						mu.Lock()
						defer mu.Unlock()
						waited = append(waited, time.Since(began))
					})
					place, err := q.ReserveDisk(batch)
					if err != nil {
						b.Fatal(err)
					}
					if err := q.Give(batch, place); err != nil {
						b.Fatal(err)
					}
				}
				bare = append(bare, fsyncs(b, filepath.Join(dir, "plain"))...)
			}
			tick.Stop()
			cancel()
			running.Wait()
			if err := errors.Join(q.Close(), s.Close()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(p99(waited), "p99-ms")
			b.ReportMetric(p99(bare), "bare-fsync-p99-ms")
		})
	}
}

func fsyncs(b *testing.B, path string) (took []time.Duration) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 20*40*spoolLine)
	for range 100 {
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

func p99(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)*99/100].Microseconds()) / 1e3
}
