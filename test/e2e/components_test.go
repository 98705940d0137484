package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// turns switches a component of the agent, which must work.
func (w *world) turns(name string, running bool) {
	w.t.Helper()
	token, err := os.ReadFile(filepath.Join(w.agent.Data, "api_token"))
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.agent.URL+"/api/v1/components/"+name, strings.NewReader(fmt.Sprintf(`{"running": %v}`, running)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("switching %s: %s", name, res.Status)
	}
}

// The container monitor is switched off and on every two seconds while containers write:
// nothing is lost or repeated, nothing of it runs while it is off, and nothing is left over.
func TestTheContainerMonitorIsSwitchedUnderLoad(t *testing.T) {
	forEachReaderAtOnce(t, func(t *testing.T, read string) {
		w := newWorld(t, harness.Engine(t), &harness.LokiServer{}) // lines are counted in files, where none hides
		dir := t.TempDir()
		plain, _, _ := strings.Cut(w.config(read, "", ""), "sinks:")
		w.startAgent(plain + fmt.Sprintf("canary: {enabled: false}\nsinks:\n  files: {type: local_file, path: \"%s/{source}.{stream}.log\", format: raw}\n", dir))
		w.ready()
		for range 5 {
			w.container(6_000, harness.RunOptions{Args: []string{"-rate", "500", "-stderr-every", "3"}})
		}
		pace := time.NewTicker(time.Second)
		defer pace.Stop()
		began, switches := time.Now(), 0
		for ; time.Since(began) < 12*time.Second; switches++ {
			<-pace.C
			w.turns("container_monitor", false)
			census, err := w.agent.Resources()
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range census.Goroutines.Owners {
				if o.Component == "container_monitor" && o.Tasks+o.Expected > 0 {
					t.Errorf("switched off, it has %+v", o)
				}
			}
			for _, h := range census.Held {
				if h.Component == "container_monitor" && h.Count > 0 {
					t.Errorf("switched off, it holds %+v", h)
				}
			}
			<-pace.C
			w.turns("container_monitor", true)
		}
		t.Logf("off and on %d times", switches)
		harness.Eventually(t, time.Minute, fmt.Sprintf("%d lines", w.ledger.Total()), func() (bool, string) {
			m, err := w.agent.Scrape()
			if err != nil {
				return false, err.Error()
			}
			acked := m.Sum("log_capturer_lines_acked_total", `sink="files"`)
			return int64(acked) >= w.ledger.Total(), fmt.Sprint(acked)
		})
		w.balanced()
		w.heldAgain()
		w.agent.Stop(t)
		w.exactlyOnceInFiles(dir)
	})
}
