package app

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/ledger/census"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/pool"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/dockerapi"
	"github.com/logcapturer/log_capturer/internal/source/file"
	"github.com/logcapturer/log_capturer/internal/source/jsonfile"
	"github.com/logcapturer/log_capturer/internal/tail"
)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// one is a metric with a single value, asked for at each scrape.
func (a *agent) one(kind prometheus.ValueType, name, help string, value func() float64) {
	a.metrics.Func(kind, name, help, nil, func() []metrics.Sample { return []metrics.Sample{{Value: value()}} })
}

// perSink is a metric with one value a sink.
func (a *agent) perSink(kind prometheus.ValueType, name, help string, value func(*dispatch.Lane) float64) {
	a.metrics.Func(kind, name, help, []string{"sink"}, func() []metrics.Sample {
		var out []metrics.Sample
		for _, l := range a.dispatcher.Lanes() {
			out = append(out, metrics.Sample{Labels: []string{l.Name()}, Value: value(l)})
		}
		return out
	})
}

// registerMetrics adds what is asked of the parts at each scrape.
func (a *agent) registerMetrics() {
	a.perSink(gauge, "sink_queue_bytes", "Memory of the batches that wait for the sink or are being sent.", func(l *dispatch.Lane) float64 { return float64(l.Stats().MemoryBytes) })
	a.perSink(gauge, "sink_spool_bytes", "Size of the sink's spool on disk.", func(l *dispatch.Lane) float64 { return float64(l.Stats().SpoolBytes) })
	a.perSink(gauge, "sink_spool_max_bytes", "The most that the sink's spool takes on disk: dispatcher.spool.max_bytes.", func(l *dispatch.Lane) float64 { return float64(l.SpoolMax()) })
	a.one(counter, "watch_overflows_total", "Times that inotify lost events, since more came than were read; every log is looked at then.", func() float64 {
		if a.watcher == nil {
			return 0
		}
		return float64(a.watcher.Overflows.Load())
	})
	a.perSink(gauge, "lines_in_flight", "Lines in memory that the sink has not accepted.", func(l *dispatch.Lane) float64 { return float64(l.Stats().MemoryLines) })
	a.perSink(gauge, "lines_spooled", "Lines in the sink's spool that it has not accepted.", func(l *dispatch.Lane) float64 { return float64(l.Stats().SpoolLines) })
	a.perSink(gauge, "sink_lag_seconds", "Age of the oldest entry that the sink has not accepted; 0 when there is none.", func(l *dispatch.Lane) float64 {
		oldest := l.Stats().Oldest
		if oldest.IsZero() {
			return 0
		}
		return max(0, time.Since(oldest).Seconds())
	})
	a.perSink(gauge, "sink_up", "1 when the last delivery that was tried worked, 0 while it is tried again.", func(l *dispatch.Lane) float64 {
		if l.Up() {
			return 1
		}
		return 0
	})
	a.perSink(counter, "lines_restored_total", "Lines that were in the spool when the agent started: accounted for as read by an earlier life.", func(l *dispatch.Lane) float64 { return float64(l.Restored()) })
	a.perSink(counter, "lines_absent_total", "Lines that were read while the sink was not configured: before it was added to the running agent.", func(l *dispatch.Lane) float64 { return float64(l.Missed()) })
	a.perSink(counter, "spool_lost_lines_total", "Lines in the spool that were found damaged.", func(l *dispatch.Lane) float64 { return float64(l.Stats().Damage.LostLines) })
	a.deadMetrics()
	a.reloadMetrics()
	a.canaryMetrics()
	a.one(gauge, "goroutines", "Goroutines of the process.", func() float64 { return float64(runtime.NumGoroutine()) })
	a.one(gauge, "task_unowned_goroutines", "Goroutines that neither a task is nor an open connection needs: the runtime's, and such as live for moments. It does not grow.", func() float64 {
		total, expected := a.books.Goroutines()
		for _, n := range a.books.Expected() {
			expected -= n
		}
		for _, n := range a.root.Census() {
			expected += n
		}
		return float64(total - expected)
	})
	a.metrics.Func(gauge, "task_goroutines", "Goroutines by owner.", []string{"owner"}, func() []metrics.Sample {
		var out []metrics.Sample
		for owner, n := range a.root.Census() {
			out = append(out, metrics.Sample{Labels: []string{owner}, Value: float64(n)})
		}
		return out
	})
	a.one(counter, "panics_total", "Panics that were recovered; each is a bug.", func() float64 { return float64(a.root.Panics()) })
	a.one(gauge, "memory_usage_bytes", "Memory that the Go runtime holds from the system.", func() float64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.Sys - m.HeapReleased)
	})
	a.one(gauge, "arena_bytes", "Memory of all batches in flight, of dispatcher.memory.", func() float64 { return float64(a.arena.Used()) })
	a.ledgerMetrics()
	a.leakMetrics()
	a.metrics.Func(counter, "lines_truncated_total", "Lines cut at max_line.", []string{"reader"}, labelled(&a.truncated))
}

