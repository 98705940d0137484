package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type tb interface {
	Helper()
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// books notes every batch that a test makes and how it was answered.
type books struct {
	mu      sync.Mutex
	t       tb
	sources map[string]*record.Source
	answers map[string]record.Outcome
	made    []string
}

func newBooks(t tb) *books {
	return &books{t: t, sources: map[string]*record.Source{}, answers: map[string]record.Outcome{}}
}

// batch returns batch n of a source: its lines are "source:n:0", "source:n:1" …, padded to size.
func (k *books) batch(source string, n, lines, size int) *record.Batch {
	k.mu.Lock()
	defer k.mu.Unlock()
	src := k.sources[source]
	if src == nil {
		src = &record.Source{ID: source, Kind: "file", Name: source}
		src.Streams[record.OutputNone] = record.NewStream(record.Labels{{Name: "source", Value: source}}, nil)
		k.sources[source] = src
	}
	b := &record.Batch{Source: src}
	b.Retain(1)
	for i := range lines {
		line := fmt.Sprintf("%s:%d:%d ", source, n, i)
		b.Append(int64(n*1000+i), record.OutputNone, []byte(line+strings.Repeat(".", max(size-len(line), 0))))
	}
	name := fmt.Sprintf("%s:%d", source, n)
	k.made = append(k.made, name)
	b.OnDone(func(o record.Outcome) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if _, twice := k.answers[name]; twice {
			k.t.Errorf("batch %s was answered twice", name)
		}
		k.answers[name] = o
	})
	return b
}

func (k *books) answer(name string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.answers[name]
	switch {
	case !ok:
		return "open"
	case o == record.Delivered:
		return "delivered"
	}
	return "failed"
}

func openSpool(t tb, dir string, o spool.Options) *spool.Spool {
	t.Helper()
	sp, err := spool.Open(dir, 1<<20, o)
	if err != nil {
		t.Fatalf("open the spool: %v", err)
	}
	return sp
}

// put gives b to the queue's memory or returns errNoMemory; spill gives it to the spool.
func put(q *Queue, b *record.Batch) error {
	p, err := q.Reserve(b)
	if err == nil && !p.Memory {
		q.Cancel(p)
		return errNoMemory
	}
	if err != nil {
		return err
	}
	return q.Give(b, p)
}

var errNoMemory = errors.New("no room in memory")

func spill(q *Queue, b *record.Batch) error {
	p, err := q.reserveDisk(b)
	if err != nil {
		return err
	}
	return q.Give(b, p)
}

// lines returns the first word of every line of a lease.
func lines(l *Lease) []string {
	var out []string
	for _, v := range l.Views() {
		for i := v.From; i < v.To; i++ {
			word, _, _ := strings.Cut(string(v.Batch.Line(i)), " ")
			out = append(out, word)
		}
	}
	return out
}

func newQueue(t *testing.T, o Options) (*Queue, *books) {
	t.Helper()
	sp := openSpool(t, t.TempDir(), spool.Options{})
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 20
	}
	q := New(sp, o)
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("close the queue: %v", err)
		}
		if err := sp.Close(); err != nil {
			t.Errorf("close the spool: %v", err)
		}
	})
	return q, newBooks(t)
}
