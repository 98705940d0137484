package loki

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// After Loki has said where its window begins, what is older is not sent any more, until
// it is time to ask again.
func TestWhatIsTooOldIsNotSentTwice(t *testing.T) {
	const week = 7 * 24 * time.Hour
	server := newServer(t, func(w http.ResponseWriter, p pushed) {
		oldest := time.Now().Add(-week)
		for _, s := range p.streams {
			for _, e := range s.entries {
				if e.time < oldest.UnixNano() {
					http.Error(w, fmt.Sprintf("entry for stream '%s' has timestamp too old: %s, oldest acceptable timestamp is: %s",
						s.labels, time.Unix(0, e.time).UTC().Format(time.RFC3339), oldest.UTC().Format(time.RFC3339)), http.StatusBadRequest)
					return
				}
			}
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s := open(t, server.URL, nil)
	send := func(ages ...time.Duration) (refused, requests int) {
		t.Helper()
		server.take()
		b := lines(source("web"), 0, 0)
		for i, age := range ages {
			b.Append(time.Now().Add(-age).UnixNano(), record.OutputNone, fmt.Append(nil, i))
		}
		err := s.Send(t.Context(), []record.View{record.Whole(b)})
		var rejected *sink.RejectedError
		if err != nil && !errors.As(err, &rejected) {
			t.Fatal(err)
		}
		if rejected != nil {
			refused = len(rejected.Entries)
			for _, r := range rejected.Entries {
				if r.Reason != reasonTooOld || r.Detail == "" {
					t.Errorf("%+v", r)
				}
			}
		}
		return refused, len(server.take())
	}
	const past, near, fresh = week + time.Hour, week + time.Second, time.Minute
	for _, c := range []struct {
		name              string
		ages              []time.Duration
		refused, requests int
	}{
		{"fresh ones", []time.Duration{fresh}, 0, 1},
		{"the first that is too old", []time.Duration{past}, 1, 1},
		{"more of them", []time.Duration{past, past, past}, 3, 0},
		{"beside fresh ones", []time.Duration{past, fresh, past, fresh}, 2, 1},
		{"one at the edge is Loki's to decide", []time.Duration{near}, 1, 1},
	} {
		if refused, requests := send(c.ages...); refused != c.refused || requests != c.requests {
			t.Errorf("%s: %d refused with %d requests, want %d with %d", c.name, refused, requests, c.refused, c.requests)
		}
	}
	old := lines(source("web"), 0, 0)
	old.Append(time.Now().Add(-past).UnixNano(), record.OutputNone, []byte("asked for"))
	server.take()
	if err := s.Send(sink.Ask(t.Context()), []record.View{record.Whole(old)}); err == nil || len(server.take()) != 1 {
		t.Error("Loki was not asked of what a person sends again")
	}
	s.age.learned = s.age.learned.Add(-relearn)
	if refused, requests := send(past); refused != 1 || requests != 1 {
		t.Errorf("after a while: %d refused with %d requests", refused, requests)
	}
}
