// Package docker is a thin adapter over the Engine API: the half dozen calls that
// the agent needs, with errors that can be told apart, and the decoder of log
// streams. It is the only package that imports the moby client.
//
// It owns the connections to the engine. Every call is bounded in time, except the
// bodies of log and event streams, which live until they are closed or their context
// ends. Open streams are counted, so that the ledger can account for the goroutines
// that the HTTP transport runs for them. Nothing is connected before the first call.
package docker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

const (
	// callTimeout bounds a call whose answer is small.
	callTimeout = 15 * time.Second
	// headerTimeout bounds the wait for the first byte of a stream's answer. The
	// engine sends it before it looks for the log's first record.
	headerTimeout = 30 * time.Second
	// readBuffer is the transport's, per connection, in bytes. It bounds what one read of
	// a log stream brings, so it is larger than the library's 4 KiB.
	readBuffer = 16 << 10
	// IdleConns bounds the connections that are kept for the next call.
	IdleConns = 2
	idleTime  = 30 * time.Second
)

// Client talks to one engine. It is safe for concurrent use.
type Client struct {
	host string
	opts []client.Opt

	turn chan struct{} // holds one token: who has it may replace engine

	mu      sync.Mutex
	engine  *client.Client // nil until the first negotiation
	version string         // API version that the daemon announced
	stale   bool           // the daemon may have been replaced: negotiate before the next call

	podman atomic.Bool // the last answer was Podman's

	// LogStreams and EventStreams are the open ones, Connections all of those to the engine.
	LogStreams, EventStreams, Connections ledger.Account
}

// New returns a client for an engine at host, such as unix:///var/run/docker.sock or
// tcp://10.0.0.1:2376. An empty host means DOCKER_HOST, else the default socket.
//
// DOCKER_API_VERSION, DOCKER_CERT_PATH and DOCKER_TLS_VERIFY are honoured as by the
// docker command. They are read here and not in cmd, because the moby client is the
// one that knows what they mean. A host ssh://… is refused.
func New(host string) (*Client, error) { return newClient(host, nil) }

// NewWithDial returns a client whose connections are made by dial, for tests. host is an
// address as New takes it, for example tcp://fake:2375; the environment's is not looked at.
func NewWithDial(host string, dial Dial) (*Client, error) {
	return newClient(cmp.Or(host, client.DefaultDockerHost), dial)
}

// Dial connects to the engine.
type Dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialEngine is the Dial of an engine's address.
func dialEngine(host string) Dial {
	var dialer net.Dialer
	path, unix := strings.CutPrefix(host, "unix://")
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if unix {
			network, addr = "unix", path
		}
		return dialer.DialContext(ctx, network, addr)
	}
}

func newClient(host string, dial Dial) (*Client, error) {
	base := &http.Client{
		CheckRedirect: client.CheckRedirect,
		Transport: &http.Transport{
			ReadBufferSize:      readBuffer,
			MaxIdleConns:        IdleConns,
			MaxIdleConnsPerHost: IdleConns,
			IdleConnTimeout:     idleTime,
			// No HTTP/2: preparing it, a copy of the transport gets a TLS configuration, which
			// the moby client takes for a reason to speak TLS.
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		},
	}
	c := &Client{turn: make(chan struct{}, 1)}
	c.opts = []client.Opt{
		client.WithHTTPClient(base),
		client.WithTLSClientConfigFromEnv(),
		client.WithHost(cmp.Or(host, client.DefaultDockerHost)),
		client.WithAPIVersionFromEnv(),
		client.WithUserAgent("log_capturer"),
		client.WithHTTPResponseHook(func(r *http.Response) { c.answered(r.Header.Get("Server")) }),
	}
	if host == "" {
		c.opts = append(c.opts, client.WithHostFromEnv())
	}
	probe, err := client.New(c.opts...)
	if err != nil {
		return nil, fmt.Errorf("docker host %q: %w; write it as unix:///path/to/docker.sock or tcp://host:port, and check DOCKER_CERT_PATH", host, err)
	}
	c.host = probe.DaemonHost()
	if err := CheckHost(c.host); err != nil {
		return nil, fmt.Errorf("docker host: %w", err)
	}
	if dial == nil {
		dial = dialEngine(c.host)
	}
	c.opts = append(c.opts, client.WithDialContext(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return ledger.Conn(ctx, &c.Connections, conn), nil
	}))
	if strings.HasPrefix(c.host, "https://") { // without certificates of its own the moby client speaks plain HTTP even then
		c.opts = append(c.opts, client.WithScheme("https"))
	}
	c.turn <- struct{}{}
	return c, nil
}

