package loki

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/logcapturer/log_capturer/internal/record"
)

// pushed is a request as a server takes it apart.
type pushed struct {
	header  http.Header
	size    int // decompressed
	streams []pushedStream
}

type pushedStream struct {
	labels  string
	entries []pushedEntry
}

type pushedEntry struct {
	time     int64
	line     string
	metadata map[string]string
}

// lines returns the request's lines, one string for each.
func (p pushed) lines() (out []string) {
	for _, s := range p.streams {
		for _, e := range s.entries {
			out = append(out, e.line)
		}
	}
	return out
}

// server plays Loki: it decodes what it gets, and answers by the script.
type server struct {
	*httptest.Server
	opened   atomic.Int32 // connections
	mu       sync.Mutex
	script   func(w http.ResponseWriter, p pushed) // writes the answer; 2xx means stored
	requests []pushed
	stored   map[string][]pushedEntry // by labels; an entry that is there already is ignored
}

func newServer(t testing.TB, script func(w http.ResponseWriter, p pushed)) *server {
	t.Helper()
	s := &server{script: script, stored: map[string][]pushedEntry{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// answer is a script that always says the same.
func answer(status int, body string, header ...string) func(http.ResponseWriter, pushed) {
	return func(w http.ResponseWriter, _ pushed) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func ok(w http.ResponseWriter, _ pushed) { w.WriteHeader(http.StatusNoContent) }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = s2.Decode(nil, body)
	}
	if err != nil {
		http.Error(w, "the test's server cannot read this: "+err.Error(), http.StatusTeapot)
		return
	}
	p := pushed{header: r.Header, size: len(body), streams: decode(body)}
	rec := &recorder{ResponseWriter: w}
	s.mu.Lock()
	script := s.script
	s.requests = append(s.requests, p)
	s.mu.Unlock()
	script(rec, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.status/100 == 2 {
		s.store(p, func(pushedEntry) bool { return true })
	}
}

// store keeps the entries that are allowed.
func (s *server) store(p pushed, allowed func(pushedEntry) bool) {
	for _, st := range p.streams {
		for _, e := range st.entries {
			have := func(o pushedEntry) bool { return o.time == e.time && o.line == e.line }
			if allowed(e) && !slices.ContainsFunc(s.stored[st.labels], have) {
				s.stored[st.labels] = append(s.stored[st.labels], e)
			}
		}
	}
}

func (s *server) set(script func(http.ResponseWriter, pushed)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// take returns the requests since the last call.
func (s *server) take() []pushed {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

// count returns how many entries are stored in all.
func (s *server) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, entries := range s.stored {
		n += len(entries)
	}
	return n
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// decode reads a push request. It trusts its input: internal/wire has the strict reader.
func decode(b []byte) (out []pushedStream) {
	each(b, func(_ int, _ uint64, data []byte) {
		var s pushedStream
		each(data, func(field int, _ uint64, data []byte) {
			if field == 1 {
				s.labels = string(data)
				return
			}
			e := pushedEntry{metadata: map[string]string{}}
			each(data, func(field int, _ uint64, data []byte) {
				switch field {
				case 1:
					each(data, func(field int, v uint64, _ []byte) {
						if field == 1 {
							v *= 1e9
						}
						e.time += int64(v)
					})
				case 2:
					e.line = string(data)
				case 3:
					var pair [3]string
					each(data, func(field int, _ uint64, data []byte) { pair[field] = string(data) })
					e.metadata[pair[1]] = pair[2]
				}
			})
			s.entries = append(s.entries, e)
		})
		out = append(out, s)
	})
	return out
}

func each(b []byte, fn func(field int, number uint64, data []byte)) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		v, m := binary.Uvarint(b[n:])
		b = b[n+m:]
		if tag&7 == 0 {
			fn(int(tag>>3), v, nil)
			continue
		}
		fn(int(tag>>3), 0, b[:v])
		b = b[v:]
	}
}

// lines returns a batch of n lines of about size bytes.
func lines(src *record.Source, n, size int) *record.Batch {
	b := &record.Batch{Source: src}
	for i := range n {
		b.Append(int64(1e18)+int64(i), record.Stdout, fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", size)))
	}
	return b
}

func views(batches ...*record.Batch) (out []record.View) {
	for _, b := range batches {
		out = append(out, record.Whole(b))
	}
	return out
}
