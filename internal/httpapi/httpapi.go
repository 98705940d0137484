// Package httpapi serves what the agent tells about itself: metrics, health, how each
// container is read, dead letters and, on a listener of its own, profiles. What gives log
// text or changes something answers this host alone, and no web site. openapi.yaml
// describes every route.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// Server is one HTTP listener.
type Server struct {
	listener net.Listener
	http     *http.Server
	// Connections are those that others made to it.
	Connections ledger.Account
}

// Listen opens addr, so that a wrong address fails at start, and serves nothing yet.
func Listen(addr string, handler http.Handler, log *slog.Logger) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; set server.listen (or server.pprof) to a free address", addr, err)
	}
	s := &Server{listener: l}
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// counted is a listener whose connections an account knows of.
type counted struct {
	net.Listener
	account *ledger.Account
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return ledger.Conn(context.Background(), l.account, c), nil
}

// Addr returns the address that is listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends, then gives running requests a second to end.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.http.Shutdown(grace) != nil {
			_ = s.http.Close()
		}
	})
	err := s.http.Serve(counted{s.listener, &s.Connections})
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", s.Addr(), err)
}

// Close frees a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// index is a page for people who open the address in a browser.
func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write([]byte(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>log_capturer</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem;color:#1f2933}
a{color:#0b6e4f;font-weight:600}li{margin:.3rem 0}@media(prefers-color-scheme:dark){body{background:#14181d;color:#d7dee6}a{color:#5fd3a8}}</style>
<h1>log_capturer</h1><p>The agent is running.</p>
<ul><li><a href="/health">/health</a>: every component, its state and why</li>
<li><a href="/ready">/ready</a>: whether it has started whole</li>
<li><a href="/api/v1/containers">/api/v1/containers</a>: how each container is read, and why</li>
<li><a href="/api/v1/deadletters">/api/v1/deadletters</a>: what a sink refused for good, and why</li>
<li><a href="/api/v1/resources">/api/v1/resources</a>: what the agent holds, and who of it</li>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/api/v1/openapi.yaml">/api/v1/openapi.yaml</a>: describes all of this for programs</li></ul></html>
`))
}

// Pprof returns the routes of server.pprof.
func Pprof() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
