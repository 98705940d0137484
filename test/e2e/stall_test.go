//go:build scenarios

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logcapturer/log_capturer/test/harness"
)

// taker is a Loki that takes everything, unless it stalls, and keeps the lines: unlike the
// real one it shows what is sent twice.
type taker struct {
	url     string
	mu      sync.Mutex
	streams map[string][][]byte // labels to lines
	stalled chan struct{}       // closed at the end of the stall
}

func newTaker(t *testing.T) *taker {
	l := &taker{streams: map[string][][]byte{}, stalled: make(chan struct{})}
	close(l.stalled)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		packed, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		l.mu.Lock()
		stalled := l.stalled
		l.mu.Unlock()
		select {
		case <-stalled:
		case <-req.Context().Done():
			return
		}
		body, err := snappy.Decode(nil, packed)
		if err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		messages(t, body, 1, func(stream []byte) {
			var labels string
			messages(t, stream, 1, func(b []byte) { labels = string(b) })
			messages(t, stream, 2, func(entry []byte) {
				messages(t, entry, 2, func(line []byte) { l.streams[labels] = append(l.streams[labels], line) })
			})
		})
		w.WriteHeader(http.StatusNoContent)
	}))
	l.url = server.URL
	t.Cleanup(server.Close)
	return l
}

// messages calls fn with each value of a field that has a length.
func messages(t *testing.T, b []byte, field protowire.Number, fn func([]byte)) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Errorf("no protobuf: %v", protowire.ParseError(n))
			return
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			t.Errorf("no protobuf: %v", protowire.ParseError(size))
			return
		}
		if number == field && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b[n:])
			fn(value)
		}
		b = b[n+size:]
	}
}

func (l *taker) lines() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lines := range l.streams {
		n += int64(len(lines))
	}
	return n
}

// stall takes nothing until the returned function is called.
func (l *taker) stall() (end func()) {
	over := make(chan struct{})
	l.mu.Lock()
	l.stalled = over
	l.mu.Unlock()
	return func() { close(over) }
}

// R01: the only sink stalls for a minute below 4,000 lines/s and a log of twice 1 MB. Its
// file loses nothing; a stream nothing that the engine has not lost, and says so.
func TestTheSinkStallsForAMinute(t *testing.T) {
	const lines, rate, stall = 240_000, 4000, time.Minute
	for _, read := range []string{"file", "stream"} {
		t.Run(read, func(t *testing.T) {
			loki := newTaker(t)
			w := newWorld(t, harness.Engine(t), harness.OpenLoki(loki.url))
			w.startAgent("dispatcher: {memory: 4MiB}\n" + w.config(read, "", ""))
			w.ready()
			end := loki.stall()
			defer func() { end() }()
			began := time.Now()
			c := w.container(lines, harness.RunOptions{
				Args: []string{"-rate", fmt.Sprint(rate), "-size", "150"}, LogOpts: map[string]string{"max-size": "1m", "max-file": "2"},
			})
			c.Wait(t)
			if took := time.Since(began); took < stall-time.Second {
				t.Errorf("the container wrote for %v only", took)
			}
			held := w.agent.Metrics(t).Sum("log_capturer_container_held_files")
			end()
			end = func() {}
			var told float64
			harness.Eventually(t, 2*time.Minute, "all that is left", func() (bool, string) {
				told = w.agent.Metrics(t).Sum("lines_upstream_lost_total")
				n := loki.lines()
				return n >= lines || told > 0, fmt.Sprintf("%d lines, told of %.0f lost", n, told)
			})
			w.balanced()
			count := w.ledger.Count()
			loki.mu.Lock()
			for labels, all := range loki.streams {
				for _, line := range all {
					count.Add(labels, line)
				}
			}
			loki.mu.Unlock()
			report := count.Report()
			t.Logf("%.0f generations were held, told of %.0f lost\n%s", held, told, report)
			if report.Repeated.N+report.Damaged.N+report.OutOfOrder.N > 0 || report.Lost.N > 0 && (read == "file" || told == 0) {
				t.Error("not every line is there once")
			}
			if read == "file" && held < 20 {
				t.Errorf("%.0f generations were held; the stall was none", held)
			}
			w.removeContainers()
			var after census
			harness.Eventually(t, 30*time.Second, "what was held before", func() (bool, string) {
				var err error
				after, err = w.census()
				return err == nil && after.owned == w.before.owned && after.descriptors == w.before.descriptors, fmt.Sprintf("%+v, before %+v", after, w.before)
			})
			addResult(t, "R01: 4,000 lines/s, max-size=1m max-file=2, the sink stalls a minute", report, w.before, after)
		})
	}
}
