package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// restTime is how long the quiet agent is watched.
const restTime = 20 * time.Second

// BenchmarkRest shows what the agent costs while nothing is written: memory,
// processor time and goroutines, for ten and for two hundred log files.
func BenchmarkRest(b *testing.B) {
	bin := harness.ShippedAgent(b)
	for _, files := range []int{10, 200} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			dir := b.TempDir()
			for i := range files {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), Lines(fmt.Sprint(i), 4<<10), 0o600); err != nil {
					b.Fatal(err)
				}
			}
			agent, err := harness.NewAgent(bin, b.TempDir(), fmt.Sprintf(
				"container_monitor: {enabled: false}\nfile_monitor: {include: [%q]}\n", filepath.Join(dir, "*.log")))
			if err != nil {
				b.Fatal(err)
			}
			agent.Start(b)
			defer agent.Stop(b)
			harness.Eventually(b, time.Minute, "all files to be read", func() (bool, string) {
				m, err := agent.Scrape()
				if err != nil {
					return false, err.Error()
				}
				return m.Sum("log_capturer_files_monitored") == float64(files) && m.Sum("log_capturer_lines_in_flight") == 0 &&
					m.Sum("log_capturer_lines_acked_total") > 0, "reading"
			})
			var cpu, watched float64
			for b.Loop() {
				before := agent.Metrics(b).Sum("process_cpu_seconds_total")
				began := time.Now()
				<-time.After(restTime)
				cpu += agent.Metrics(b).Sum("process_cpu_seconds_total") - before
				watched += time.Since(began).Seconds()
			}
			m := agent.Metrics(b)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(100*cpu/watched, "cpu_%")
			b.ReportMetric(m.Sum("process_resident_memory_bytes")/(1<<20), "rss_MiB")
			b.ReportMetric(m.Sum("log_capturer_goroutines"), "goroutines")
			b.ReportMetric(m.Sum("log_capturer_descriptors"), "log_files")
			if strings.Contains(agent.Log(), "level=WARN") {
				b.Log(agent.Log())
			}
		})
	}
}
