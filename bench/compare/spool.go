package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/logcapturer/log_capturer/bench/null"
	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
	"github.com/logcapturer/log_capturer/test/harness"
)

const spooledBytes = 512 << 20

// spooled is a log that is read while one of two sinks is down, and sent to it when it is up
// again. In is from the agent's start until all is in the spool, or in memory behind it; Out
// is from the first line to come to the last, without the pause before the agent tries again.
func spooled(c *comparison, dir string) (func(*peer.Agent, report.Run) report.Run, error) {
	l, err := write(dir, 1, c.bytes(spooledBytes), false)
	return func(a *peer.Agent, run report.Run) report.Run {
		run.Lines, run.Bytes = l.lines, l.bytes
		if a.Name != peer.Ours {
			run.Why = "has no spool unless it is set up"
			return run
		}
		addr, err := harness.FreeAddr()
		if err != nil {
			run.Why = err.Error()
			return run
		}
		down := func(s *null.Server) error { return s.SetDown(true) }
		return c.try(a, run, peer.Job{Logs: l.glob(), Spool: true, Metrics: addr}, down, func(t *trial) error {
			if err := t.taken(addr, l.lines); err != nil {
				return err
			}
			t.run.In = time.Since(t.proc.Began).Seconds()
			if err := t.server.SetDown(false); err != nil {
				return err
			}
			r, err := t.wait(l.lines)
			if err != nil {
				return err
			}
			t.run.Out = time.Duration(r.Last - r.First).Seconds()
			t.run.Seconds, t.run.Requests = t.run.In+t.run.Out, r.Requests
			return t.used(0)
		})
	}, err
}

// taken waits until the agent says that it has read so many lines, and that the sink that is
// up has them.
func (t *trial) taken(addr string, lines int64) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := "it does not answer"
	for began := time.Now(); time.Since(began) < 3*t.patience; {
		m, err := harness.ScrapeMetrics(client, "http://"+addr+"/metrics")
		if err == nil {
			read, acked := m.Sum("lines_read_total"), m.Sum("lines_acked_total", `sink="other"`)
			if read >= float64(lines) && acked >= float64(lines) {
				return nil
			}
			last = fmt.Sprintf("it has read %.0f of %d lines, %.0f are in the other sink", read, lines, acked)
		}
		if !t.proc.Running() {
			return fmt.Errorf("it ended by itself: %s", t.proc.Last())
		}
		if err := pause(t.ctx, look); err != nil {
			return err
		}
	}
	return fmt.Errorf("not all was read while the server was down: %s", last)
}
