package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/logcapturer/log_capturer/test/harness"
)

// lateTime is how long lines are written for.
const lateTime = 10 * time.Second

// sentMark stands before the time at which a line was written, in ns since the epoch.
const sentMark = "sent="

// taker is a Loki that notes how long each line was on its way.
type taker struct {
	mu   sync.Mutex
	late []time.Duration
}

// ServeHTTP implements http.Handler.
func (k *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now().UnixNano()
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = s2.Decode(nil, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		at := bytes.Index(body, []byte(sentMark))
		if at < 0 {
			break
		}
		body = body[at+len(sentMark):]
		if sent, err := strconv.ParseInt(string(body[:19]), 10, 64); err == nil {
			k.late = append(k.late, time.Duration(now-sent))
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// took returns what the lines took so far, the fastest first.
func (k *taker) took() []time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	sorted := slices.Clone(k.late)
	slices.Sort(sorted)
	return sorted
}

// BenchmarkLatency shows how long a line is on its way from the file to the sink's server
// while one is written every so often, to one file or to each of many, and what that costs.
// With linger=0s it is what the agent itself takes; dispatcher.batch.linger comes on top,
// since a sink gathers lines for so long.
func BenchmarkLatency(b *testing.B) {
	bin := harness.ShippedAgent(b)
	for _, c := range []struct {
		every  time.Duration
		files  int
		linger time.Duration
	}{
		{10 * time.Millisecond, 1, 0}, {50 * time.Millisecond, 1, 0}, {700 * time.Millisecond, 1, 0}, {10 * time.Millisecond, 1, 250 * time.Millisecond},
		{10 * time.Millisecond, 20, 0}, {50 * time.Millisecond, 200, 0},
	} {
		b.Run(fmt.Sprintf("every=%v/files=%d/linger=%v", c.every, c.files, c.linger), func(b *testing.B) {
			dir, loki := b.TempDir(), &taker{}
			server := httptest.NewServer(loki)
			defer server.Close()
			agent, err := harness.NewAgent(bin, b.TempDir(), fmt.Sprintf(
				"container_monitor: {enabled: false}\nfile_monitor: {include: [%q]}\ndispatcher: {batch: {linger: %v}}\nsinks: {loki: {url: %q}}\n",
				filepath.Join(dir, "*.log"), c.linger, server.URL))
			if err != nil {
				b.Fatal(err)
			}
			var files []*os.File
			for i := range c.files {
				f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				files = append(files, f)
			}
			agent.Start(b)
			defer agent.Stop(b)
			harness.Eventually(b, time.Minute, "the files", func() (bool, string) {
				n := agent.Metrics(b).Sum("log_capturer_files_monitored")
				return n == float64(c.files), fmt.Sprint(n)
			})
			var cpu, watched float64
			wrote := 0
			for b.Loop() {
				before, began := agent.Metrics(b).Sum("process_cpu_seconds_total"), time.Now()
				pace := time.NewTicker(c.every)
				for time.Since(began) < lateTime {
					for _, f := range files {
						if _, err := fmt.Fprintf(f, "a line of an application that says something, %s%d\n", sentMark, time.Now().UnixNano()); err != nil {
							b.Fatal(err)
						}
						wrote++
					}
					<-pace.C
				}
				pace.Stop()
				cpu += agent.Metrics(b).Sum("process_cpu_seconds_total") - before
				watched += time.Since(began).Seconds()
			}
			harness.Eventually(b, 10*time.Second, "all lines", func() (bool, string) {
				n := len(loki.took())
				return n >= wrote, fmt.Sprintf("%d of %d", n, wrote)
			})
			took := loki.took()
			at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1000 }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(at(0.5), "p50_ms")
			b.ReportMetric(at(0.99), "p99_ms")
			b.ReportMetric(at(1), "max_ms")
			b.ReportMetric(100*cpu/watched, "cpu_%")
		})
	}
}
