package loki

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
	"github.com/logcapturer/log_capturer/internal/units"
)

const canary = "c4n4ry-s3cret"

// Whatever may be a matter of configuration or of time is tried again, with the
// reason, the place and the advice in one sentence, and without secrets.
func TestAnswersThatAreTriedAgain(t *testing.T) {
	soon := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	cases := []struct {
		name  string
		reply func(http.ResponseWriter, pushed)
		want  string
		after [2]time.Duration // from, to
	}{
		{"401", answer(401, "no org id\n"), "401 Unauthorized: no org id; this Loki has tenants: set tenant", [2]time.Duration{}},
		{"401 auth", answer(401, "who are you"), "401 Unauthorized: who are you; check auth", [2]time.Duration{}},
		{"403", answer(403, ""), "403 Forbidden; check auth (basic or bearer_token_file) and tenant", [2]time.Duration{}},
		{"404", answer(404, "404 page not found"), "check url", [2]time.Duration{}},
		{"429", answer(429, "Ingestion rate limit exceeded", "Retry-After", "7"), "429 Too Many Requests", [2]time.Duration{7 * time.Second, 7 * time.Second}},
		{"429 for days", answer(429, "", "Retry-After", "999999"), "429", [2]time.Duration{httpsink.MaxRetryAfter, httpsink.MaxRetryAfter}},
		{"500", answer(500, "empty ring"), "500 Internal Server Error: empty ring", [2]time.Duration{}},
		{"503 with a date", answer(503, "", "Retry-After", soon), "503", [2]time.Duration{20 * time.Second, 30 * time.Second}},
		{"302", answer(302, "", "Location", "https://user:"+canary+"@login.example/x?token="+canary), "https://login.example/x", [2]time.Duration{}},
		{"260", answer(260, "ingestion blocked for user 'a'"), "block_ingestion_until", [2]time.Duration{}},
		{"200 with a page", answer(200, "<html>Welcome", "Content-Type", "text/html"), "a web page; check url", [2]time.Duration{}},
		{"400 with a page", answer(400, "<html>Bad Request"), "check url", [2]time.Duration{}},
		{"400 of a TLS port", answer(400, "Client sent an HTTP request to an HTTPS server.\n"), "write https:// in url", [2]time.Duration{}},
		{"400 without words", answer(400, ""), "check url", [2]time.Duration{}},
		{"control characters", answer(500, "a\x1b[31m\x00\nb\xff"), "a [31m b\uFFFD", [2]time.Duration{}},
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.reply)
			k := open(t, s.URL+"/base?key="+canary, func(cfg *Config) { cfg.Auth.Basic = httpsink.Basic{Username: "u", PasswordFile: password} })
			err := k.Send(t.Context(), views(lines(source("a"), 5, 10)))
			var rejected *sink.RejectedError
			if err == nil || errors.As(err, &rejected) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Send: %v; want an error that says %q", err, c.want)
			}
			if !strings.Contains(err.Error(), "push to Loki: POST "+s.URL+"/base"+PushPath) || strings.Contains(err.Error(), canary) {
				t.Errorf("the error lacks the place or has a secret: %v", err)
			}
			var retry *sink.RetryError
			if errors.As(err, &retry) != (c.after[1] > 0) || retry != nil && (retry.After < c.after[0] || retry.After > c.after[1]) {
				t.Errorf("got %+v, want to wait %s", retry, c.after)
			}
			if n := len(s.take()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// hijack answers on the bare connection.
func hijack(fn func(net.Conn, *bufio.ReadWriter)) func(http.ResponseWriter, pushed) {
	return func(w http.ResponseWriter, _ pushed) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fn(conn, rw)
	}
}