// CheckHost reports what is wrong with the address of an engine.
func CheckHost(host string) error {
	scheme, rest, found := strings.Cut(host, "://")
	switch {
	case scheme == "ssh" && found:
		return fmt.Errorf("%q goes through SSH, which is not supported; let ssh forward the socket (ssh -nNT -L /run/remote.sock:/var/run/docker.sock user@host) and write unix:///run/remote.sock, or let the engine listen with TLS and write tcp://host:2376", host)
	case !found || rest == "" || !slices.Contains([]string{"unix", "tcp", "http", "https"}, scheme):
		return fmt.Errorf("%q is no address of a Docker engine; write unix:///path, tcp://host:port, http://… or https://…", host)
	}
	return nil
}

// Host returns the address of the engine, for example unix:///var/run/docker.sock.
func (c *Client) Host() string { return c.host }

// Podman tells whether the engine that answered last is Podman, which has the same API
// with differences (podman.go). It is false before the first answer.
func (c *Client) Podman() bool { return c.podman.Load() }

// answered notes what an engine calls itself; a proxy's refusal may name nobody.
func (c *Client) answered(server string) {
	if server != "" {
		c.podman.Store(strings.HasPrefix(server, podmanServer))
	}
}

// OpenStreams returns the number of log and event streams that are open. Each of
// them holds one descriptor and two goroutines of the HTTP transport.
func (c *Client) OpenStreams() int64 { return c.LogStreams.Load() + c.EventStreams.Load() }

// StreamGoroutines returns the goroutines that belong to the open streams: two each,
// and a third one, of the moby client, for an event stream.
func (c *Client) StreamGoroutines() int64 { return 2*c.LogStreams.Load() + 3*c.EventStreams.Load() }

// Close closes the connections that are idle. Streams are closed by who opened them.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.engine != nil {
		_ = c.engine.Close() // it has no error to give
		c.engine, c.version = nil, ""
	}
}

// Ping asks whether the engine is there, negotiates the API version with it, and
// returns the version that it announces.
func (c *Client) Ping(ctx context.Context) (string, error) {
	if _, err := c.negotiate(ctx, true); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version, nil
}

// negotiated returns a client that speaks the daemon's API version.
func (c *Client) negotiated(ctx context.Context) (*client.Client, error) {
	c.mu.Lock()
	engine, stale := c.engine, c.stale
	c.mu.Unlock()
	if engine != nil && !stale {
		return engine, nil
	}
	return c.negotiate(ctx, false)
}

// negotiate asks a daemon for its version with a fresh client, because a moby client
// negotiates once and later only downwards. The client in use is replaced if the
// daemon's version is another one than before.
func (c *Client) negotiate(ctx context.Context, force bool) (*client.Client, error) {
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	engine, stale := c.engine, c.stale
	c.mu.Unlock()
	if engine != nil && !stale && !force {
		return engine, nil // somebody else did it meanwhile
	}
	fresh, err := client.New(c.opts...)
	if err != nil {
		return nil, fmt.Errorf("docker host %s: %w", c.host, err)
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ping, err := fresh.Ping(bounded, client.PingOptions{NegotiateAPIVersion: true})
	if err != nil {
		_ = fresh.Close()
		return nil, c.failed(ctx, "ping", "", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = false
	if c.engine != nil && c.version == ping.APIVersion {
		_ = fresh.Close()
		return c.engine, nil
	}
	if c.engine != nil {
		_ = c.engine.Close()
	}
	c.engine, c.version = fresh, ping.APIVersion
	return fresh, nil
}

// suspect makes the next call negotiate again.
func (c *Client) suspect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = true
}

// errSlow is why a call was given up that did not answer in time.
var errSlow = errors.New("no answer in time")
