// Package httpsink is what sinks that speak HTTP share: a client for one endpoint
// with authentication and TLS, whose answers are bounded, and Retry-After.
//
// A Client owns at most one idle connection (net/http keeps two goroutines for an
// open one) and frees it in Close. It believes nothing that the other side says: a
// body is read up to MaxBody and within the timeout, redirects are not followed,
// because credentials would go along, and compressed answers are not asked for.
package httpsink

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// MaxBody is how much of an answer is read, in bytes; the rest is not waited for.
const MaxBody = 64 << 10

// MaxRetryAfter caps how long the other side can make a sink wait.
const MaxRetryAfter = 5 * time.Minute

const idleTimeout = 90 * time.Second

// Options are a Client's settings.
type Options struct {
	Auth      Auth
	TLS       TLS
	Timeout   time.Duration // for one exchange, from the connection to the answer's last byte
	UserAgent string
}

// Client posts to one endpoint. One call at a time.
type Client struct {
	url       string
	shown     string
	opts      Options
	http      *http.Client
	transport *http.Transport
	life      context.Context
	end       context.CancelFunc

	connections ledger.Account
}

// Connections are those that are open.
func (c *Client) Connections() *ledger.Account { return &c.connections }

// Answer is what the other side said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxBody bytes
	Cut    bool   // there was more
}

// New returns a client for the endpoint. It opens no connection, but reads all files
// of the settings once, so that a wrong path is an error now.
func New(endpoint *url.URL, opts Options) (*Client, error) {
	if _, err := opts.Auth.header(); err != nil {
		return nil, err
	}
	if _, err := opts.TLS.load(endpoint.Hostname()); err != nil {
		return nil, err
	}
	c := &Client{url: endpoint.String(), shown: Shown(endpoint), opts: opts}
	c.life, c.end = context.WithCancel(context.Background())
	c.transport = &http.Transport{
		DialContext:            c.dial,
		DialTLSContext:         c.dialTLS,
		MaxIdleConns:           1,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: MaxBody,
		WriteBufferSize:        32 << 10,
	}
	c.http = &http.Client{
		Transport:     c.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Shown returns a URL for people: without user, password, query and fragment.
func Shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// URL returns the endpoint as it may be shown.
func (c *Client) URL() string { return c.shown }

// Post sends body and returns the answer, whatever its status. An error means that
// there is no whole answer; it carries no credentials. Headers are those besides
// Authorization and User-Agent. What it sends may arrive twice: on a connection that
// the other side has just closed net/http tries once more.
func (c *Client) Post(caller context.Context, header http.Header, body []byte) (*Answer, error) {
	ctx, cancel := context.WithTimeout(caller, c.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, c.failed(caller, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	// Not sent: an empty list tells net/http that sending twice is harmless.
	req.Header["X-Idempotency-Key"] = nil
	req.Header.Set("User-Agent", c.opts.UserAgent)
	authorization, err := c.opts.Auth.header()
	if err != nil {
		return nil, c.failed(caller, err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(caller, err)
	}
	defer resp.Body.Close()
	answer := &Answer{Status: resp.StatusCode, Header: resp.Header}
	answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil && answer.Status/100 == 2 {
		// The status is the answer; whether its text came whole does not matter.
		err = nil
	}
	if err != nil {
		return nil, c.failed(caller, fmt.Errorf("read the answer (%s): %w", resp.Status, err))
	}
	if len(answer.Body) > MaxBody {
		answer.Body, answer.Cut = answer.Body[:MaxBody], true
	}
	return answer, nil
}

// failed names the operation and takes the URL with its secrets out of net/http's error.
func (c *Client) failed(caller context.Context, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) && caller.Err() == nil {
		return fmt.Errorf("POST %s: no answer within %s (timeout): %w", c.shown, c.opts.Timeout, err)
	}
	return fmt.Errorf("POST %s: %w", c.shown, err)
}

// Close ends open and half-open connections.
func (c *Client) Close() {
	c.end()
	c.transport.CloseIdleConnections()
}

// dial connects; it ends with Close even where net/http goes on dialling for a
// request that has been given up.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	dialer := net.Dialer{Timeout: c.opts.Timeout, KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return ledger.Conn(ctx, &c.connections, conn), nil
}

func (c *Client) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cfg, err := c.opts.TLS.load(host)
	if err != nil {
		return nil, err
	}
	raw, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS: %w; check the tls settings (ca_file, server_name, cert_file)", err)
	}
	return conn, nil
}

// RetryAfter returns how long the other side asks to wait, as seconds or as a date;
// 0 when it does not ask, never more than MaxRetryAfter.
func (a *Answer) RetryAfter(now time.Time) time.Duration {
	text := strings.TrimSpace(a.Header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(MaxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// IsPage tells whether the answer is a web page: the words of a proxy or of some
// other server, not of an API.
func (a *Answer) IsPage() bool {
	return strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") ||
		bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("<"))
}

// Words returns the answer's text on one line, valid UTF-8 without control
// characters, at most limit bytes.
func (a *Answer) Words(limit int) string { return Words(a.Body, limit) }

// Words returns text on one line as Answer.Words does.
func Words(text []byte, limit int) string {
	if len(text) > 4*limit {
		text = text[:4*limit]
	}
	line := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(string(text), "\uFFFD"), func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0x9f
	}), " ")
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit-len("…")], "") + "…"
	}
	return line
}

func basic(username, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
}
