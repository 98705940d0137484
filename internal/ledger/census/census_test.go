package census

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/task"
)

// eventually waits for a condition of the census.
func eventually(t *testing.T, c *Census, what string, ok func(ledger.Snapshot) bool) ledger.Snapshot {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s, err := c.Take()
		if err != nil {
			t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s; the census is %+v", what, s)
		}
		runtime.Gosched()
	}
}

func owner(s ledger.Snapshot, name string) ledger.GoroutineOwner {
	for _, o := range s.Goroutines.Owners {
		if o.Owner == name {
			return o
		}
	}
	return ledger.GoroutineOwner{}
}

func newCensus(t *testing.T, expected map[string]int, entries ...Entry) *Census {
	t.Helper()
	root := task.NewRoot(t.Context(), "agent", slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := root.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &Census{
		Tasks: root, Started: time.Now(), DataDir: t.TempDir(),
		Accounts:   func() []Entry { return entries },
		Expected:   func() map[string]int { return expected },
		Component:  func(owner string) string { return "of " + owner },
		BatchBytes: func() int64 { return 7 },
		Components: func() []ledger.ComponentState { return nil },
	}
}

// What a library starts belongs to who called it; that it has to be there is told by the
// open connection.
func TestConnectionsExplainTheGoroutinesOfTheLibrary(t *testing.T) {
	held := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-held
	}))
	defer server.Close()
	var connections ledger.Account
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return ledger.Conn(ctx, &connections, c), nil
	}}
	c := newCensus(t, map[string]int{"agent/reader": 1}, Entry{Owner: "agent", Kind: Connection, Account: &connections})
	c.Tasks.Go("reader", func(ctx context.Context) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	})
	s := eventually(t, c, "the stream's goroutines", func(s ledger.Snapshot) bool { return owner(s, "agent/reader").Count == 3 })
	if o := owner(s, "agent/reader"); o.Tasks != 1 || o.Expected != 3 || o.Oldest.IsZero() || o.Component != "of agent/reader" {
		t.Errorf("%+v", o)
	}
	if h := s.Held[0]; h.Count != 1 || h.Expected != -1 {
		t.Errorf("%+v", h)
	}
	if total, expected := c.Goroutines(); total < 3 || expected != 1+2+runtimeGoroutines {
		t.Errorf("%d goroutines, expected %d", total, expected)
	}
	close(held)
	eventually(t, c, "the task's end", func(s ledger.Snapshot) bool { return owner(s, "agent/reader").Tasks == 0 })
	transport.CloseIdleConnections()
	eventually(t, c, "the end of the library's goroutines", func(s ledger.Snapshot) bool {
		return owner(s, "agent/reader").Count == 0 && s.Held[0].Count == 0
	})
}

func TestTheStackTellsWhatAGoroutineDoes(t *testing.T) {
	c := newCensus(t, nil)
	c.Tasks.Go("stuck", waitForever)
	s := eventually(t, c, "the goroutine", func(s ledger.Snapshot) bool {
		return strings.Contains(owner(s, "agent/stuck").Stack, "waitForever")
	})
	if o := owner(s, "agent/stuck"); o.Expected != 0 || o.Count != 1 {
		t.Errorf("%+v", o)
	}
}

func waitForever(ctx context.Context) { <-ctx.Done() }

func TestDescriptorsAreOfAKind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Fatal("the agent's tests run on Linux")
	}
	var logs ledger.Account
	c := newCensus(t, nil, Entry{Owner: "agent", Kind: LogFile, Account: &logs})
	before, err := c.Take()
	if err != nil {
		t.Fatal(err)
	}
	var open []*os.File
	for _, path := range []string{filepath.Join(c.DataDir, "positions"), filepath.Join(t.TempDir(), "app.log"), filepath.Join(t.TempDir(), "other")} {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open = append(open, f)
	}
	held := ledger.Open("", &logs, open[1])
	defer held.Close()
	after, err := c.Take()
	if err != nil {
		t.Fatal(err)
	}
	for kind, more := range map[string]int{"data_dir": 1, LogFile: 1, "file": 1} {
		if got := after.Descriptors.Kinds[kind] - before.Descriptors.Kinds[kind]; got != more {
			t.Errorf("%d more of %s, want %d", got, kind, more)
		}
	}
	sum := 0
	for _, n := range after.Descriptors.Kinds {
		sum += n
	}
	if sum != after.Descriptors.Total || after.Descriptors.Total != before.Descriptors.Total+3 || after.Descriptors.Limit == 0 {
		t.Errorf("%+v, before %+v", after.Descriptors, before.Descriptors)
	}
}

var kept [][]byte

func TestTheHeapsGrowthHasAPlace(t *testing.T) {
	defer func() { kept = nil }()
	c := newCensus(t, nil)
	for range 3 { // what a run before left is gone
		runtime.GC()
	}
	for range 64 {
		kept = append(kept, make([]byte, 1<<20))
	}
	runtime.GC()
	runtime.GC() // the profile is of the collection before the last
	s, err := c.Take()
	if err != nil {
		t.Fatal(err)
	}
	first := s.Heap.Sites[0]
	if !strings.Contains(first.Function, "TestTheHeapsGrowthHasAPlace") || first.Bytes < 60<<20 || first.Bytes > 70<<20 {
		t.Errorf("%+v", first)
	}
	if s.Heap.LiveBytes < 64<<20 || s.Heap.BatchBytes != 7 {
		t.Errorf("%+v", s.Heap)
	}
}

func BenchmarkTake(b *testing.B) {
	root := task.NewRoot(b.Context(), "agent", slog.New(slog.DiscardHandler))
	for range 100 {
		root.Go("stream", waitForever)
	}
	c := &Census{
		Tasks: root, Accounts: func() []Entry { return nil }, Expected: func() map[string]int { return nil },
		Component: func(string) string { return "" }, BatchBytes: func() int64 { return 0 },
		Components: func() []ledger.ComponentState { return nil },
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Take(); err != nil {
			b.Fatal(err)
		}
	}
	if err := root.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
