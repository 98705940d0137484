package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/logcapturer/log_capturer/internal/health"
)

func get(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
	return w.Code, w.Body.String()
}

func TestRoutes(t *testing.T) {
	board, ready := &health.Board{}, false
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "a_counter"}))
	h := Handler(Routes{Registry: registry, Health: board.Report, Ready: func() bool { return ready }, Containers: someContainers})

	for _, step := range []struct {
		name         string
		before       func()
		method, path string
		code         int
		body         string
	}{
		{"metrics", func() {}, "GET", "/metrics", 200, "a_counter 0"},
		{"index", func() {}, "GET", "/", 200, "The agent is running"},
		{"healthy", func() { board.Set("a", health.Healthy, "") }, "GET", "/health", 200, `"status":"healthy"`},
		{"degraded is no reason to restart", func() { board.Set("a", health.Degraded, "why") }, "GET", "/health", 200, `"reason":"why"`},
		{"unhealthy", func() { board.Set("a", health.Unhealthy, "") }, "GET", "/health", 503, `"status":"unhealthy"`},
		{"not ready", func() {}, "GET", "/ready", 503, `{"ready":false}`},
		{"ready", func() { ready = true }, "GET", "/ready", 200, `{"ready":true}`},
		{"nothing else", func() {}, "GET", "/debug/pprof/", 404, ""},
		{"nothing is changed", func() {}, "POST", "/health", 405, ""},
		{"the index links to the API", func() {}, "GET", "/", 200, `<a href="/api/v1/containers">`},
		{"an unknown path of the API", func() {}, "GET", "/api/v2/containers", 404, `{"error":"there is no /api/v2/containers; /api/v1/openapi.yaml describes what there is"}`},
		{"below a path of the API", func() {}, "GET", "/api/v1/containers/web", 404, `{"error":`},
		{"the API is read only", func() {}, "DELETE", "/api/v1/containers", 405, `{"error":"/api/v1/containers is read only; use GET"}`},
		{"a glob that is none", func() {}, "GET", "/api/v1/containers?name=[", 400, `{"error":"name: \"[\" is no glob;`},
	} {
		t.Run(step.name, func(t *testing.T) {
			step.before()
			code, body := get(t, h, step.method, step.path)
			if code != step.code || !strings.Contains(body, step.body) {
				t.Errorf("%s %s: %d %.200s, want %d with %q", step.method, step.path, code, body, step.code, step.body)
			}
		})
	}
}

func TestProfilesAreServed(t *testing.T) {
	if code, body := get(t, Pprof(), "GET", "/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("%d %.100s", code, body)
	}
}

func TestAServerEndsWithItsContext(t *testing.T) {
	s, err := Listen("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "here" {
		t.Errorf("got %q, %v", body, err)
	}
	_ = res.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnAddressInUseIsAClearError(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s, err := Listen("127.0.0.1:0", http.NotFoundHandler(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = Listen(s.Addr(), http.NotFoundHandler(), log)
	if err == nil || !strings.Contains(err.Error(), s.Addr()) || !strings.Contains(err.Error(), "server.listen") {
		t.Errorf("got %v, want the address and the key to change", err)
	}
}
