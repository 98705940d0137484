package grafana

func streams() Dashboard {
	return Dashboard{
		UID: "log-capturer-streams", Title: "log_capturer / Container streams",
		Description: "How containers are read: json-files, streams that are replaced, polls; and what went wrong.",
		sections: []section{
			{"Now", []row{{4, []panel{
				{kind: stat, width: 4, title: "Containers", unit: "none", help: "Containers that are captured now.", queries: []query{{`sum(log_capturer_containers_monitored{@i})`, ""}}},
				{kind: stat, width: 4, title: "Open streams", unit: "none", help: "Containers that are followed through the Engine API.", queries: []query{{`sum(log_capturer_container_streams_active{@i,mode="stream"})`, ""}}},
				{kind: stat, width: 4, title: "Pool in use", unit: "percentunit", help: "The fullest pool: share of streams.max that is in use. At 100 % the quieter containers are polled.", queries: []query{{`max(log_capturer_container_stream_pool_utilization{@i})`, ""}}, steps: []float64{0.8, 1}},
				{kind: stat, width: 4, title: "Fallen back", unit: "none", help: "Containers whose json-file cannot be read any more, and that are read through the Engine API.", queries: []query{{`sum(log_capturer_containers_fallen_back{@i})`, ""}}, steps: []float64{1}},
				{kind: stat, width: 4, title: "Left out", unit: "none", help: "Containers that are there and not captured: excluded, disabled by label, the agent's own, or without a log.", queries: []query{{`sum(log_capturer_containers_skipped{@i}) or vector(0)`, ""}}},
				{kind: stat, width: 4, title: "Disk space held", unit: "bytes", help: "Space that only the agent's descriptors of removed json-files keep.", queries: []query{{`sum(log_capturer_container_held_bytes{@i})`, ""}}, steps: []float64{100 << 20, 500 << 20}},
			}}}},
			{"Streams", []row{
				{8, []panel{
					{kind: lines, width: 8, title: "Containers by mode", unit: "none", stack: true, help: "How containers are read now.", queries: []query{{`sum by (mode) (log_capturer_container_streams_active{@i})`, "{{mode}}"}}},
					{kind: lines, width: 8, title: "Pool utilisation", unit: "percentunit", max: 1, help: "Share of streams.max that is in use.", queries: []query{{`log_capturer_container_stream_pool_utilization{@i}`, "{{instance}}"}}, steps: []float64{0.8, 1}},
					{kind: lines, width: 8, title: "Rotations", unit: "cpm", help: "Streams that were replaced by a successor, a minute. Expected: open streams divided by rotation_interval.", queries: []query{{`60 * sum by (instance) (rate(log_capturer_container_stream_rotations_total{@i}[@r]))`, "{{instance}}"}}},
				}},
				{8, []panel{
					{kind: lines, width: 8, title: "Age of streams at their end", unit: "s", help: "Quantiles over the streams that were closed. With rotation they stay near rotation_interval.", queries: []query{
						{`histogram_quantile(0.5, sum by (le) (rate(log_capturer_container_stream_age_seconds_bucket{@i}[@r])))`, "half"},
						{`histogram_quantile(0.9, sum by (le) (rate(log_capturer_container_stream_age_seconds_bucket{@i}[@r])))`, "90 %"},
						{`histogram_quantile(0.99, sum by (le) (rate(log_capturer_container_stream_age_seconds_bucket{@i}[@r])))`, "99 %"},
					}},
					{kind: lines, width: 8, title: "Evictions", unit: "cpm", help: "Streams that were ended for another container, a minute: their own said nothing (idle), or less (volume).", queries: []query{{`60 * sum by (reason) (rate(log_capturer_container_stream_evictions_total{@i}[@r]))`, "{{reason}}"}}},
					{kind: lines, width: 8, title: "Opens", unit: "cps", help: "Logs opened through the Engine API, a second: all of them, those that are not followed, and those for which the engine had to search its log from the start, which is dear.", queries: []query{
						{`sum(rate(log_capturer_container_stream_opens_total{@i}[@r]))`, "all"},
						{`sum(rate(log_capturer_container_polls_total{@i}[@r]))`, "polls"},
						{`sum(rate(log_capturer_container_log_searches_total{@i}[@r]))`, "searches"},
					}},
				}},
			}},
			{"What went wrong", []row{
				{8, []panel{
					{kind: lines, width: 8, title: "Errors", unit: "cpm", help: "Streams that broke or could not be opened, a minute, by reason.", queries: []query{{`60 * sum by (reason) (rate(log_capturer_container_stream_errors_total{@i}[@r]))`, "{{reason}}"}}},
					{kind: lines, width: 8, title: "Lost before they could be read", unit: "short", help: "Lines lost in five minutes, by reason; 1 for each time where it is not known how many. docs/container-capture.md explains the reasons.", queries: []query{{`sum by (reason) (increase(log_capturer_lines_upstream_lost_total{@i}[5m]))`, "{{reason}}"}}, steps: []float64{1}},
					{kind: lines, width: 8, title: "Repeats that were recognised", unit: "cps", help: "Records that came again when a log was reopened, and were dropped; no harm.", queries: []query{{`sum by (instance) (rate(log_capturer_container_stream_repeats_total{@i}[@r]))`, "{{instance}}"}}},
				}},
				{8, []panel{
					{kind: lines, width: 8, title: "Rotated files that are held", unit: "none", help: "json-files that were rotated away and are held open until they are read. They grow while a sink does not take their lines.", queries: []query{{`log_capturer_container_held_files{@i}`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Disk space that is held", unit: "bytes", help: "Past the limit the oldest is let go and its lines are lost.", queries: []query{{`log_capturer_container_held_bytes{@i}`, "{{instance}}"}, {`log_capturer_container_held_max_bytes{@i}`, "{{instance}} limit"}}},
					{kind: lines, width: 8, title: "Lines cut", unit: "cpm", help: "Lines longer than max_line, a minute.", queries: []query{{`60 * sum by (reader) (rate(log_capturer_lines_truncated_total{@i}[@r]))`, "{{reader}}"}}},
				}},
			}},
		},
	}
}
