package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/ask"
	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// someLetters is an office with three letters, one of which has every field. Its sink
// refuses the last of what it is given.
func someLetters(t *testing.T) *office.Office {
	t.Helper()
	dir := t.TempDir()
	w, err := deadletter.Open(dir, "loki", 1<<20, deadletter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src := &record.Source{ID: "container:1", Kind: "container", Name: "web-1"}
	src.Streams[record.Stderr] = record.NewStream(record.Labels{{Name: "app", Value: "web"}}, record.Labels{{Name: "image", Value: "x"}})
	b := &record.Batch{Source: src}
	var refused []sink.Rejection
	for i, line := range []string{"one", "two", "bad \xff"} {
		b.Append(int64(i)+1, record.Stderr, []byte(line))
		refused = append(refused, sink.Rejection{Entry: i, Reason: "too_old", Detail: "says Loki"})
	}
	b.Entries[0].Flags = record.Truncated
	if err := w.Write([]record.View{record.Whole(b)}, refused, time.Now()); err != nil {
		t.Fatal(err)
	}
	send := func(_ context.Context, views []record.View) error {
		last := views[len(views)-1]
		return &sink.RejectedError{Entries: []sink.Rejection{{View: len(views) - 1, Entry: last.To - 1, Reason: "still", Detail: "no"}}}
	}
	o, err := office.Open(dir, office.Caps{MaxBytes: 1 << 20}, []*office.Box{{Name: "loki", Letters: w, Send: send}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(o.Close(), w.Close()) })
	return o
}

// send asks as somebody on this host does; header are names and values.
func send(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.RemoteAddr, req.Host = "127.0.0.1:5000", "127.0.0.1:8001"
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		switch header[i] {
		case "from":
			req.RemoteAddr = header[i+1]
		case "Host":
			req.Host = header[i+1]
		default:
			req.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// What gives log text or changes something is for this host, and for no web page.
func TestOthersAreKeptOut(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name   string
		header []string
		read   int // the code of a GET of the entries
		change int // of a POST
	}{
		{"this host", nil, 200, 200},
		{"by name", []string{"Host", "localhost:8001"}, 200, 200},
		{"by IPv6", []string{"from", "[::1]:4000", "Host", "[::1]:8001"}, 200, 200},
		{"its own page", []string{"Origin", "http://127.0.0.1:8001", "Sec-Fetch-Site", "same-origin"}, 200, 200},
		{"another host", []string{"from", "192.0.2.1:4000"}, 403, 403},
		{"a name that leads here", []string{"Host", "evil.example:8001"}, 403, 403},
		{"a name that leads here, at a port of ours", []string{"Host", "127.0.0.1.evil.example"}, 403, 403},
		{"no name", []string{"Host", ""}, 403, 403},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, 403, 403},
		{"another site of this host", []string{"Origin", "http://127.0.0.1:9999", "Sec-Fetch-Site", "same-site"}, 200, 403},
		{"another origin, of an old browser", []string{"Origin", "http://evil.example"}, 200, 403},
		{"a form", []string{"Content-Type", form}, 200, 415},
		{"a form that says nothing", []string{"Content-Type", "text/plain"}, 200, 415},
	} {
		h := Handler(Routes{DeadLetters: someLetters(t)})
		got := []int{
			send(h, "GET", office.PathEntries, "", c.header...).Code,
			send(h, "POST", office.PathReplay, "{}", c.header...).Code,
			send(h, "POST", office.PathPurge, `{"all":true}`, c.header...).Code,
		}
		if diff := cmp.Diff([]int{c.read, c.change, c.change}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		left := send(h, "GET", office.PathEntries, "").Body.String()
		if kept := strings.Count(left, `"line`); (kept == 3) != (c.change != 200) {
			t.Errorf("%s: %d letters are left", c.name, kept)
		}
		if code := send(h, "GET", office.PathList, "", c.header...).Code; code != 200 {
			t.Errorf("%s: the list, which has no log text, answers %d", c.name, code)
		}
	}
}

func TestWrongRequestsAreToldWhatIsRight(t *testing.T) {
	h := Handler(Routes{DeadLetters: someLetters(t)})
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", office.PathPurge, `{}`, 400, `this would remove all dead letters`},
		{"POST", office.PathPurge, ``, 400, `the body is not understood`},
		{"POST", office.PathPurge, `{"all": true} {"all": true}`, 400, `something follows`},
		{"POST", office.PathPurge, `{"reason": "x", "older": 1}`, 400, `unknown field \"older\"`},
		{"POST", office.PathPurge, `{"reason": "` + strings.Repeat("x", maxBody) + `"}`, 400, `too large`},
		{"POST", office.PathPurge, `{"source": "["}`, 400, `it is no glob`},
		{"POST", office.PathReplay, `{"sink": "lokki"}`, 404, `there are loki`},
		{"GET", office.PathEntries + "?limit=ten", "", 400, "expected 1 to 10000"},
		{"GET", office.PathEntries + "?limit=10001", "", 400, "expected 1 to 10000"},
		{"GET", office.PathReplay, "", 405, "changes something; use POST"},
		{"DELETE", office.PathList, "", 405, "is read only; use GET"},
	} {
		w := send(h, c.method, c.path, c.body)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %.40s: %d %s, want %d with %q", c.method, c.path, c.body, w.Code, w.Body, c.code, c.want)
		}
	}
	if allow := send(h, "GET", office.PathReplay, "").Header().Get("Allow"); allow != "POST" {
		t.Errorf("Allow: %s", allow)
	}
}

