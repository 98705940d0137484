package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

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

// check counts everything against a ledger.
func (l *taker) check(ledger *harness.Ledger) *harness.Report {
	count := ledger.Count()
	l.mu.Lock()
	defer l.mu.Unlock()
	for labels, all := range l.streams {
		for _, line := range all {
			count.Add(labels, line)
		}
	}
	return count.Report()
}
