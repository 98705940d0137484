package grafana

// books is what each sink's books do not account for: 0 at any quiet moment.
const books = `sum by (instance, sink) ({__name__=~"log_capturer_lines_(acked_total|in_flight|spooled|deadlettered_total|dropped_total|absent_total)",@s})` +
	` - sum by (instance, sink) (log_capturer_lines_restored_total{@s})` +
	` - on (instance) group_left () sum by (instance) (log_capturer_lines_read_total{@i})`

func delivery() Dashboard {
	quantile := func(q string) string {
		return `histogram_quantile(` + q + `, sum by (le, sink) (rate(log_capturer_sink_send_duration_seconds_bucket{@s}[@r])))`
	}
	return Dashboard{
		UID: "log-capturer-delivery", Title: "log_capturer / Delivery",
		Description: "What goes to each sink, what waits, what was refused, and whether the books balance.",
		sections: []section{
			{"Now", []row{{4, []panel{
				{kind: stat, width: 6, title: "Sinks", unit: "none", help: "Whether the last delivery that was tried worked.", queries: []query{{`min by (sink) (log_capturer_sink_up{@s})`, "{{sink}}"}}, steps: []float64{1}, less: true, names: []name{{0, "fails", "red"}, {1, "up", "green"}}},
				{kind: stat, width: 6, title: "Farthest behind", unit: "s", help: "Age of the oldest line that any sink has not accepted.", queries: []query{{`max(log_capturer_sink_lag_seconds{@s})`, ""}}, steps: []float64{60, 300}},
				{kind: stat, width: 6, title: "Lines that wait", unit: "short", help: "In memory and in spools.", queries: []query{{`sum(log_capturer_lines_in_flight{@s})`, "memory"}, {`sum(log_capturer_lines_spooled{@s})`, "spool"}}},
				{kind: stat, width: 6, title: "Dead letters on disk", unit: "short", help: "Entries that sinks refused for good and that nobody has dealt with. log_capturer deadletter ls says why.", queries: []query{{`sum(log_capturer_deadletter_lines{@s})`, ""}}, steps: []float64{1}},
			}}}},
			{"Throughput", []row{
				{8, []panel{
					{kind: lines, width: 8, title: "Lines accepted", unit: "cps", help: "Lines that each sink accepted, a second.", queries: []query{{`sum by (instance, sink) (rate(log_capturer_lines_acked_total{@s}[@r]))`, "{{instance}} {{sink}}"}}},
					{kind: lines, width: 8, title: "Age of the oldest line that waits", unit: "s", help: "A line that climbs by one second a second: nothing gets through.", queries: []query{{`log_capturer_sink_lag_seconds{@s}`, "{{instance}} {{sink}}"}}, steps: []float64{60, 300}},
					{kind: lines, width: 8, title: "Canary", unit: "s", help: "What the agent's own entry took from being sent to being accepted.", queries: []query{{`log_capturer_canary_latency_seconds{@s}`, "{{instance}} {{sink}}"}}},
				}},
				{8, []panel{
					{kind: lines, width: 8, title: "Duration of sends", unit: "s", help: "Quantiles by sink, failed sends too.", queries: []query{{quantile("0.5"), "{{sink}} half"}, {quantile("0.9"), "{{sink}} 90 %"}, {quantile("0.99"), "{{sink}} 99 %"}}},
					{kind: lines, width: 8, title: "Sends", unit: "reqps", help: "Sends to each sink, a second.", queries: []query{{`sum by (sink) (rate(log_capturer_sink_send_duration_seconds_count{@s}[@r]))`, "{{sink}}"}}},
					{kind: lines, width: 8, title: "Retries", unit: "cpm", help: "Sends that failed and were tried again, a minute.", queries: []query{{`60 * sum by (instance, sink) (rate(log_capturer_retries_total{@s}[@r]))`, "{{instance}} {{sink}}"}}},
				}},
			}},
			{"What waits", []row{{8, []panel{
				{kind: lines, width: 8, title: "Queue in memory", unit: "bytes", stack: true, help: "Batches that wait for the sink or are being sent. A sink's share is three quarters of dispatcher.memory, divided by the sinks.", queries: []query{{`log_capturer_sink_queue_bytes{@s}`, "{{instance}} {{sink}}"}}},
				{kind: lines, width: 8, title: "Spool on disk", unit: "bytes", help: "Size of each sink's spool, and the most that it may take.", queries: []query{{`log_capturer_sink_spool_bytes{@s}`, "{{instance}} {{sink}}"}, {`max by (instance) (log_capturer_sink_spool_max_bytes{@s})`, "{{instance}} limit"}}},
				{kind: lines, width: 8, title: "Lines that wait", unit: "short", stack: true, help: "By sink and place.", queries: []query{{`sum by (sink) (log_capturer_lines_in_flight{@s})`, "{{sink}} memory"}, {`sum by (sink) (log_capturer_lines_spooled{@s})`, "{{sink}} spool"}}},
			}}}},
			{"What was refused", []row{{8, []panel{
				{kind: lines, width: 8, title: "New dead letters", unit: "short", help: "Entries refused for good in five minutes, by reason.", queries: []query{{`sum by (sink, reason) (increase(log_capturer_deadletter_entries_total{@s}[5m]))`, "{{sink}} {{reason}}"}}, steps: []float64{1}},
				{kind: lines, width: 8, title: "Dead letters on disk", unit: "bytes", help: "Past dispatcher.dead_letters.max_bytes (256 MiB) the oldest are lost.", queries: []query{{`log_capturer_deadletter_bytes{@s}`, "{{instance}} {{sink}}"}}},
				{kind: lines, width: 8, title: "Dead letters that left", unit: "short", help: "In five minutes: sent again and accepted or refused, purged by hand, or lost at the cap of size or age.", queries: []query{
					{`sum by (sink, result) (increase(log_capturer_deadletter_replayed_total{@s}[5m]))`, "{{sink}} {{result}}"},
					{`sum by (sink, reason) (increase(log_capturer_deadletter_removed_total{@s}[5m]))`, "{{sink}} {{reason}}"},
				}},
			}}}},
			{"The books", []row{{8, []panel{
				{kind: lines, width: 12, title: "Lines that are not accounted for", unit: "short", help: "Accepted, waiting, dead letters, dropped and absent, less restored and read, for each sink. It is 0 at any quiet moment; under load a scrape falls between the counters, and it trembles around 0. What stays away from 0 is a lost line or a bug.", queries: []query{{books, "{{instance}} {{sink}}"}}},
				{kind: lines, width: 12, title: "Lines given up", unit: "short", help: "In five minutes, by reason. read_again is no loss: those lines come again from their source.", queries: []query{{`sum by (sink, reason) (increase(log_capturer_lines_dropped_total{@s}[5m]))`, "{{sink}} {{reason}}"}}},
			}}}},
		},
	}
}
