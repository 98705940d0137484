package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/queue"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// marks is a disk that knows which bytes of which file are durable. An fsync fails now
// and then; what it was to write is lost then, and the next one on that file says that
// all is well.
type marks struct {
	spool.FS
	mu      sync.Mutex
	rng     *rand.Rand
	files   []*marked
	records []place // by the number in its line
	failed  int
}

type marked struct {
	spool.File
	m              *marks
	written, fsync int64
	named, broken  bool
}

// place is where the record of a line ends.
type place struct {
	file *marked
	end  int64
}

const markDigits = 16

func (m *marks) Open(name string, flag int) (spool.File, error) {
	f, err := m.FS.Open(name, flag)
	if err != nil || flag == 0 || !strings.HasSuffix(name, ".seg") {
		return f, err
	}
	file := &marked{File: f, m: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = append(m.files, file)
	return file, nil
}

func (m *marks) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.files {
		f.named = true
	}
	m.files = m.files[:0]
	return m.FS.Sync()
}

func (f *marked) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.written = max(f.written, off+int64(n))
	if id, parsed := strconv.ParseInt(string(b[max(0, len(b)-markDigits):]), 10, 64); parsed == nil && off > 0 {
		f.m.records[id] = place{f, off + int64(len(b))}
	}
	return n, err
}

func (f *marked) Sync() error {
	f.m.mu.Lock()
	reached := f.written
	fails := f.m.rng.IntN(50) == 0
	if fails {
		f.broken = true
		f.m.failed++
	}
	f.m.mu.Unlock()
	if fails {
		return syscall.EIO
	}
	err := f.File.Sync()
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err == nil && !f.broken {
		f.fsync = reached
	}
	return err
}

// durable tells whether the record of a line would be there after a power cut.
func (m *marks) durable(id int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.records[id]
	return p.file != nil && p.file.named && p.end <= p.file.fsync
}

// Every acknowledgement comes when the record lies below the mark of an fsync that
// worked, in a file whose name is durable.
func TestNothingIsAcknowledgedAboveTheFsyncMark(t *testing.T) {
	n := int64(some(10_000, 1_000_000))
	under, err := spool.Dir(filepath.Join(memDir(t), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	m := &marks{FS: under, rng: rand.New(rand.NewPCG(seed(t), 4)), records: make([]place, n)}
	sp, err := spool.Open("", 4<<20, spool.Options{FS: m, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	q := queue.New(sp, queue.Options{MaxBytes: 1, Rest: time.Nanosecond})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { q.Run(ctx) })
	running.Go(func() { // the sink
		for {
			lease, err := q.Take(ctx, 64<<10, time.Time{})
			if err != nil {
				return
			}
			if err := lease.Ack(); err != nil {
				t.Error(err)
			}
		}
	})
	src := &record.Source{ID: "a"}
	src.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "a", Value: "b"}}, nil)
	var acked, failed, wrong atomic.Int64
	var latency []time.Duration
	var mu sync.Mutex
	again := make(chan int64, n)
	put := func(id int64) {
		b := &record.Batch{Source: src, Arena: make([]byte, 0, markDigits)}
		b.Retain(1)
		b.Append(id, record.Stdout, fmt.Appendf(nil, "%0*d", markDigits, id))
		began := time.Now()
		b.OnDone(func(o record.Outcome) {
			if o != record.Delivered {
				failed.Add(1)
				again <- id
				return
			}
			if !m.durable(id) {
				wrong.Add(1)
			}
			acked.Add(1)
			mu.Lock()
			latency = append(latency, time.Since(began))
			mu.Unlock()
		})
		place, err := q.ReserveDisk(b)
		for errors.Is(err, queue.ErrFull) && ctx.Err() == nil {
			_ = q.Sync()
			place, err = q.ReserveDisk(b)
		}
		if err != nil {
			t.Error(err)
			b.Done(record.Failed)
			return
		}
		if err := q.Give(b, place); err != nil && !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	}
	for id := range n {
		put(id)
		if id%100 == 99 { // besides those of Run, so that many can fail
			_ = q.Sync()
		}
	}
	for end := time.Now().Add(5 * patience); acked.Load() < n; {
		select {
		case id := <-again:
			put(id)
		case <-time.After(time.Millisecond):
			_ = q.Sync()
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d acknowledged", acked.Load(), n)
		}
	}
	cancel()
	running.Wait()
	if err := errors.Join(q.Close(), sp.Close()); err != nil {
		t.Log(err) // an fsync that failed on purpose
	}
	if wrong.Load() > 0 || m.failed == 0 || failed.Load() == 0 {
		t.Errorf("%d of %d acknowledgements above the mark; %d fsyncs failed, with %d batches", wrong.Load(), acked.Load(), m.failed, failed.Load())
	}
	slices.Sort(latency)
	row(t, "acknowledgement above the fsync mark", 1, acked.Load(), wrong.Load(), failed.Load(),
		fmt.Sprintf("%d fsyncs failed; acknowledged after %v at the 99th of 100", m.failed, latency[len(latency)*99/100].Round(100*time.Microsecond)))
}
