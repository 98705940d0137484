package peer

import "fmt"

// otelcol compresses with gzip and sends what the receiver hands on, as it comes, but that a
// full queue makes the receiver wait: as it comes, lines of a large file are lost there.
func otelcol(bin string, j Job) command { return collector(bin, j, "", "[]", "") }

func otelcolSnappy(bin string, j Job) command {
	return collector(bin, j, ", compression: snappy", "[batch]", "processors: {batch: {}}\n")
}

func collector(bin string, j Job, exporter, pipeline, processors string) command {
	operators := ""
	if j.Records {
		operators = ", operators: [{type: container, format: docker, add_metadata_from_filepath: false}]"
	}
	return command{
		argv: []string{bin, "--config", "file:" + j.config()},
		config: fmt.Sprintf(`receivers: {filelog: {include: %s, start_at: beginning%s}}
%sexporters: {otlphttp: {endpoint: %q, sending_queue: {block_on_overflow: true}%s}}
service:
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines: {logs: {receivers: [filelog], processors: %s, exporters: [otlphttp]}}
`, quoted(j.Logs), operators, processors, "http://"+j.Server, exporter, pipeline),
	}
}
