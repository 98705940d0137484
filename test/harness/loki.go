package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	lokiReady = 5 * time.Minute // one that was killed has its log to replay first
	lokiStop  = 30 * time.Second
)

// LokiOptions are for a private Loki.
type LokiOptions struct {
	// Config is YAML that is added to the configuration, for example a
	// limits_config. Without it Loki has the limits that users have.
	Config string
}

// LokiServer is a Loki. A private one can be stopped and started; it keeps its data
// and its ports.
type LokiServer struct {
	// URL is its address, "http://127.0.0.1:PORT", without a slash at its end.
	URL  string
	http *http.Client
	dir  string // empty when it was running already
	base string // of its configuration
	bin  string
	proc *process
}

// Loki returns the Loki that the tests of this binary share: LOKI_URL, else a
// private one. Tests keep apart by a label of their own.
func Loki(t testing.TB) *LokiServer {
	t.Helper()
	parts.mu.Lock()
	defer parts.mu.Unlock()
	if parts.loki == nil && parts.lokiErr == nil {
		parts.loki, parts.lokiErr = findLoki(t.Context())
	}
	if parts.lokiErr != nil {
		t.Fatal(parts.lokiErr)
	}
	l := parts.loki
	t.Cleanup(func() { l.showLog(t) })
	return l
}

// LokiURL returns the address of Loki.
func LokiURL(t testing.TB) string {
	t.Helper()
	return Loki(t).URL
}

// PrivateLoki starts a Loki for this test alone; it is gone when the test ends.
func PrivateLoki(t testing.TB, o LokiOptions) *LokiServer {
	t.Helper()
	l, err := startLoki(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.showLog(t)
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func findLoki(ctx context.Context) (*LokiServer, error) {
	url := strings.TrimRight(os.Getenv("LOKI_URL"), "/")
	if url == "" {
		return startLoki(ctx, LokiOptions{})
	}
	l := newLoki(url)
	if err := poll(lokiReady, func() (bool, string) { return l.ready(ctx) }); err != nil {
		return nil, fmt.Errorf("the Loki of LOKI_URL (%s) is not ready: %w", url, err)
	}
	return l, nil
}

// OpenLoki returns a client of the Loki at url, for callers without a test.
func OpenLoki(url string) *LokiServer { return newLoki(strings.TrimRight(url, "/")) }

func newLoki(url string) *LokiServer {
	// No idle connections: their goroutines would be taken for leaks of the tests.
	return &LokiServer{URL: url, http: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

func startLoki(ctx context.Context, o LokiOptions) (*LokiServer, error) {
	bin, err := lokiBinary(ctx)
	if err != nil {
		return nil, err
	}
	web, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	grpc, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lc-loki-")
	if err != nil {
		return nil, err
	}
	l := newLoki("http://" + web)
	l.dir, l.bin, l.base = dir, bin, lokiConfig(dir, web, grpc)
	if err = os.WriteFile(l.config(), []byte(l.base+o.Config), 0o600); err == nil {
		err = l.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return l, nil
}

// lokiConfig is a single Loki on files. What differs from Loki's defaults only
// makes it ready in one second rather than fifteen.
func lokiConfig(dir, web, grpc string) string {
	_, webPort, _ := net.SplitHostPort(web)
	_, grpcPort, _ := net.SplitHostPort(grpc)
	return strings.NewReplacer("DIR", dir, "WEBPORT", webPort, "GRPCPORT", grpcPort).Replace(`auth_enabled: false
server: {http_listen_address: 127.0.0.1, http_listen_port: WEBPORT, grpc_listen_address: 127.0.0.1, grpc_listen_port: GRPCPORT, log_level: warn}
common:
  instance_addr: 127.0.0.1
  path_prefix: DIR
  storage: {filesystem: {chunks_directory: DIR/chunks, rules_directory: DIR/rules}}
  replication_factor: 1
  ring: {kvstore: {store: inmemory}}
schema_config:
  configs: [{from: 2020-10-24, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}]
analytics: {reporting_enabled: false}
ingester: {lifecycler: {min_ready_duration: 0s, join_after: 0s, final_sleep: 0s}}
query_scheduler: {use_scheduler_ring: false}
frontend: {scheduler_address: "127.0.0.1:GRPCPORT", scheduler_dns_lookup_period: 500ms}
frontend_worker: {scheduler_address: "127.0.0.1:GRPCPORT", dns_lookup_duration: 500ms}
`)
}

func (l *LokiServer) config() string { return filepath.Join(l.dir, "config.yaml") }
func (l *LokiServer) log() string    { return filepath.Join(l.dir, "log") }

func (l *LokiServer) start(ctx context.Context) error {
	p, err := startProcess("loki", l.log(), syscall.SIGKILL, l.bin, "-config.file="+l.config())
	if err != nil {
		return err
	}
	l.proc = p
	err = poll(lokiReady, func() (bool, string) {
		ok, state := l.ready(ctx)
		return ok || p.ended() || ctx.Err() != nil, state
	})
	if err == nil && p.ended() {
		err = errors.New("it ended")
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return fmt.Errorf("start loki: %w; the end of its log:\n%s", errors.Join(err, p.kill()), tail(l.log(), 15))
	}
	return nil
}

func (l *LokiServer) ready(ctx context.Context) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	body, err := l.get(ctx, "/ready", nil)
	if err != nil {
		return false, err.Error()
	}
	return true, string(body)
}

// Ready tells, by its error, whether it answers and is ready.
func (l *LokiServer) Ready(ctx context.Context) error {
	if ok, state := l.ready(ctx); !ok {
		return errors.New(state)
	}
	return nil
}

func (l *LokiServer) close() error {
	if l.dir == "" {
		return nil
	}
	var err error
	if !l.proc.ended() {
		err = l.proc.kill() // its data goes with it
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// Stop ends a private Loki by SIGTERM.
func (l *LokiServer) Stop(t testing.TB) {
	t.Helper()
	if err := l.own(t).proc.stop(lokiStop); err != nil {
		t.Fatal(err)
	}
}

// Kill ends a private Loki by SIGKILL.
func (l *LokiServer) Kill(t testing.TB) {
	t.Helper()
	if err := l.own(t).proc.kill(); err != nil {
		t.Fatal(err)
	}
}

// Start starts a stopped or killed Loki on the same ports, and waits until it is ready.
func (l *LokiServer) Start(t testing.TB) {
	t.Helper()
	if err := l.own(t).start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Restart stops and starts a private Loki.
func (l *LokiServer) Restart(t testing.TB) {
	t.Helper()
	l.Stop(t)
	l.Start(t)
}

// Reconfigure restarts a private Loki with other options.
func (l *LokiServer) Reconfigure(t testing.TB, o LokiOptions) {
	t.Helper()
	l.Stop(t)
	if err := os.WriteFile(l.config(), []byte(l.base+o.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Start(t)
}

func (l *LokiServer) own(t testing.TB) *LokiServer {
	t.Helper()
	if l.dir == "" {
		t.Fatal("this Loki is LOKI_URL's: use PrivateLoki to stop one")
	}
	return l
}

func (l *LokiServer) showLog(t testing.TB) {
	if t.Failed() && l.dir != "" {
		t.Logf("the end of Loki's log:\n%s", tail(l.log(), 20))
	}
}