func TestBrokenAnswersAreTriedAgain(t *testing.T) {
	cases := map[string]func(http.ResponseWriter, pushed){
		"reset":  hijack(func(c net.Conn, _ *bufio.ReadWriter) { _ = c.(*net.TCPConn).SetLinger(0) }),
		"closed": hijack(func(net.Conn, *bufio.ReadWriter) {}),
		"garbage": hijack(func(_ net.Conn, rw *bufio.ReadWriter) {
			_, _ = rw.WriteString("\x16\x03\x01 this is not HTTP\r\n\r\n")
			_ = rw.Flush()
		}),
		"hang": hijack(func(_ net.Conn, rw *bufio.ReadWriter) { _, _ = rw.ReadByte() }), // until the client hangs up
		"half an answer": hijack(func(_ net.Conn, rw *bufio.ReadWriter) {
			_, _ = rw.WriteString("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf")
			_ = rw.Flush()
		}),
		"endless body": hijack(func(_ net.Conn, rw *bufio.ReadWriter) {
			_, err := rw.WriteString("HTTP/1.1 500 Oops\r\n\r\n")
			for err == nil {
				_, err = rw.WriteString(strings.Repeat("more ", 1000))
			}
		}),
		"endless header": hijack(func(_ net.Conn, rw *bufio.ReadWriter) {
			_, err := rw.WriteString("HTTP/1.1 500 Oops\r\nX: ")
			for err == nil {
				_, err = rw.WriteString(strings.Repeat("more ", 1000))
			}
		}),
	}
	for name, script := range cases {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, script)
			k := open(t, s.URL, func(c *Config) { c.Timeout = units.Duration(300 * time.Millisecond) })
			started := time.Now()
			err := k.Send(t.Context(), views(lines(source("a"), 5, 10)))
			var rejected *sink.RejectedError
			if err == nil || errors.As(err, &rejected) {
				t.Fatalf("Send: %v; want an error after which it is tried again", err)
			}
			if took := time.Since(started); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
			s.set(ok)
			if err := k.Send(t.Context(), views(lines(source("a"), 5, 10))); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if n := s.count(); n != 5 {
				t.Errorf("%d entries are stored, want 5", n)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	err = open(t, "http://"+address, nil).Send(t.Context(), views(lines(source("a"), 1, 1)))
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Send: %v", err)
	}
}

func TestWhatIsSent(t *testing.T) {
	s := newServer(t, ok)
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(token, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	k := open(t, s.URL, func(c *Config) {
		c.Tenant = "team-a"
		c.Auth.BearerTokenFile = token
		c.Labels = map[string]string{"host": "h1", "app": "static"}
	})
	src := source("a", record.Label{Name: "id", Value: "1"}, record.Label{Name: "__", Value: "2"})
	b := &record.Batch{Source: src}
	b.Append(1700000000123456789, record.Stdout, []byte("first"))
	b.Append(1700000000123456790, record.Stderr, []byte("\xff\x00"))
	b.Entries[1].Flags = record.Truncated
	if err := k.Send(t.Context(), views(b)); err != nil {
		t.Fatal(err)
	}
	write("two")
	if err := k.Send(t.Context(), views(b)); err != nil {
		t.Fatal(err)
	}
	got := s.take()
	want := `[{{app="a", host="h1"} [{1700000000123456789 first map[id:1 unnamed__:2]} {1700000000123456790 ` + "\xff\x00" + ` map[id:1 truncated:true unnamed__:2]}]}]`
	if len(got) != 2 || fmt.Sprint(got[0].streams) != want {
		t.Fatalf("got  %v\nwant %v", got[0].streams, want)
	}
	for name, want := range map[string]string{"X-Scope-Orgid": "team-a", "Authorization": "Bearer one", "User-Agent": "log_capturer/test", "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Idempotency-Key": ""} {
		if got := got[0].header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := got[1].header.Get("Authorization"); got != "Bearer two" {
		t.Errorf("after the file changed: %q", got)
	}
}

func TestTooLargeRequestsAreSplit(t *testing.T) {
	const most = 100 << 10
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		if p.size > most {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		ok(w, p)
	})
	k := open(t, s.URL, nil)
	b := lines(source("a"), 2000, 200)
	b.Append(2e18, record.Stdout, make([]byte, 2*most))
	b.Append(2e18+1, record.Stdout, []byte("last"))
	err := k.Send(t.Context(), views(b))
	var rejected *sink.RejectedError
	if !errors.As(err, &rejected) || len(rejected.Entries) != 1 || rejected.Entries[0].Entry != 2000 || rejected.Entries[0].Reason != "line_too_large" {
		t.Fatalf("Send: %v; want the one large line rejected", err)
	}
	var got []string
	requests := s.take()
	for _, p := range requests {
		if p.size <= most {
			got = append(got, p.lines()...)
		}
	}
	if len(got) != 2001 || !slices.IsSortedFunc(got[:2000], func(a, b string) int { return number(a) - number(b) }) || got[2000] != "last" {
		t.Errorf("%d lines arrived, or not in order", len(got))
	}
	if len(requests) > 40 {
		t.Errorf("%d requests", len(requests))
	}
	// What was learnt holds for the next Send.
	if err := k.Send(t.Context(), views(lines(source("a"), 2000, 200))); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.take() {
		if p.size > most {
			t.Errorf("a request of %d bytes although %d are known to be too many", p.size, most)
		}
	}
}

func number(line string) (n int) {
	_, _ = fmt.Sscan(line, &n)
	return n
}

func TestGRPCMessageTooLargeIsSplit(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		if len(p.lines()) > 10 {
			http.Error(w, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5000000 vs. 4194304)", 500)
			return
		}
		ok(w, p)
	})
	if err := open(t, s.URL, nil).Send(t.Context(), views(lines(source("a"), 100, 10))); err != nil {
		t.Fatal(err)
	}
	if n := s.count(); n != 100 {
		t.Errorf("%d entries are stored, want 100", n)
	}
}

