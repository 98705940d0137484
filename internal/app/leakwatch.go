package app

import (
	"os"
	"path/filepath"

	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/leak"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/ledger/census"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/units"
)

// leakWatch is a component of the health board, and a task.
const leakWatch = "leak_watch"

const leakOwner = "agent/serving/" + leakWatch

// buildLeakWatch makes what watches the census.
func (a *agent) buildLeakWatch() {
	host, _ := os.Hostname() // it was asked for before
	a.collector = leak.NewCollector()
	a.leaks = leak.New(a.cfg.LeakWatch, leak.Deps{
		Sample: func() leak.Sample {
			s, err := a.books.Take()
			if err != nil {
				a.log.Warn("the census is not whole", "error", err)
			}
			return leak.FromSnapshot(s)
		},
		Report: func(status health.Status, reason string) { a.board.Set(leakWatch, status, reason) },
		Log:    a.log,
		Dir:    filepath.Join(a.cfg.DataDir, "diagnostics"),
		Effective: func() ([]byte, error) {
			a.reloading.Lock()
			defer a.reloading.Unlock()
			return config.Print(a.cfg)
		},
		LastLines: a.lastLines.Lines,
		Agent:     "log_capturer", Host: host, Version: a.info.Version,
	})
	a.books.tasks = append(a.books.tasks, func(formula map[string]int) { formula[leakOwner] = 1 })
	a.books.accounts = append(a.books.accounts, func() []census.Entry {
		return []census.Entry{{Owner: leakOwner, Kind: census.Ticker, Account: &a.leaks.Tickers, Expected: exactly(1)}}
	})
}

// resources takes a census for who asks: of a heap that is not older than the last one's,
// else an idle agent's would seem to stand still between its collections.
func (a *agent) resources() (ledger.Snapshot, error) {
	a.books.mu.Lock()
	a.collector.Freshen(units.MiB)
	a.books.mu.Unlock()
	return a.books.Take()
}

func (a *agent) leakMetrics() {
	a.metrics.Func(counter, "leak_alarms_total", "Times that the leak watch found a component to grow without a reason.", []string{"component"}, func() (out []metrics.Sample) {
		alarms := a.leaks.Alarms()
		for _, c := range append(a.books.running(), ledger.ComponentState{Name: "agent"}, ledger.ComponentState{Name: "server"}) {
			alarms[c.Name] += 0 // so that the first alarm is an increase
		}
		for component, n := range alarms {
			out = append(out, metrics.Sample{Labels: []string{component}, Value: float64(n)})
		}
		return out
	})
	a.metrics.Func(gauge, "leak_growth_per_minute", "Growth over what the load explains, a minute: the slope of the last ten minutes.", []string{"what"}, func() (out []metrics.Sample) {
		for what, n := range a.leaks.Growth() {
			out = append(out, metrics.Sample{Labels: []string{what}, Value: n})
		}
		return out
	})
	a.metrics.Func(gauge, "health_status", "State of each component: 0 healthy, 1 degraded, 2 unhealthy.", []string{"component"}, func() (out []metrics.Sample) {
		values := map[health.Status]float64{health.Degraded: 1, health.Unhealthy: 2}
		for _, c := range a.health().Components {
			out = append(out, metrics.Sample{Labels: []string{c.Name}, Value: values[c.Status]})
		}
		return out
	})
}
