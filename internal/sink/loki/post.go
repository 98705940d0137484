package loki

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
)

// How much of Loki's words goes into an error and into a rejection's detail, in bytes.
const (
	errorWords  = 300
	detailWords = 1024
)

// verdict is what an answer means for the entries of the request. Every other answer
// is an error: nothing is known to be stored, all of it is tried again.
type verdict int

const (
	accepted verdict = iota
	tooLarge         // nothing was stored; smaller requests may pass
	refused          // some entries were refused for good, the words say which; the rest was stored
)

// result is an answer, judged.
type result struct {
	verdict   verdict
	answer    *httpsink.Answer
	perStream bool // with an error: the ingester refused one stream
}

// post sends the request that was encoded and judges the answer.
func (s *Sink) post(ctx context.Context) (result, error) {
	s.body = s.push.Snappy(s.body[:0])
	answer, err := s.client.Post(ctx, s.header, s.body)
	if err != nil {
		return result{}, fmt.Errorf("push to Loki: %w", err)
	}
	now, size := time.Now(), s.push.Len()
	text := string(answer.Body)
	switch code := answer.Status; {
	case isAccepted(answer):
		s.size.passed()
		return result{verdict: accepted}, nil
	case code == http.StatusRequestEntityTooLarge,
		code >= 500 && strings.Contains(text, "message larger than max"): // gRPC, from distributor to ingester
		s.size.tooLarge(now, size)
		return result{verdict: tooLarge, answer: answer}, nil
	case code == http.StatusBadRequest && aboutEntries(answer, text):
		s.size.passed()
		return result{verdict: refused, answer: answer}, nil
	}
	r := result{answer: answer}
	if answer.Status == http.StatusTooManyRequests {
		s.size.throttle(now, size)
		r.perStream = !strings.Contains(text, "ingestion rate limit exceeded")
	}
	return r, s.failure(answer, now)
}

// isAccepted tells whether Loki took the request: 204, and 200 of others that speak
// its protocol. 260 is what Loki says, by default, while a tenant's ingestion is
// blocked (limits_config.block_ingestion_until): it has stored nothing. A web page
// comes from somebody else.
func isAccepted(a *httpsink.Answer) bool {
	return a.Status/100 == 2 && a.Status != statusBlocked && !a.IsPage()
}

const statusBlocked = 260

// aboutEntries tells whether a 400 speaks of entries. Otherwise the request never got
// to Loki, or Loki could not tell whose it is.
func aboutEntries(a *httpsink.Answer, text string) bool {
	if a.IsPage() || strings.TrimSpace(text) == "" {
		return false
	}
	for _, words := range []string{"HTTP request to an HTTPS server", "org id", "org IDs", "tenant ID", "snappy: ", "proto: ", "couldn't parse push request"} {
		if strings.Contains(text, words) {
			return false
		}
	}
	return true
}

// failure makes an error of an answer: what was tried, where, what was said, what to do.
func (s *Sink) failure(a *httpsink.Answer, now time.Time) error {
	status := fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
	msg := fmt.Sprintf("push to Loki: POST %s: %s", s.client.URL(), strings.TrimSpace(status))
	switch words := a.Words(errorWords); {
	case a.IsPage():
		msg += ": a web page"
	case words != "":
		msg += ": " + words
	}
	if advice := s.advice(a); advice != "" {
		msg += "; " + advice
	}
	err := errors.New(msg)
	if after := a.RetryAfter(now); after > 0 {
		return &sink.RetryError{After: after, Err: err}
	}
	return err
}

func (s *Sink) advice(a *httpsink.Answer) string {
	switch code := a.Status; {
	case code == statusBlocked:
		return "Loki blocks this tenant's ingestion (limits_config.block_ingestion_until)"
	case code == http.StatusUnauthorized && s.cfg.Tenant == "" && strings.Contains(string(a.Body), "no org id"):
		return "this Loki has tenants: set tenant"
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return "check auth (basic or bearer_token_file) and tenant"
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return "check url: Loki's address, or the whole path that ends in " + PushPath
	case code == http.StatusTooManyRequests:
		return "it is tried again; if this lasts, raise the limit in Loki's limits_config or log less"
	case code/100 == 3:
		return "redirects are not followed, credentials would go along; set url to where it leads" + where(a)
	case code == http.StatusBadRequest && strings.Contains(string(a.Body), "HTTPS"):
		return "write https:// in url"
	case code == http.StatusBadRequest, a.IsPage():
		return "check url: this does not seem to come from Loki"
	}
	return ""
}

// where shows a redirect's target without what might be secret in it.
func where(a *httpsink.Answer) string {
	target, err := (&http.Response{Header: a.Header}).Location()
	if err != nil || target.Host == "" {
		return ""
	}
	return ", " + httpsink.Words([]byte(httpsink.Shown(target)), 200)
}
