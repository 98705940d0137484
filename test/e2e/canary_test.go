package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// The canary is in Loki; while Loki is away health misses it, though no container says
// anything, and no longer than that.
func TestTheCanaryTellsWhetherTheWayIsOpen(t *testing.T) {
	w := newWorld(t, harness.Engine(t), harness.PrivateLoki(t, harness.LokiOptions{}))
	w.startAgent(w.config("auto", "", "") + "canary: {interval: 1s}\n")
	canary := func() (status, reason string) {
		for _, c := range w.agent.Health(t).Components {
			if c.Name == "canary" {
				return c.Status, c.Reason
			}
		}
		return "", ""
	}
	becomes := func(status, reason string) {
		t.Helper()
		harness.Eventually(t, 90*time.Second, "a canary that is "+status, func() (bool, string) {
			got, why := canary()
			return got == status && strings.Contains(why, reason), got + " " + why
		})
	}
	harness.Eventually(t, time.Minute, "canaries in Loki", func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n, err := w.loki.Count(ctx, fmt.Sprintf(`{job="log_capturer_canary", run=%q}`, w.run), w.start, time.Now().Add(time.Minute))
		return err == nil && n >= 3, fmt.Sprintf("%d, error %v", n, err)
	})
	becomes("healthy", "")
	w.loki.Stop(t)
	becomes("degraded", "nothing has arrived at sink loki for")
	w.loki.Start(t)
	becomes("healthy", "")
	w.balanced()
}