// deadMetrics adds the figures of the dead letters, of sinks that are not configured any
// more too.
func (a *agent) deadMetrics() {
	perBox := func(kind prometheus.ValueType, name, help, label string, values func(b *office.Box) map[string]int64) {
		labels := []string{"sink"}
		if label != "" {
			labels = append(labels, label)
		}
		a.metrics.Func(kind, name, help, labels, func() []metrics.Sample {
			var out []metrics.Sample
			for _, b := range a.office.Boxes() {
				for value, n := range values(b) {
					out = append(out, metrics.Sample{Labels: []string{b.Name, value}[:len(labels)], Value: float64(n)})
				}
			}
			return out
		})
	}
	perBox(gauge, "deadletter_bytes", "Size of the sink's dead letters on disk.", "", func(b *office.Box) map[string]int64 {
		return map[string]int64{"": b.Letters.Stats().Bytes}
	})
	perBox(gauge, "deadletter_lines", "The sink's dead letters on disk.", "", func(b *office.Box) map[string]int64 {
		return map[string]int64{"": b.Letters.Stats().Lines}
	})
	perBox(counter, "deadletter_removed_total", "Dead letters that were removed without being delivered: by a cap, or by hand.", "reason", func(b *office.Box) map[string]int64 {
		s := b.Letters.Stats()
		return map[string]int64{deadletter.ReasonFull: s.Dropped, deadletter.ReasonExpired: s.Expired, "purged": b.Counts().Purged}
	})
	perBox(counter, "deadletter_replayed_total", "Dead letters that were sent again, by what the sink said.", "result", func(b *office.Box) map[string]int64 {
		c := b.Counts()
		return map[string]int64{"accepted": c.Accepted, "refused": c.Refused}
	})
}

// tally is a value with a label, asked for at each scrape.
type tally struct {
	label string
	value func() int64
}

// labelled sums tallies by their label.
func labelled(tallies *[]tally) func() []metrics.Sample {
	return func() []metrics.Sample {
		sums := map[string]float64{}
		for _, t := range *tallies {
			sums[t.label] += float64(t.value())
		}
		var out []metrics.Sample
		for label, sum := range sums {
			out = append(out, metrics.Sample{Labels: []string{label}, Value: sum})
		}
		return out
	}
}

// containerParts are what the figures of the container monitor are asked of.
type containerParts struct {
	found   *discover.Containers
	engine  *docker.Client
	pool    *pool.Pool
	files   *jsonfile.Stats
	streams *dockerapi.Stats
	keeper  keeper
	early   *tail.Early // nil: nothing is caught before it is announced
}

// accounts are what the container monitor holds.
func (c containerParts) accounts() []census.Entry {
	const readers, discovery = containersScope + "/readers", containersScope + "/discover"
	streams := func() int { return 2*c.pool.Figures().Slots + pool.Pollers } // one more each while it is replaced
	files := func() int {
		n := c.pool.Figures().Open
		if c.early != nil {
			n += c.early.Held()
		}
		return n
	}
	calls := func() int { return int(c.engine.OpenStreams()) + docker.IdleConns + pool.Pollers }
	return []census.Entry{
		{Owner: readers, Kind: census.JSONFile, Account: &c.files.Descriptors, Expected: files},
		{Owner: containersScope + "/pool", Kind: census.Reader, Count: func() int { return c.pool.Figures().Jobs }, Expected: func() int { return c.pool.Figures().Wanted }},
		{Owner: readers, Kind: census.EngineStream, Account: &c.engine.LogStreams, Expected: streams, Endpoint: c.engine.Host()},
		{Owner: discovery, Kind: census.EngineStream, Account: &c.engine.EventStreams, Expected: exactly(1), Endpoint: c.engine.Host()},
		{Owner: containersScope, Kind: census.Connection, Account: &c.engine.Connections, Expected: calls, Endpoint: c.engine.Host()},
		{Owner: containersScope + "/pool", Kind: census.Ticker, Account: &c.pool.Tickers, Expected: exactly(1)},
		{Owner: containersScope + "/keeper", Kind: census.Ticker, Account: c.keeper.tickers, Expected: exactly(1)},
	}
}

