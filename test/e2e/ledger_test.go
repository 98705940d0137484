package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// Every goroutine has an owner, and every owner has as many as the formula says, while
// streams are opened, replaced and closed, and when all are gone; nothing is dropped
// without being closed.
func TestEveryGoroutineHasItsOwner(t *testing.T) {
	w := newWorld(t, harness.Engine(t), harness.Loki(t))
	w.startAgent(w.config("stream", "", ""))
	exact := func(streams int) {
		t.Helper()
		harness.Eventually(t, time.Minute, fmt.Sprintf("%d streams and the goroutines that belong to them", streams), func() (bool, string) {
			s, err := w.agent.Resources()
			if err != nil {
				return false, err.Error()
			}
			followed := 0
			for _, o := range s.Goroutines.Owners {
				if o.Owner == "agent/sources/containers/readers/stream" {
					followed = o.Tasks
				}
				// A request to the agent, and net/http as it ends a connection, have theirs for moments.
				if o.Count != o.Expected && o.Component != "server" {
					return false, fmt.Sprintf("%+v of %d, expected %d", o, s.Goroutines.Total, s.Goroutines.Expected)
				}
			}
			for _, h := range s.Held {
				if h.Unclosed > 0 || h.Expected >= 0 && h.Count > h.Expected {
					t.Fatalf("%+v", h)
				}
			}
			return followed == streams, fmt.Sprintf("%d streams", followed)
		})
	}
	exact(0)
	const streams = 10
	boxes := make([]*harness.Container, streams)
	for i := range boxes {
		boxes[i] = w.container(1000, harness.RunOptions{Args: []string{"-rate", "50"}})
	}
	exact(streams)
	harness.Eventually(t, time.Minute, "replaced streams", func() (bool, string) {
		n := w.agent.Metrics(t).Sum("container_stream_rotations_total")
		return n >= 3*streams, fmt.Sprint(n)
	})
	exact(streams)
	w.exactlyOnce(time.Minute)
	w.removeContainers()
	exact(0)
	w.balanced()
}
