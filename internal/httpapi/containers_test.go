package httpapi

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/source"
)

// someContainers has one with every field, one with the fewest, and a name that two share.
func someContainers() []source.Status {
	return []source.Status{
		{ID: "2", Name: "web-1", Driver: "json-file", Mode: source.File, Running: true},
		{
			ID: "3", Name: "db", Image: "postgres:17", Driver: "journald", Running: true, Gone: true,
			Mode: source.Stream, Reason: "the log driver is journald", Since: time.Now(), Lines: 7, Bytes: 700, Rate: 1.5,
			LastRead: time.Now(), Rotations: 2, Held: 1, HeldBytes: 10, Lost: map[string]int64{"rotated_away": 3}, Error: "no",
		},
		{ID: "1", Name: "web-1", Gone: true, Mode: source.Poll},
	}
}

func TestContainersAreListedByName(t *testing.T) {
	for query, want := range map[string][]string{
		"":                 {"db/3", "web-1/1", "web-1/2"},
		"?name=":           {"db/3", "web-1/1", "web-1/2"},
		"?name=web-*":      {"web-1/1", "web-1/2"},
		"?name=%7Bdb,x%7D": {"db/3"},
		"?name=nothing":    nil,
	} {
		h := Handler(Routes{Containers: someContainers})
		code, body := get(t, h, "GET", "/api/v1/containers"+query)
		var answer struct {
			Containers []source.Status `json:"containers"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 {
			t.Fatalf("%s: %d, %v in %s", query, code, err, body)
		}
		var got []string
		for _, c := range answer.Containers {
			got = append(got, c.Name+"/"+c.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestNoContainersAreAnEmptyList(t *testing.T) {
	h := Handler(Routes{Containers: func() []source.Status { return nil }})
	if _, body := get(t, h, "GET", "/api/v1/containers"); strings.TrimSpace(body) != `{"containers":[]}` {
		t.Errorf("got %s", body)
	}
}

func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(Routes{}).ServeHTTP(w, httptest.NewRequest("PUT", "/api/v1/containers", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