// The client and the server speak of the same: a Remote does what its Office does.
func TestARemoteIsTheOfficeOfAnAgent(t *testing.T) {
	local := someLetters(t)
	server := httptest.NewServer(Handler(Routes{DeadLetters: local}))
	defer server.Close()
	remote := office.NewRemote(ask.At(strings.TrimPrefix(server.URL, "http://"), "test"))
	ctx := t.Context()
	for _, f := range []office.Filter{{}, {Sink: "loki", Reason: "too_old", Source: "web-{1,2}"}, {Source: "x"}, {Sink: "none"}} {
		compare := func(what string, call func(d office.Desk) (any, error)) {
			t.Helper()
			want, wantErr := call(local)
			got, err := call(remote)
			if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
				t.Errorf("%s of %+v (-office +remote):\n%s", what, f, diff)
			}
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%s of %+v: %v, want %v", what, f, err, wantErr)
			}
		}
		compare("List", func(d office.Desk) (any, error) { return d.List(ctx, f) })
		compare("Show", func(d office.Desk) (any, error) {
			shown, err := d.Show(ctx, f, 2)
			shown.Entries = slices.Clip(shown.Entries)
			return shown, err
		})
		compare("Replay", func(d office.Desk) (any, error) { return d.Replay(ctx, f, true) })
		compare("Purge", func(d office.Desk) (any, error) { return d.Purge(ctx, f, true) })
	}
	result, err := remote.Replay(ctx, office.Filter{}, false)
	if err != nil || len(result.Sinks) != 1 || result.Sinks[0].Accepted != 2 || result.Sinks[0].Refused != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	purged, err := remote.Purge(ctx, office.Filter{}, false)
	if err != nil || len(purged.Groups) != 1 || purged.Groups[0].Reason != "still" {
		t.Errorf("%+v, %v", purged, err)
	}
}

// asJSON is how both ends see a result; nothing and null are the same.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "null", "[]")
}

func TestARemoteThatIsNotThereIsAClearError(t *testing.T) {
	_, err := office.NewRemote(ask.At("127.0.0.1:1", "an agent uses data_dir /x")).List(t.Context(), office.Filter{})
	if err == nil || !strings.Contains(err.Error(), "an agent uses data_dir /x, and its API does not answer") || !strings.Contains(err.Error(), "server.listen") {
		t.Errorf("got %v", err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if _, err = office.NewRemote(ask.At(strings.TrimPrefix(other.URL, "http://"), "test")).List(t.Context(), office.Filter{}); err == nil || !strings.Contains(err.Error(), "404 Not Found; is it another version") {
		t.Errorf("got %v", err)
	}
}
