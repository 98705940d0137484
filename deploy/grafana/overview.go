package grafana

func overview() Dashboard {
	return Dashboard{
		UID: "log-capturer-overview", Title: "log_capturer / Overview",
		Description: "What is captured, how much of it, and whether it arrives.",
		sections: []section{
			{"Now", []row{{4, []panel{
				{kind: stat, width: 4, title: "Agents", unit: "none", help: "Agents that Prometheus hears from.", queries: []query{{`count(log_capturer_goroutines{@i})`, ""}}, steps: []float64{1}, less: true},
				{kind: stat, width: 4, title: "Health", unit: "none", help: "The worst state of any component. The panel below says which; log_capturer health says why.", queries: []query{{`max(log_capturer_health_status{@i})`, ""}}, steps: []float64{1, 2}, names: states},
				{kind: stat, width: 4, title: "Sinks that fail", unit: "none", help: "Sinks whose last delivery failed and is tried again.", queries: []query{{`sum(1 - log_capturer_sink_up{@s})`, ""}}, steps: []float64{1}},
				{kind: stat, width: 4, title: "Captured", unit: "none", help: "Containers and log files that are captured now.", queries: []query{{`sum(log_capturer_containers_monitored{@i})`, "containers"}, {`sum(log_capturer_files_monitored{@i})`, "files"}}},
				{kind: stat, width: 4, title: "Lines that wait", unit: "short", help: "Lines in memory and in spools that a sink has not accepted yet.", queries: []query{{`sum(log_capturer_lines_in_flight{@s}) + sum(log_capturer_lines_spooled{@s})`, ""}}},
				{kind: stat, width: 4, title: "Lost and dropped", unit: "short", help: "In the time shown: lines lost before they could be read, and lines given up for a sink (those that are read again left out).", steps: []float64{1}, queries: []query{
					{`sum(increase(log_capturer_lines_upstream_lost_total{@i}[$__range])) or vector(0)`, "lost"},
					{`sum(increase(log_capturer_lines_dropped_total{@s,reason!="read_again"}[$__range])) or vector(0)`, "dropped"},
				}},
			}}}},
			{"How much", []row{
				{8, []panel{
					{kind: lines, width: 8, title: "Lines read", unit: "cps", help: "Lines read and taken over, a second, by agent.", queries: []query{{`sum by (instance) (rate(log_capturer_lines_read_total{@i}[@r]))`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Bytes read", unit: "Bps", help: "Bytes of those lines, a second.", queries: []query{{`sum by (instance) (rate(log_capturer_bytes_read_total{@i}[@r]))`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Lines accepted", unit: "cps", help: "Lines that sinks accepted, a second. Less than what is read for long: the sink does not keep up.", queries: []query{{`sum by (sink) (rate(log_capturer_lines_acked_total{@s}[@r]))`, "{{sink}}"}}},
				}},
				{8, []panel{
					{kind: bars, width: 12, title: "Who says most", unit: "cps", help: "The ten sources with the most lines a second over five minutes.", queries: []query{{`topk(10, sum by (source) (rate(log_capturer_lines_read_total{@i}[5m])))`, "{{source}}"}}},
					{kind: lines, width: 12, title: "Age of the oldest line that waits", unit: "s", help: "How far each sink is behind.", queries: []query{{`max by (instance, sink) (log_capturer_sink_lag_seconds{@s})`, "{{instance}} {{sink}}"}}, steps: []float64{60, 300}},
				}},
			}},
			{"Is it healthy", []row{
				{9, []panel{
					{kind: timeline, width: 14, title: "Health by component", unit: "none", help: "Green: healthy. Yellow: degraded, the agent mends it or lives with it. Red: unhealthy, somebody must act.", queries: []query{{`max by (instance, component) (log_capturer_health_status{@i})`, "{{instance}} {{component}}"}}, steps: []float64{1, 2}, names: states},
					{kind: table, width: 10, title: "Alerts, pending and firing", unit: "none", help: "From deploy/prometheus/rules.yml, where Prometheus has loaded it. No rows: nothing is wrong.", queries: []query{{`max by (alertname, alertstate, severity, instance) (ALERTS{alertname=~"LogCapturer.+",@i})`, ""}}},
				}},
				{7, []panel{
					{kind: lines, width: 8, title: "Processor", unit: "percentunit", help: "Processor time of the agent; 100 % is one core.", queries: []query{{`rate(process_cpu_seconds_total{@i}[@r])`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Memory", unit: "bytes", help: "Resident memory of the agent.", queries: []query{{`process_resident_memory_bytes{@i}`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Uptime", unit: "s", help: "Since the agent was started; a line that falls to 0 is a restart.", queries: []query{{`time() - process_start_time_seconds{@i}`, "{{instance}}"}}},
				}},
			}},
		},
	}
}
