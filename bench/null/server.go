// Package null is the other end of the comparison: a server, in a process and on a core of
// its own, that speaks what agents send logs by, and does nothing with them but count. It
// knows each line by its source and number, so it says exactly what was lost, what came
// twice and what came out of order. It costs a small part of what the cheapest agent does.
package null

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"golang.org/x/sys/unix"
)

// Where agents push to; a bulk request is one to any path that ends in PathBulk.
const (
	PathLoki   = "/loki/api/v1/push"
	PathOTLP   = "/v1/logs"
	PathNDJSON = "/ndjson"
	PathBulk   = "/_bulk"
)

// What the client of this package asks.
const (
	pathReport   = "/null/report"
	pathArrivals = "/null/arrivals"
	pathDown     = "/null/down"
	pathUp       = "/null/up"
)

// handler answers agents and counts.
type handler struct {
	tally   *tally
	buffers sync.Pool // of *buffers
	down    atomic.Bool
}

type buffers struct{ body, plain bytes.Buffer }

// NewHandler returns one that has seen nothing.
func NewHandler() http.Handler {
	return &handler{tally: newTally(), buffers: sync.Pool{New: func() any { return new(buffers) }}}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		h.push(w, r)
		return
	}
	h.tally.mu.Lock()
	defer h.tally.mu.Unlock()
	var answer any = struct{}{} // to those who ask whether it is alive
	switch r.URL.Path {
	case pathReport:
		h.tally.report.CPU = processorTime()
		answer = h.tally.report
	case pathArrivals: // from now on, and of those before
		h.tally.arrivals = true
		all := map[string][]int64{}
		for id, s := range h.tally.sources {
			all[id] = s.at
		}
		answer = all
	case pathDown, pathUp:
		h.down.Store(r.URL.Path == pathDown)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// push counts the lines of a request. What it cannot read is refused for good, and told.
func (h *handler) push(w http.ResponseWriter, r *http.Request) {
	b := h.buffers.Get().(*buffers)
	defer h.buffers.Put(b)
	b.body.Reset()
	_, err := b.body.ReadFrom(r.Body)
	now := time.Now().UnixNano()
	if h.down.Load() {
		h.tally.mu.Lock()
		h.tally.report.Refused++
		h.tally.mu.Unlock()
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	var plain []byte
	if err == nil {
		plain, err = b.unpack(r)
	}
	count, status, answer := h.protocol(r)
	h.tally.mu.Lock()
	defer h.tally.mu.Unlock()
	h.tally.now = now
	h.tally.report.Requests++
	h.tally.report.Bytes += int64(b.body.Len())
	if err == nil {
		err = count(plain)
	}
	if err != nil {
		h.tally.report.Broken++
		h.tally.report.Error = r.URL.Path + ": " + err.Error()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// protocol returns what counts a request's lines, and what a request is answered with.
func (h *handler) protocol(r *http.Request) (count func([]byte) error, status int, answer string) {
	switch path := r.URL.Path; {
	case path == PathLoki && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return h.tally.lokiJSON, http.StatusNoContent, ""
	case path == PathLoki:
		return h.tally.loki, http.StatusNoContent, ""
	case path == PathOTLP:
		return h.tally.otlp, http.StatusOK, "{}"
	case strings.HasSuffix(path, PathBulk):
		return h.tally.bulk, http.StatusOK, `{"took":1,"errors":false,"items":[]}`
	case path == PathNDJSON:
		return h.tally.ndjson, http.StatusOK, "{}"
	}
	return func([]byte) error { return errors.New("nothing is served there") }, 0, ""
}

// framed is what a stream of snappy frames begins with; else snappy means one block.
var framed = []byte("\xff\x06\x00\x00sNaPpY")

// unpack returns the body, uncompressed. It is good until the buffers are used again.
func (b *buffers) unpack(r *http.Request) ([]byte, error) {
	body := b.body.Bytes()
	encoding := r.Header.Get("Content-Encoding")
	json := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	if encoding == "" && r.URL.Path == PathLoki && !json {
		encoding = "snappy" // Loki's protobuf always is
	}
	b.plain.Reset()
	switch {
	case encoding == "" || encoding == "identity":
		return body, nil
	case encoding == "gzip":
		unzip, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		_, err = b.plain.ReadFrom(unzip)
		return b.plain.Bytes(), err
	case encoding == "snappy" && bytes.HasPrefix(body, framed):
		_, err := b.plain.ReadFrom(s2.NewReader(bytes.NewReader(body)))
		return b.plain.Bytes(), err
	case encoding == "snappy":
		n, err := s2.DecodedLen(body)
		if err != nil {
			return nil, err
		}
		b.plain.Grow(n)
		return s2.Decode(b.plain.AvailableBuffer()[:n], body)
	}
	return nil, fmt.Errorf("content encoding %q is not known here", encoding)
}

// serve listens on a free port of this host, says on out where, and serves until in ends.
func serve(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	server := &http.Server{Handler: NewHandler(), ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func processorTime() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
