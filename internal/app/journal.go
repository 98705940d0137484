package app

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger/census"
	"github.com/logcapturer/log_capturer/internal/pool"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/journal"
	"github.com/logcapturer/log_capturer/internal/task"
)

// journalMonitor is a component, and journalScope the owner of its goroutines.
const (
	journalMonitor = "journal_monitor"
	journalScope   = "agent/sources/journal"
)

// buildJournal builds the monitor of systemd's journal: one target, which is always there.
func (a *agent) buildJournal(hostname string) {
	cfg := a.cfg.JournalMonitor
	stats := &journal.Stats{}
	opener := &journal.Opener{
		Pool: a.arena, Command: cfg.Journalctl, Labels: cfg.Labels, MaxLine: int(cfg.MaxLine), Stats: stats,
		Choice: journal.Choice{
			Directory: cfg.Directory, Units: discover.UnitNames(cfg.Units), ExcludeUnits: discover.UnitNames(cfg.ExcludeUnits),
			Identifiers: cfg.Identifiers, Priority: cfg.MaxPriority(), Matches: cfg.Matches,
		},
	}
	target := cfg.Target(hostname, time.Now())
	deps := a.newPool("journal", func(string) {}, map[source.Mode]source.Opener{source.Stream: opener})
	deps.Streams, deps.Pollers = 1, 1
	p := pool.New(deps)
	a.journalMetrics(p, stats)
	a.monitors = append(a.monitors, monitor{
		name: journalMonitor, owner: "journal",
		start: func(scope *task.Scope) {
			p.Ready(scope)
			scope.Go("pool", p.Run)
			p.Apply([]source.Target{target})
		},
		rest:        func() {},
		reconfigure: func() {}, // none of its settings changes
		close:       p.Close,
	})
	a.reports = append(a.reports, func() {
		status, reason := health.Healthy, p.Figures().Failure
		if reason != "" {
			status = health.Degraded
		}
		a.board.Set(journalMonitor, status, reason)
	})
}

func (a *agent) journalMetrics(p *pool.Pool, stats *journal.Stats) {
	following := func() int { return p.Figures().Slots }
	a.books.tasks = append(a.books.tasks, func(formula map[string]int) {
		if a.books.isRunning(journalMonitor) {
			formula[journalScope+"/pool"] = 1
			formula[journalScope+"/readers/poll"] = 1
			formula[journalScope+"/readers/stream"] = following()
		}
	})
	a.books.accounts = append(a.books.accounts, func() []census.Entry {
		return []census.Entry{
			{Owner: journalScope + "/readers", Kind: census.Child, Account: &stats.Children, Expected: following},
			{Owner: journalScope + "/pool", Kind: census.Reader, Count: func() int { return p.Figures().Jobs }, Expected: func() int { return p.Figures().Wanted }},
			{Owner: journalScope + "/pool", Kind: census.Ticker, Account: &p.Tickers, Expected: exactly(1)},
		}
	})
	a.truncated = append(a.truncated, tally{"journal", stats.Truncated.Load})
	a.one(counter, "journal_restarts_total", "journalctls that ended by themselves; each was started again behind the last entry that was read.", func() float64 { return float64(stats.Ended.Load()) })
	a.one(counter, "journal_entries_silent_total", "Entries of the journal without a message; they are left out.", func() float64 { return float64(stats.Silent.Load()) })
	a.one(counter, "journal_bytes_invalid_total", "Bytes of the journal's messages that are no text, and stand as \\xNN.", func() float64 { return float64(stats.Invalid.Load()) })
}
