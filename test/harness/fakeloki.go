package harness

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
)

// FakeLoki plays Loki's push API: it keeps what it is sent, ignores what it has already,
// and refuses lines that are longer than it allows, in Loki's words. It is for faults
// that a real one cannot be brought to.
type FakeLoki struct {
	URL string

	mu      sync.Mutex
	maxLine int
	down    bool
	pushes  int
	onPush  func(n int)
	streams map[string]*Stream
}

// NewFakeLoki starts one; it ends with the test.
func NewFakeLoki(t testing.TB, maxLine int) *FakeLoki {
	t.Helper()
	f := &FakeLoki{maxLine: maxLine, streams: map[string]*Stream{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// Set changes the longest line that is taken, in bytes, and whether it answers with 503.
func (f *FakeLoki) Set(maxLine int, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.maxLine, f.down = maxLine, down
}

// OnPush sets what is called with the number of each push, before it is answered.
func (f *FakeLoki) OnPush(fn func(n int)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pushes, f.onPush = 0, fn
}

// Streams returns what is stored, in the order of arrival within a stream; the key of
// Labels is "".
func (f *FakeLoki) Streams() (out []Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		out = append(out, Stream{Labels: s.Labels, Entries: slices.Clone(s.Entries)})
	}
	return out
}

// ServeHTTP answers POST /loki/api/v1/push.
func (f *FakeLoki) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = s2.Decode(nil, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	f.mu.Lock()
	f.pushes++
	n, onPush := f.pushes, f.onPush
	f.mu.Unlock()
	if onPush != nil {
		onPush(n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	var refused []string
	protobuf(body, func(_ int, _ uint64, stream []byte) { refused = append(refused, f.push(stream)...) })
	switch len(refused) {
	case 0:
		w.WriteHeader(http.StatusNoContent)
	case 1:
		http.Error(w, refused[0], http.StatusBadRequest)
	default:
		http.Error(w, fmt.Sprintf("%d errors like: %s", len(refused), refused[0]), http.StatusBadRequest)
	}
}

// push stores what may be stored of a stream, and returns what Loki says of the rest.
func (f *FakeLoki) push(b []byte) (refused []string) {
	var s *Stream
	key := ""
	protobuf(b, func(field int, _ uint64, data []byte) {
		if field == 1 {
			key = string(data)
			if f.streams[key] == nil {
				f.streams[key] = &Stream{Labels: map[string]string{"": key}}
			}
			s = f.streams[key]
			return
		}
		e := pushedEntry(data)
		have := func(o Entry) bool { return o.Time == e.Time && o.Line == e.Line }
		switch {
		case len(e.Line) > f.maxLine:
			refused = append(refused, fmt.Sprintf("max entry size '%d' bytes exceeded for stream '%s' while adding an entry with length '%d' bytes", f.maxLine, key, len(e.Line)))
		case !slices.ContainsFunc(s.Entries, have):
			s.Entries = append(s.Entries, e)
		}
	})
	return refused
}

// pushedEntry reads an entry of a push. Like all that reads here it trusts its input.
func pushedEntry(b []byte) Entry {
	e := Entry{Metadata: map[string]string{}}
	protobuf(b, func(field int, _ uint64, data []byte) {
		switch field {
		case 1:
			protobuf(data, func(field int, v uint64, _ []byte) {
				e.Time += map[int]int64{1: int64(v) * 1e9, 2: int64(v)}[field]
			})
		case 2:
			e.Line = string(data)
		case 3:
			var pair [3]string
			protobuf(data, func(field int, _ uint64, data []byte) { pair[field] = string(data) })
			e.Metadata[pair[1]] = pair[2]
		}
	})
	return e
}

// protobuf calls fn with the fields of a message: numbers and bytes.
func protobuf(b []byte, fn func(field int, number uint64, data []byte)) {
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
