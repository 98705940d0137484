package diagnose

import (
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

func TestConnectionsByEndpoint(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const engine, loki = "unix:///var/run/docker.sock", "http://loki:3100"
	s := Snapshot{Time: now, Held: []ledger.Held{
		{Component: "container_monitor", Kind: "connection", Count: 7, Endpoint: engine, Oldest: now.Add(-time.Minute)},
		{Component: "container_monitor", Kind: "engine_stream", Count: 4, Endpoint: engine, Oldest: now.Add(-time.Hour), Unclosed: 3},
		{Component: "container_monitor", Kind: "engine_stream", Count: 1, Endpoint: engine},
		{Component: "sink.loki", Kind: "connection", Count: 1, Endpoint: loki},
		{Component: "sink.loki", Kind: "response_body", Count: 2},
		{Component: "server", Kind: "connection", Count: 1, Endpoint: "127.0.0.1:8001"},
		{Component: "file_monitor", Kind: "log_file", Count: 9},
	}}
	var out strings.Builder
	p := Printer{Out: &out}
	p.Transports(Transports(s), now)
	want := `HTTP connections
  ENDPOINT                              COMPONENT          OPEN  STREAMING  IDLE  OLDEST  GIVEN UP UNCLOSED
  127.0.0.1:8001 (others to the agent)  server                1          0     1       -                  0
  http://loki:3100                      sink.loki             1          2     0       -                  0
  unix:///var/run/docker.sock           container_monitor     7          5     2      1h                  3
`
	if got, _, _ := strings.Cut(out.String(), "\nA connection"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if all := Transports(Snapshot{}); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}
