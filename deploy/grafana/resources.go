package grafana

func resources() Dashboard {
	return Dashboard{
		UID: "log-capturer-resources", Title: "log_capturer / Resources",
		Description: "What the agent itself uses, and who in it.",
		sections: []section{
			{"Now", []row{{4, []panel{
				{kind: stat, width: 4, title: "Goroutines", unit: "none", help: "Of all agents.", queries: []query{{`sum(log_capturer_goroutines{@i})`, ""}}},
				{kind: stat, width: 4, title: "Beyond the formula", unit: "none", help: "The largest difference between the goroutines there are and those that the formula expects.", queries: []query{{`max(log_capturer_goroutines{@i} - log_capturer_goroutines_expected{@i})`, ""}}, steps: []float64{20, 50}},
				{kind: stat, width: 4, title: "Without an owner", unit: "none", help: "Goroutines that neither are tasks nor belong to an open connection: the runtime's, and such as live for moments. It does not grow.", queries: []query{{`max(log_capturer_task_unowned_goroutines{@i})`, ""}}},
				{kind: stat, width: 4, title: "Descriptors", unit: "percentunit", help: "The largest share of the limit of open descriptors.", queries: []query{{`max(process_open_fds{@i} / process_max_fds{@i})`, ""}}, steps: []float64{0.2, 0.8}},
				{kind: stat, width: 4, title: "Memory", unit: "bytes", help: "Resident memory of all agents.", queries: []query{{`sum(process_resident_memory_bytes{@i})`, ""}}},
				{kind: stat, width: 4, title: "Processor", unit: "percentunit", help: "Of all agents; 100 % is one core.", queries: []query{{`sum(rate(process_cpu_seconds_total{@i}[@r]))`, ""}}},
			}}}},
			{"Goroutines", []row{
				{8, []panel{
					{kind: lines, width: 12, title: "By owner", unit: "none", stack: true, help: "All goroutines, those of libraries too, by who started them.", queries: []query{{`sum by (owner) (log_capturer_owner_goroutines{@i})`, "{{owner}}"}}},
					{kind: lines, width: 12, title: "There are, and expected", unit: "none", help: "Load raises both; a leak raises the first alone.", queries: []query{{`log_capturer_goroutines{@i}`, "{{instance}}"}, {`log_capturer_goroutines_expected{@i}`, "{{instance}} expected"}}},
				}},
				{8, []panel{
					{kind: lines, width: 12, title: "Tasks by owner", unit: "none", stack: true, help: "Goroutines that the agent's own scopes started.", queries: []query{{`sum by (owner) (log_capturer_task_goroutines{@i})`, "{{owner}}"}}},
					{kind: lines, width: 12, title: "Without an owner", unit: "none", help: "It does not grow.", queries: []query{{`log_capturer_task_unowned_goroutines{@i}`, "{{instance}}"}}},
				}},
			}},
			{"Descriptors and what else is held", []row{{8, []panel{
				{kind: lines, width: 8, title: "Descriptors by kind", unit: "none", stack: true, help: "Open descriptors by what they are.", queries: []query{{`sum by (kind) (log_capturer_descriptors{@i})`, "{{kind}}"}}},
				{kind: lines, width: 8, title: "Share of the limit", unit: "percentunit", help: "Open descriptors of those that the process may have.", queries: []query{{`process_open_fds{@i} / process_max_fds{@i}`, "{{instance}}"}}, steps: []float64{0.2, 0.8}},
				{kind: lines, width: 8, title: "Held, by owner and kind", unit: "none", stack: true, help: "What is in the register: streams, files, connections, tickers.", queries: []query{{`sum by (owner, kind) (log_capturer_held{@i})`, "{{owner}} {{kind}}"}}},
			}}}},
			{"Memory and processor", []row{
				{8, []panel{
					{kind: lines, width: 8, title: "Memory", unit: "bytes", help: "Resident; what the Go runtime holds of it; and batches in flight, which dispatcher.memory limits.", queries: []query{{`process_resident_memory_bytes{@i}`, "{{instance}} resident"}, {`log_capturer_memory_usage_bytes{@i}`, "{{instance}} runtime"}, {`log_capturer_arena_bytes{@i}`, "{{instance}} batches"}}},
					{kind: lines, width: 8, title: "Live heap", unit: "bytes", help: "What was reachable when the last collection ended.", queries: []query{{`log_capturer_heap_live_bytes{@i}`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Processor", unit: "percentunit", help: "100 % is one core.", queries: []query{{`rate(process_cpu_seconds_total{@i}[@r])`, "{{instance}}"}}},
				}},
				{8, []panel{
					{kind: lines, width: 8, title: "Garbage collections", unit: "cpm", help: "A minute. One every two minutes is the least.", queries: []query{{`60 * rate(go_gc_duration_seconds_count{@i}[@r])`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Longest pause", unit: "s", help: "The longest pause of a collection that is remembered.", queries: []query{{`max by (instance) (go_gc_duration_seconds{@i})`, "{{instance}}"}}},
					{kind: lines, width: 8, title: "Allocation", unit: "Bps", help: "Bytes allocated on the heap, a second. It does not depend on the number of lines.", queries: []query{{`rate(go_memstats_alloc_bytes_total{@i}[@r])`, "{{instance}}"}}},
				}},
			}},
		},
	}
}

func leakWatch() Dashboard {
	growth := func(what string) []query {
		return []query{{`log_capturer_leak_growth_per_minute{@i,what="` + what + `"}`, "{{instance}}"}}
	}
	return Dashboard{
		UID: "log-capturer-leak", Title: "log_capturer / Leak watch",
		Description: "What the leak watch sees: trends beyond what load explains, who grows, and its alarms.",
		sections: []section{
			{"Now", []row{{4, []panel{
				{kind: stat, width: 6, title: "Alarms", unit: "none", help: "In the time shown. The health of the component has the owner and the stack; log_capturer diagnose has the rest.", queries: []query{{`sum(increase(log_capturer_leak_alarms_total{@i}[$__range])) or vector(0)`, ""}}, steps: []float64{1}},
				{kind: stat, width: 6, title: "Not closed", unit: "none", help: "What the garbage collector found that nobody had closed. Each is a bug; it stays 0.", queries: []query{{`sum(log_capturer_unclosed_total{@i}) or vector(0)`, ""}}, steps: []float64{1}},
				{kind: stat, width: 6, title: "Goroutines, growth a minute", unit: "none", help: "The largest trend of any agent; 2 a minute is the alarm.", queries: []query{{`max(log_capturer_leak_growth_per_minute{@i,what="goroutines"})`, ""}}, steps: []float64{1, 2}},
				{kind: stat, width: 6, title: "Verdict", unit: "none", help: "The leak watch's: healthy, degraded by an alarm, unhealthy when that goes on.", queries: []query{{`max(log_capturer_health_status{@i,component="leak_watch"})`, ""}}, steps: []float64{1, 2}, names: states},
			}}}},
			{"Growth", []row{{8, []panel{
				{kind: lines, width: 8, title: "Goroutines", unit: "cpm", help: "Trend of the goroutines, a minute.", queries: growth("goroutines"), steps: []float64{1, 2}},
				{kind: lines, width: 8, title: "Descriptors", unit: "cpm", help: "Trend of the descriptors, a minute.", queries: growth("descriptors"), steps: []float64{1, 2}},
				{kind: lines, width: 8, title: "Live heap", unit: "bytes", help: "Trend of the live heap, in bytes a minute.", queries: growth("heap_bytes")},
			}}}},
			{"Who", []row{
				{8, []panel{
					{kind: lines, width: 8, title: "Goroutines beyond the formula", unit: "none", help: "There are, less expected. Level: fine, whatever the level. Climbing: a leak.", queries: []query{{`log_capturer_goroutines{@i} - log_capturer_goroutines_expected{@i}`, "{{instance}}"}}},
					{kind: bars, width: 8, title: "Owners that grew most", unit: "none", help: "Change of each owner's goroutines within half an hour: the ten largest.", queries: []query{{`topk(10, sum by (instance, owner) (delta(log_capturer_owner_goroutines{@i}[30m])))`, "{{instance}} {{owner}}"}}},
					{kind: bars, width: 8, title: "Holders that grew most", unit: "none", help: "Change of what each owner holds within half an hour: the ten largest.", queries: []query{{`topk(10, sum by (instance, owner, kind) (delta(log_capturer_held{@i}[30m])))`, "{{instance}} {{owner}} {{kind}}"}}},
				}},
				{8, []panel{
					{kind: lines, width: 8, title: "Descriptors of the limit", unit: "percentunit", help: "From 20 % on the leak watch asks who holds them.", queries: []query{{`process_open_fds{@i} / process_max_fds{@i}`, "{{instance}}"}}, steps: []float64{0.2, 0.8}},
					{kind: lines, width: 8, title: "Not closed", unit: "none", help: "By kind, since each agent's start.", queries: []query{{`sum by (instance, kind) (log_capturer_unclosed_total{@i})`, "{{instance}} {{kind}}"}}, steps: []float64{1}},
					{kind: lines, width: 8, title: "Alarms", unit: "none", help: "By component, since each agent's start.", queries: []query{{`sum by (instance, component) (log_capturer_leak_alarms_total{@i})`, "{{instance}} {{component}}"}}, steps: []float64{1}},
				}},
			}},
			{"Verdict", []row{{6, []panel{
				{kind: timeline, width: 24, title: "Verdict of each agent", unit: "none", help: "An alarm of the leak watch turns it yellow; red, when it goes on. log_capturer health has the owner and the stack.", queries: []query{{`max by (instance) (log_capturer_health_status{@i,component="leak_watch"})`, "{{instance}}"}}, steps: []float64{1, 2}, names: states},
			}}}},
		},
	}
}
