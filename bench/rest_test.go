package bench

import (
	"bytes"
	"flag"
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

// giveBack is how long the Go runtime takes to give back what the reading of many files took.
const giveBack = time.Minute

// BenchmarkRest shows what the agent costs while nothing is written: memory,
// processor time, goroutines and descriptors, for ten and for two hundred log files, and,
// when this benchmark is asked for by its name, for as many as are captured at most.
func BenchmarkRest(b *testing.B) {
	bin := harness.ShippedAgent(b)
	counts := []int{10, 200}
	if strings.Contains(flag.Lookup("test.bench").Value.String(), "Rest") {
		counts = append(counts, 10_000)
	}
	for _, files := range counts {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			dir := b.TempDir()
			lines := 0
			for i := range files {
				text := Lines(fmt.Sprint(i), 4<<10)
				lines += bytes.Count(text, []byte("\n"))
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), text, 0o600); err != nil {
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
					m.Sum("log_capturer_lines_acked_total") >= float64(lines), fmt.Sprint(m.Sum("log_capturer_lines_acked_total"), " of ", lines)
			})
			if files >= 10_000 {
				<-time.After(giveBack)
			}
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
			b.ReportMetric(m.Sum("process_open_fds"), "descriptors")
			if strings.Contains(agent.Log(), "level=WARN") {
				b.Log(agent.Log())
			}
		})
	}
}
