package leak

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/units"
)

// hook is somebody who is told: it keeps what was posted.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []Message
}

func newHook(t *testing.T) *hook {
	h := &hook{status: http.StatusNoContent}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m Message
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &m)
		}
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v", r.Method, body, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, m)
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) messages() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Message(nil), h.got...)
}

func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

const secret = "s3cr3t-t0ken"

func hooked(target string, log io.Writer) *world {
	return newWorld(func(c *Config, d *Deps) {
		c.WebhookURL = units.NewSecret(target)
		d.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
}

func TestEveryChangeIsPosted(t *testing.T) {
	h, log := newHook(t), new(bytes.Buffer)
	w := hooked(h.URL+"/services/"+secret, log)
	leaky(t, w)
	recovered(t, w)
	got := h.messages()
	if len(got) != 2 {
		t.Fatalf("it got %+v", got)
	}
	first := got[0]
	if first.Agent != "log_capturer" || first.Host != "host-1" || first.Version != "v1" || first.Status != health.Degraded ||
		first.Owner != stream || first.Component != "container_monitor" || first.Since.IsZero() || !strings.Contains(first.Reason, "leaks goroutines") {
		t.Errorf("the first is %+v", first)
	}
	if got[1].Status != health.Healthy || got[1].Owner != "" {
		t.Errorf("the second is %+v", got[1])
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("the secret is in the log:\n%s", log)
	}
}

func TestAWebhookThatFailsIsTriedOnceAMinuteAndGivenUp(t *testing.T) {
	h, log := newHook(t), new(bytes.Buffer)
	h.answer(http.StatusInternalServerError)
	w := hooked(h.URL+"/"+secret, log)
	leaky(t, w)
	grow := func(at time.Duration) []Series { return []Series{streams(at.Seconds()/2, 0)} }
	w.over(t, 45*time.Second, grow)
	if n := len(h.messages()); n != 1 {
		t.Fatalf("%d attempts in the first minute", n)
	}
	w.over(t, 15*time.Second, grow)
	if n := len(h.messages()); n != 2 {
		t.Fatalf("%d attempts after a minute", n)
	}
	w.over(t, 150*time.Second, grow)
	if n := len(h.messages()); n != 4 {
		t.Fatalf("%d attempts after three and a half", n)
	}
	h.answer(http.StatusOK)
	w.over(t, 60*time.Second, grow) // the fifth is accepted: nothing is left to be told
	if n := len(h.messages()); n != 5 || w.hook.pending != nil {
		t.Fatalf("%d attempts in the end", n)
	}
	if !strings.Contains(log.String(), "the answer is 500") || strings.Contains(log.String(), secret) {
		t.Errorf("the log says\n%s", log)
	}
}

func TestWhoNeverAcceptsIsLeftAloneAfterFiveAttempts(t *testing.T) {
	h := newHook(t)
	h.answer(http.StatusForbidden)
	w := hooked(h.URL, io.Discard)
	leaky(t, w)
	for range 80 {
		w.hook.try(t.Context(), w.clock.minutes+float64(len(h.messages())), units.NewSecret(h.URL))
	}
	if n := len(h.messages()); n != hookAttempts {
		t.Errorf("%d attempts", n)
	}
}

// Whatever fails, the log and the errors hold nothing of the URL.
func TestTheURLIsNeverTold(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer cut.Close()
	untrusted := httptest.NewUnstartedServer(nil)
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	untrusted.StartTLS()
	defer untrusted.Close()
	for name, target := range map[string]string{
		"refused": closed.URL, "cut off": cut.URL, "not trusted": untrusted.URL,
		"unknown host": "http://" + secret + ".invalid", "no URL": "http://[" + secret, "odd port": "http://a:" + secret,
	} {
		t.Run(name, func(t *testing.T) {
			full := target + "/" + secret + "?token=" + secret
			err := post(t.Context(), full, &Message{})
			if err == nil {
				t.Fatal("it was accepted")
			}
			u, _ := url.Parse(target)
			for _, part := range []string{secret, "?token", "127.0.0.1"} {
				if strings.Contains(err.Error(), part) || u != nil && u.Port() != "" && strings.Contains(err.Error(), u.Port()) {
					t.Errorf("%q tells %q", err, part)
				}
			}
			t.Log(err)
			w := hooked(full, io.Discard)
			if errs := w.current().Validate(); len(errs) > 0 && strings.Contains(errs[0].Error(), secret) {
				t.Errorf("%q tells the secret", errs[0])
			}
		})
	}
}
