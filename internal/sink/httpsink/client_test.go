package httpsink

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 0 ":                           0,
		"-5":                            0,
		"86400":                         MaxRetryAfter,
		"soon":                          0,
		"Sat, 21 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Sat, 21 Nov 2026 11:00:00 GMT": 0,
		"Sun, 22 Nov 2026 12:00:00 GMT": MaxRetryAfter,
	} {
		a := Answer{Header: http.Header{"Retry-After": {text}}}
		if got := a.RetryAfter(now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		" a\n\tb\x00c\x1b[31m ":     "a b c [31m",
		"\xff\xfe":                  "\uFFFD",
		strings.Repeat("é", 100):    strings.Repeat("é", 8) + "…",
		strings.Repeat("\n", 10000): "",
	} {
		if got := Words([]byte(text), 20); got != want || len(got) > 20 {
			t.Errorf("%.20q: %q, want %q", text, got, want)
		}
	}
}

func post(t *testing.T, target string, opts Options) (*Answer, error) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	opts.Timeout = 5 * time.Second
	c, err := New(u, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Post(t.Context(), http.Header{"X-Test": {"1"}}, []byte("body"))
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("HTTP/%d", r.ProtoMajor)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		tls  TLS
		want string // of the error; empty: it works
	}{
		"unknown authority": {TLS{}, "check the tls settings"},
		"its authority":     {TLS{CAFile: ca}, ""},
		"another name":      {TLS{CAFile: ca, ServerName: "other.test"}, "other.test"},
		"its other name":    {TLS{CAFile: ca, ServerName: "example.com"}, ""},
		"not verified":      {TLS{InsecureSkipVerify: true}, ""},
	}
	for name, c := range cases {
		answer, err := post(t, s.URL, Options{TLS: c.tls})
		switch {
		case c.want == "" && (err != nil || answer.Status != http.StatusNoContent):
			t.Errorf("%s: %v, %v", name, answer, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v; want an error that says %q", name, err, c.want)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other server was asked, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	answer, err := post(t, s.URL, Options{Auth: Auth{BearerTokenFile: token}})
	if err != nil || answer.Status != http.StatusTemporaryRedirect {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		for range 100 {
			_, _ = w.Write(make([]byte, MaxBody))
		}
	}))
	defer s.Close()
	answer, err := post(t, s.URL, Options{})
	if err != nil || len(answer.Body) != MaxBody || !answer.Cut {
		t.Errorf("%d bytes, %v", len(answer.Body), err)
	}
}

// Without Close's help net/http would go on dialling after the request has ended.
func TestCloseEndsADial(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	u := &url.URL{Scheme: "https", Host: s.Listener.Addr().String()} // accepts, and never shakes hands
	defer s.Listener.Close()
	c, err := New(u, Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Post(ctx, nil, nil); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("Post: %v", err)
	}
	c.Close() // goleak in TestMain sees the rest
}
