package leak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
	"github.com/logcapturer/log_capturer/internal/units"
)

const (
	// hookTimeout bounds how long the watch can be held up; it is less than an interval.
	hookTimeout = 5 * time.Second
	// hookPause is the least time between two attempts, in minutes.
	hookPause = 1
	// hookAttempts is after how many a change is given up.
	hookAttempts = 5
)

// Message is what the webhook is told of a change: the body of the POST, as JSON.
type Message struct {
	Agent     string        `json:"agent"`
	Host      string        `json:"host"`
	Version   string        `json:"version"`
	Status    health.Status `json:"status"`
	Reason    string        `json:"reason"`
	Owner     string        `json:"owner"`
	Component string        `json:"component"`
	Since     time.Time     `json:"since,omitzero"`
	Bundle    string        `json:"bundle"`
}

func (w *Watch) message(v Verdict) Message {
	return Message{
		Agent: w.Agent, Host: w.Host, Version: w.Version, Status: v.Status, Reason: v.Reason,
		Owner: v.Owner, Component: v.Component, Since: v.Since, Bundle: v.Bundle,
	}
}

// webhook tells the newest change to somebody. What it says of the URL is nothing: the
// whole of it may be a secret.
type webhook struct {
	log      *slog.Logger
	pending  *Message
	attempts int
	tried    bool
	next     float64 // before which minute of the watch's clock nothing is sent
}

// change has m told instead of what was not told yet.
func (h *webhook) change(m Message) { h.pending, h.attempts = &m, 0 }

// try makes one attempt where one is due.
func (h *webhook) try(ctx context.Context, at float64, target units.Secret) {
	if target.IsZero() {
		h.pending = nil
		return
	}
	if h.pending == nil || h.tried && at < h.next {
		return
	}
	h.tried, h.next = true, at+hookPause
	err := post(ctx, target.Reveal(), h.pending)
	if err == nil {
		h.pending = nil
		return
	}
	if h.attempts++; h.attempts >= hookAttempts {
		h.pending = nil
	}
	h.log.Warn("the webhook of the leak watch could not be told; check leak_watch.webhook_url and who answers there",
		"error", err, "attempt", h.attempts, "given_up", h.pending == nil)
}

// post sends m. Its errors name neither the URL nor a part of it.
func post(ctx context.Context, target string, m *Message) error {
	endpoint, err := url.Parse(target)
	if err != nil {
		return errors.New("POST: leak_watch.webhook_url is no URL")
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("POST: %w", err)
	}
	client, err := httpsink.New(endpoint, httpsink.Options{Timeout: hookTimeout, UserAgent: m.Agent + "/" + m.Version})
	if err != nil {
		return errors.New("POST: no client for leak_watch.webhook_url")
	}
	defer client.Close()
	answer, err := client.Post(ctx, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return fmt.Errorf("POST: %s", plain(err))
	}
	if answer.Status/100 != 2 {
		return fmt.Errorf("POST: the answer is %d %s", answer.Status, http.StatusText(answer.Status))
	}
	return nil
}

// plain says what went wrong without a host, an address or a path.
func plain(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", hookTimeout)
	case errors.Is(err, context.Canceled):
		return "the agent is stopping"
	case errors.As(err, &dns):
		return "the host's name cannot be resolved"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection to the host"
	}
	return "no whole answer, or a certificate that is not trusted"
}
