package peer

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/logcapturer/log_capturer/bench/null"
)

// fluentBit sends to Loki, as it comes.
func fluentBit(bin string, j Job) command {
	return fluent(bin, j, "1", "", fmt.Sprintf("{name: loki, match: '*', labels: job=bench, %s}", hostPort(j)))
}

// fluentBitTuned is the fastest that was found by hand.
func fluentBitTuned(bin string, j Job) command {
	return fluent(bin, j, "0.2", ", threaded: on, buffer_chunk_size: 1M, buffer_max_size: 8M, static_batch_size: 50M, mem_buf_limit: 64M",
		fmt.Sprintf("{name: http, match: '*', uri: %s, format: json_lines, workers: 1, %s}", null.PathNDJSON, hostPort(j)))
}

func hostPort(j Job) string {
	host, port, err := net.SplitHostPort(j.Server)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("host: %s, port: %s", host, port)
}

func fluent(bin string, j Job, flush, input, output string) command {
	parsers := ""
	if j.Records {
		parsers = "parsers: [{name: docker, format: json, time_key: time, time_format: '%Y-%m-%dT%H:%M:%S.%L%z'}]\n"
		input += ", parser: docker"
	}
	return command{
		argv: []string{bin, "-c", j.config()},
		config: fmt.Sprintf(`service: {flush: %s, log_level: warn}
%spipeline:
  inputs: [{name: tail, path: %q, read_from_head: on, db: %q%s}]
  outputs: [%s]
`, flush, parsers, strings.Join(j.Logs, ","), filepath.Join(j.Dir, "tail.db"), input, output),
	}
}
