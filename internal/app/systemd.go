package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
)

// stopLimit is how long stopping takes at most, with some room: what stop waits for.
func (a *agent) stopLimit() time.Duration {
	return time.Duration(a.cfg.ShutdownTimeout) + 5*readShutdown
}

// keepAlive tells the service manager, until ctx ends, that the agent is alive: every
// component answers for its health, so that no lock is held for good, and the lanes move.
// What their answers are is no matter: systemd cannot mend a Loki that is down.
func (a *agent) keepAlive(ctx context.Context) {
	pulse := a.dispatcher.Pulse()
	a.manager.Run(ctx, func() (string, error) {
		status := a.statusLine()
		return status, pulse.Check(time.Now())
	})
}

// statusLine is what systemctl status shows.
func (a *agent) statusLine() string {
	report := a.health()
	state := string(report.Status)
	var ill []string
	for _, c := range report.Components {
		if c.Status != health.Healthy {
			ill = append(ill, c.Name)
		}
	}
	if len(ill) > 0 {
		state += " (" + strings.Join(ill, ", ") + ")"
	}
	lanes, up := a.dispatcher.Lanes(), 0
	for _, l := range lanes {
		if l.Up() {
			up++
		}
	}
	return fmt.Sprintf("%s; %d lines read, %d of %d sinks up", state, a.dispatcher.Lines(), up, len(lanes))
}
