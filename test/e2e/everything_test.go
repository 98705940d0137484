package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// The main job: 20 containers and 5 files, all rotating fast, while the agent, Loki
// and a container restart and a burst of containers lives and dies.
func TestEveryLineReachesLokiOnce(t *testing.T) {
	const lines, restarted = 10_000, 1
	w := newWorld(t, harness.Engine(t), harness.PrivateLoki(t, harness.LokiOptions{}))
	dir := t.TempDir()
	w.startAgent(w.config("auto", "", filepath.Join(dir, "*.log")))

	shapes := [][]string{
		{"-format", "plain"},
		{"-format", "json", "-stderr-every", "7"},
		{"-format", "nginx", "-stderr-every", "50"},
		{"-format", "mixed", "-long-every", "500", "-long-bytes", "40000"},
	}
	rotation := map[string]string{"max-size": "100k", "max-file": "200"}
	var containers []*harness.Container
	for i := range 20 {
		name := fmt.Sprintf("%s-c%d", harnessName(w), i)
		args := append([]string{"-n", fmt.Sprint(lines), "-rate", "200", "-state", "/seq", "-gate", "7500"}, shapes[i%len(shapes)]...)
		containers = append(containers, w.engine.Run(t, harness.RunOptions{
			Name: name, Args: args, LogOpts: rotation, Labels: map[string]string{"e2e": w.run},
		}))
		if i != restarted {
			w.ledger.Expect(name, 1, lines)
		}
	}
	var writers errgroup.Group
	for i := range 5 {
		f := newLogFile(filepath.Join(dir, fmt.Sprintf("file%d.log", i)), 100)
		w.ledger.Expect(f.id(), 1, lines)
		writers.Go(func() error {
			defer f.close()
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range lines / 10 {
				<-tick.C
				if err := f.write(10, 500); err != nil {
					return err
				}
			}
			return nil
		})
	}

	w.reached(0.1)
	containers[restarted].Restart(t) // goes on where its numbers ended
	w.reached(0.2)
	w.burst(50, 20)
	w.reached(0.4)
	w.agent.Stop(t)
	w.agent.Start(t)
	w.reached(0.6)
	for _, c := range containers {
		c.Open(t)
	}
	w.loki.Restart(t)
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}

	for _, c := range containers {
		c.Wait(t)
	}
	w.ledger.Expect(containers[restarted].Name, 1, lastSeq(t, containers[restarted].LogPath(t)))
	w.exactlyOnce(3 * time.Minute)
}

// lastSeq returns the largest number of a line in a json-file.
func lastSeq(t *testing.T, path string) int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	largest := int64(0)
	for record := range bytes.SplitSeq(bytes.TrimSpace(data), []byte("\n")) { // the outputs are not in order
		var r struct{ Log string }
		if err := json.Unmarshal(record, &r); err != nil {
			t.Fatal(err)
		}
		if _, seq, err := line.Parse([]byte(strings.TrimSuffix(r.Log, "\n"))); err == nil {
			largest = max(largest, seq)
		}
	}
	return largest
}

// reached waits until Loki has the given share of what is expected.
func (w *world) reached(share float64) {
	w.t.Helper()
	want := int64(share * float64(w.ledger.Total()))
	harness.Eventually(w.t, 2*time.Minute, fmt.Sprintf("%d lines in Loki", want), func() (bool, string) {
		ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
		defer cancel()
		n, err := w.loki.Count(ctx, w.selector(), w.start, time.Now().Add(time.Minute))
		return err == nil && n >= want, fmt.Sprintf("%d lines, error %v", n, err)
	})
}

// harnessName begins the names of a test's containers.
func harnessName(w *world) string { return fmt.Sprintf("e2e-%x", w.start.UnixNano()&0xffffffff) }
