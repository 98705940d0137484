package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/bench/limit"
	"github.com/logcapturer/log_capturer/bench/null"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/test/harness"
)

// The agent and the limit run on one core, the counting server on the other.
const agentCore, serverCore = 1, 0

func TestMain(m *testing.M) {
	null.Child()
	goleak.VerifyTestMain(m)
}

// BenchmarkAgent runs the shipped agent on one core over one large file that is there
// already, with Loki's defaults, and compares it with what that core can do at best:
// read, split, copy (or unescape) and compress the same bytes, measured just before.
// share_% is by processor time, the agent's start included.
func BenchmarkAgent(b *testing.B) {
	size := Size(b)
	for _, kind := range []struct {
		name    string
		content []byte
		records bool
	}{
		{"plain", Lines("bench", size), false},
		{"jsonfile", JSONFile("bench", size), true},
	} {
		b.Run(kind.name, func(b *testing.B) {
			bin := harness.ShippedAgent(b)
			path := File(b, "bench-json.log", kind.content)
			lines := int64(bytes.Count(kind.content, []byte("\n")))
			mb := float64(len(kind.content)) / 1e6
			var wall, cpu, best time.Duration
			for b.Loop() {
				took, err := limit.Time(agentCore, kind.records, path)
				if err != nil {
					b.Fatal(err)
				}
				best += took
				w, c := runAgent(b, bin, kind.name, path, lines)
				wall, cpu = wall+w, cpu+c
			}
			n := float64(b.N)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(n*mb/wall.Seconds(), "MB/s")
			b.ReportMetric(n*mb/cpu.Seconds(), "MB/cpu-s")
			b.ReportMetric(n*mb/best.Seconds(), "limit_MB/s")
			b.ReportMetric(100*best.Seconds()/cpu.Seconds(), "share_%")
		})
	}
}

// runAgent lets the agent deliver the file and returns wall and processor time.
func runAgent(b *testing.B, bin, kind, path string, lines int64) (wall, cpu time.Duration) {
	b.Helper()
	server, err := null.Start(serverCore)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			b.Error(err)
		}
	}()
	report := func() null.Report {
		r, err := server.Report()
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	monitors := fmt.Sprintf("container_monitor: {enabled: false}\nfile_monitor: {include: [%q]}\n", path)
	if kind == "jsonfile" {
		engine := dockertest.New(b)
		engine.Create(dockertest.Container{ID: strings.Repeat("a", 64), Name: "bench", Image: "bench", Running: true, Created: time.Now(), LogPath: path})
		monitors = fmt.Sprintf("container_monitor: {docker_host: %q, read: file}\nfile_monitor: {enabled: false}\n", engine.Host())
	}
	dir := b.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("data_dir: %s\nserver: {listen: 127.0.0.1:0}\nlog: {level: warn}\ncanary: {enabled: false}\n%ssinks: {loki: {url: %q}}\n", dir, monitors, "http://"+server.Addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("taskset", "-c", strconv.Itoa(agentCore), bin, "run", "-c", config)
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	harness.Eventually(b, 5*time.Minute, "all lines", func() (bool, string) {
		n := report().Lines
		return n >= lines, fmt.Sprintf("%d of %d", n, lines)
	})
	wall = time.Since(began)
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	if r := report(); r.Lines != lines || r.Repeated > 0 || r.Disorder > 0 {
		b.Fatalf("%d lines were sent: %+v", lines, r)
	}
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
