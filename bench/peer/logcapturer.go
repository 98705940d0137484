package peer

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/logcapturer/log_capturer/bench/null"
)

// logCapturer is told where to read and where to send; all else is as it comes.
func logCapturer(bin string, j Job) command {
	monitors := fmt.Sprintf("container_monitor: {enabled: false}\nfile_monitor: {include: %s}\n", quoted(j.Logs))
	if j.Engine != "" {
		read := "file"
		if j.Stream {
			read = "stream"
		}
		monitors = fmt.Sprintf("container_monitor: {docker_host: %q, read: %s}\nfile_monitor: {enabled: false}\n", j.Engine, read)
	}
	sinks := fmt.Sprintf("sinks:\n  loki: {url: %q}\n", "http://"+j.Server)
	if j.Spool {
		// With one sink files wait for it and need no spool.
		sinks += "  other: {type: local_file, path: '{data_dir}/other.log', format: raw, rotate: {max_bytes: 0}}\n"
	}
	return command{
		argv: []string{bin, "run", "-c", j.config()},
		config: fmt.Sprintf("data_dir: %q\nserver: {listen: %q}\nlog: {level: warn}\n%s%s",
			filepath.Join(j.Dir, "data"), cmp.Or(j.Metrics, "127.0.0.1:0"), monitors, sinks),
	}
}

func promtail(bin string, j Job) command {
	scrape := fmt.Sprintf("  static_configs: [{targets: [localhost], labels: {job: bench, __path__: %q}}]\n", braces(j.Logs))
	switch {
	case j.Stream:
		scrape = fmt.Sprintf("  docker_sd_configs: [{host: %q, refresh_interval: 5s}]\n", j.Engine) +
			"  relabel_configs: [{source_labels: [__meta_docker_container_name], target_label: container}]\n"
	case j.Records:
		scrape += "  pipeline_stages: [{docker: {}}]\n"
	}
	return command{
		argv: []string{bin, "-config.file=" + j.config()},
		config: fmt.Sprintf("server: {disable: true, log_level: warn}\npositions: {filename: %q}\nclients: [{url: %q}]\nscrape_configs:\n- job_name: bench\n%s",
			filepath.Join(j.Dir, "positions.yaml"), "http://"+j.Server+null.PathLoki, scrape),
	}
}

// braces is one glob for several.
func braces(globs []string) string {
	if len(globs) == 1 {
		return globs[0]
	}
	out := "{"
	for i, g := range globs {
		if i > 0 {
			out += ","
		}
		out += g
	}
	return out + "}"
}