func (a *agent) containerMetrics(c containerParts) {
	a.one(gauge, "containers_monitored", "Containers that are captured now.", func() float64 {
		n := 0
		for _, count := range c.pool.Figures().Targets {
			n += count
		}
		return float64(n)
	})
	a.metrics.Func(gauge, "container_streams_active", "Containers by how they are read now.", []string{"mode"}, func() []metrics.Sample {
		var out []metrics.Sample
		targets := c.pool.Figures().Targets
		for _, mode := range []source.Mode{source.File, source.Stream, source.Poll} {
			out = append(out, metrics.Sample{Labels: []string{string(mode)}, Value: float64(targets[mode])})
		}
		return out
	})
	a.one(gauge, "container_streams_max", "Follow streams that may be open at the same time: container_monitor.streams.max.", func() float64 { return float64(c.pool.Figures().MaxSlots) })
	a.one(gauge, "container_stream_pool_utilization", "Share of container_streams_max that is in use, 0 to 1.", func() float64 {
		f := c.pool.Figures()
		return float64(f.Slots) / float64(f.MaxSlots)
	})
	a.metrics.Func(counter, "container_stream_evictions_total", "Streams that were ended for another container: its own said nothing (idle), or less (volume).", []string{"reason"}, samples(func() map[string]int64 { return c.pool.Figures().Evictions }))
	a.one(gauge, "containers_fallen_back", "Containers whose json-file cannot be read any more, and that are read through the Engine API.", func() float64 { return float64(c.pool.Figures().Fallen) })
	a.metrics.Func(gauge, "containers_skipped", "Present containers that are not captured, by reason.", []string{"reason"}, func() []metrics.Sample {
		var out []metrics.Sample
		for reason, n := range c.found.Skipped() {
			out = append(out, metrics.Sample{Labels: []string{reason}, Value: float64(n)})
		}
		return out
	})
	a.metrics.Func(counter, "container_stream_errors_total", "Streams that broke or could not be opened, by reason.", []string{"reason"}, samples(c.streams.Errors))
	a.one(counter, "container_stream_rotations_total", "Streams that were replaced by a successor.", func() float64 { return float64(c.streams.Rotations.Load()) })
	a.one(counter, "container_stream_opens_total", "Logs opened through the Engine API: streams, repeats, and polls.", func() float64 { return float64(c.streams.Opens.Load()) })
	a.one(counter, "container_polls_total", "Logs opened through the Engine API that are not followed.", func() float64 { return float64(c.streams.Polls.Load()) })
	a.one(counter, "container_log_searches_total", "Logs for which the engine had to search for a timestamp from the start, because the last records did not reach back far enough.", func() float64 { return float64(c.streams.Full.Load()) })
	a.one(counter, "container_stream_repeats_total", "Records that came again and were dropped.", func() float64 { return float64(c.streams.Repeats.Load()) })
	a.one(counter, "container_stream_late_lines_total", "Lines that the engine had left out of a stream, and that were delivered when it was replaced.", func() float64 { return float64(c.streams.Late.Load()) })
	a.heldMetrics("container", "json-files", c.keeper)
	a.books.accounts = append(a.books.accounts, c.accounts)
	a.truncated = append(a.truncated, tally{"json_file", c.files.Truncated.Load}, tally{"stream", c.streams.Truncated.Load})
}

// samples makes samples of figures by their label.
func samples(figures func() map[string]int64) func() []metrics.Sample {
	return func() []metrics.Sample {
		var out []metrics.Sample
		for label, n := range figures() {
			out = append(out, metrics.Sample{Labels: []string{label}, Value: float64(n)})
		}
		return out
	}
}

func (a *agent) fileMetrics(p *pool.Pool, stats *file.Stats, k keeper) {
	a.heldMetrics("file", "log files", k)
	a.one(gauge, "files_unwatched", "Log files of which nothing tells when they are written to, on network file systems or past the limit of inotify: they are looked at every two seconds.", func() float64 { return float64(p.Figures().Blind) })
	a.one(gauge, "files_open", "Log files that are held open, with their rotated-away generations.", func() float64 { return float64(p.Figures().Open) })
	a.one(gauge, "files_monitored", "Log files that are captured now.", func() float64 { return float64(p.Figures().Targets[source.File]) })
	a.books.accounts = append(a.books.accounts, func() []census.Entry {
		return []census.Entry{
			{Owner: filesScope + "/readers", Kind: census.LogFile, Account: &stats.Descriptors, Expected: func() int { return p.Figures().Open }},
			{Owner: filesScope + "/pool", Kind: census.Reader, Count: func() int { return p.Figures().Jobs }, Expected: func() int { return p.Figures().Wanted }},
			{Owner: filesScope + "/pool", Kind: census.Ticker, Account: &p.Tickers, Expected: exactly(1)},
			{Owner: filesScope + "/keeper", Kind: census.Ticker, Account: k.tickers, Expected: exactly(1)},
		}
	})
	a.truncated = append(a.truncated, tally{"log_file", stats.Truncated.Load})
	for name, c := range map[string]struct {
		help  string
		count *atomic.Int64
	}{
		"file_lines_untimed_total":  {"Lines of log files without the timestamp that was looked for; they have the time at which they were read.", &stats.Untimed},
		"file_lines_foreign_total":  {"Lines of log files that are none of the format of their file; they are taken as they are.", &stats.Foreign},
		"file_bytes_invalid_total":  {"Bytes of log files that are no text, and stand as \\xNN.", &stats.Invalid},
		"file_bytes_left_out_total": {"Bytes of gaps in log files, which are NULs, and were left out.", &stats.NULs},
	} {
		a.one(counter, name, c.help, func() float64 { return float64(c.count.Load()) })
	}
}
