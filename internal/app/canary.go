package app

import (
	"context"

	"github.com/logcapturer/log_capturer/internal/canary"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/record"
)

// canaryComponent is its name as a component, and that of its scope.
const canaryComponent = "canary"

// buildCanary makes the canary; the dispatcher, which tells it of arrivals, comes later.
func (a *agent) buildCanary(hostname string) {
	a.canary = canary.New(a.cfg.Canary, hostname, canary.Deps{
		Arena:   a.arena,
		Deliver: func(ctx context.Context, b *record.Batch) error { return a.dispatcher.Deliver(ctx, b) },
		Read:    func(src *record.Source, lines, bytes int) { a.metrics.Read(src.Name, lines, bytes) },
		Log:     a.log,
	})
	a.canary.SetSinks(sinkNames(a.cfg.Sinks))
	a.reports = append(a.reports, func() {
		status, reason := health.Healthy, a.canary.Missing()
		if reason != "" {
			status = health.Degraded
		}
		a.board.Set(canaryComponent, status, reason)
	})
}

func (a *agent) canaryMetrics() {
	perSink := func(value func(canary.Figures) float64) func() []metrics.Sample {
		return func() (out []metrics.Sample) {
			all, _ := a.canary.Figures()
			for _, f := range all {
				out = append(out, metrics.Sample{Labels: []string{f.Sink}, Value: value(f)})
			}
			return out
		}
	}
	labels := []string{"sink"}
	a.one(counter, "canary_sent_total", "Canaries that were sent, or found no room.", func() float64 {
		_, sent := a.canary.Figures()
		return float64(sent)
	})
	a.metrics.Func(counter, "canary_arrived_total", "Canaries that the sink has accepted.", labels, perSink(func(f canary.Figures) float64 { return float64(f.Arrived) }))
	a.metrics.Func(gauge, "canary_latency_seconds", "What the newest canary that arrived took from being sent to being accepted.", labels, perSink(func(f canary.Figures) float64 { return f.Latency.Seconds() }))
	a.metrics.Func(gauge, "canary_last_arrival_timestamp_seconds", "When that one was sent.", labels, perSink(func(f canary.Figures) float64 { return float64(f.Last.UnixNano()) / 1e9 }))
}
