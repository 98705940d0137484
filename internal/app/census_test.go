package app

import "testing"

func TestAnOwnerAndAFunctionBelongToAComponent(t *testing.T) {
	const ours = "github.com/logcapturer/log_capturer/"
	for owner, want := range map[string]string{
		"agent/sources/containers/readers/stream": "container_monitor",
		"agent/sources/files/pool":                "file_monitor",
		"agent/sources/journal/readers/stream":    "journal_monitor",
		"agent/sources/canary/run":                "canary",
		"agent/delivery/sinks/my/lane":            "sink.my",
		"agent/serving/http":                      "server",
		"agent/delivery/positions":                "agent",
		"":                                        "agent",

		ours + "internal/discover.(*Containers).adopt": "container_monitor",
		ours + "internal/discover.(*Files).look":       "file_monitor",
		ours + "internal/canary.(*Canary).send":        "canary",
		ours + "internal/source/jsonfile.(*R).Next":    "container_monitor",
		ours + "internal/pool.newJob":                  "agent",
		"github.com/moby/moby/client.New":              "container_monitor",
	} {
		if got := componentOf(owner); got != want {
			t.Errorf("%s belongs to %q, want %q", owner, got, want)
		}
	}
}