func TestAFailedSendGoesOnWhereItStopped(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		if strings.Contains(p.streams[0].labels, "b") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		ok(w, p)
	})
	k := open(t, s.URL, nil)
	all := views(lines(source("a"), 5, 10), lines(source("b"), 5, 10))
	for range 3 {
		if err := k.Send(t.Context(), all); err == nil {
			t.Fatal("Send succeeded")
		}
	}
	s.set(ok)
	if err := k.Send(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if n := len(s.take()); n != 5 { // a once, b four times
		t.Errorf("%d requests, want 5", n)
	}
	// The same views once more are new views: the last Send was a success.
	if err := k.Send(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if n := len(s.take()[0].lines()); n != 10 {
		t.Errorf("%d lines, want 10", n)
	}
}

func TestOtherViewsThanTheFailedOnesAreSentWhole(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		if strings.Contains(p.streams[0].labels, "b") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		ok(w, p)
	})
	k := open(t, s.URL, nil)
	a, b := lines(source("a"), 5, 10), lines(source("b"), 5, 10)
	if err := k.Send(t.Context(), views(a, b)); err == nil {
		t.Fatal("Send succeeded")
	}
	s.set(ok)
	s.take()
	a.Entries[4].Time++ // the memory of a batch is used again
	if err := k.Send(t.Context(), views(a, b)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range s.take() {
		n += len(p.lines())
	}
	if n != 10 {
		t.Errorf("%d lines were sent, want 10", n)
	}
}

func TestOneConnectionAtMost(t *testing.T) {
	s := newServer(t, ok)
	k := open(t, s.URL, nil)
	for i := range 20 {
		s.set(answer(map[bool]int{true: 204, false: 500}[i%2 == 0], strings.Repeat("x", i)))
		_ = k.Send(t.Context(), views(lines(source("a"), 1, 1)))
	}
	if n := s.opened.Load(); n != 1 {
		t.Errorf("%d connections for 20 requests, want 1", n)
	}
}

func TestCancelledSendReturns(t *testing.T) {
	s := newServer(t, hijack(func(_ net.Conn, rw *bufio.ReadWriter) { _, _ = io.Copy(io.Discard, rw) }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	err := open(t, s.URL, nil).Send(ctx, views(lines(source("a"), 1, 1)))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > time.Second {
		t.Errorf("Send: %v after %s", err, time.Since(started))
	}
}

func TestSendAllocatesNothingPerLine(t *testing.T) {
	s := newServer(t, ok)
	k := open(t, s.URL, nil)
	allocs := func(n int) float64 {
		v := views(lines(source("a", record.Label{Name: "id", Value: "1"}), n, 100))
		_ = k.Send(t.Context(), v)
		k.plan(t.Context(), v)
		defer k.release()
		return testing.AllocsPerRun(20, func() {
			k.release()
			k.plan(t.Context(), v)
			k.push.Reset()
			k.encode(k.groups[0].stream, k.groups[0].refs)
			k.body = k.push.Snappy(k.body[:0])
		})
	}
	if few, many := allocs(10), allocs(5000); few != many || many > 0 {
		t.Errorf("%v allocations for 10 lines, %v for 5,000; want none", few, many)
	}
}
