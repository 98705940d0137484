package loki

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"

	"github.com/logcapturer/log_capturer/internal/sink/sinktest"
)

// gate stands before a Loki and can fail, hang, or lose a reply.
type gate struct {
	*httptest.Server
	target string
	client *http.Client
	mu     sync.Mutex
	mode   string
	hung   chan struct{}
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	g := &gate{target: target, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *gate) set(mode string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mode == "hang" {
		close(g.hung)
	}
	g.mode, g.hung = mode, make(chan struct{})
}

func (g *gate) fail(testing.TB) (heal func())    { g.set("fail"); return func() { g.set("") } }
func (g *gate) hang(testing.TB) (release func()) { g.set("hang"); return func() { g.set("") } }
func (g *gate) loseReply(testing.TB)             { g.set("lose") }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g.mu.Lock()
	mode, hung := g.mode, g.hung
	g.mu.Unlock()
	switch mode {
	case "fail":
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case "hang":
		select {
		case <-hung:
		case <-r.Context().Done():
		}
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, g.target+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header = r.Header
	resp, err := g.client.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	if mode == "lose" {
		g.set("")
		w.WriteHeader(http.StatusGatewayTimeout)
		return
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

var labelPair = regexp.MustCompile(`(\w+)="(\w[^"]*)"`)

func TestSuite(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Once: true,
		New: func(t testing.TB) sinktest.Instance {
			s := newServer(t, ok)
			g := newGate(t, s.URL)
			return sinktest.Instance{
				Sink: open(t, g.URL, nil), Break: g.fail, LoseReply: g.loseReply, Hang: g.hang,
				Received: func(testing.TB) (out []sinktest.Entry) {
					s.mu.Lock()
					defer s.mu.Unlock()
					for labels, entries := range s.stored {
						by := map[string]string{}
						for _, m := range labelPair.FindAllStringSubmatch(labels, -1) {
							by[m[1]] = m[2]
						}
						for _, e := range entries {
							out = append(out, sinktest.Entry{Source: by[sinktest.LabelSource], Output: by[sinktest.LabelOutput], Time: e.time, Line: []byte(e.line)})
						}
					}
					return out
				},
			}
		},
	})
}
