package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// usage is what the agent and dockerd hold and have used at one moment.
type usage struct {
	at                   time.Time
	agentCPU, dockerdCPU float64 // seconds
	rss, peak            int64   // bytes
	goroutines           int
	logs, files          int // descriptors of the agent: of containers' logs, and all others
	dockerdFiles         int
	polls                int
	acked                int64 // lines
}

func (r *rig) usage(t *testing.T) usage {
	t.Helper()
	u, err := r.measure()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (r *rig) measure() (usage, error) {
	u, pid := usage{at: time.Now()}, r.agent.PID()
	var errs [6]error
	u.agentCPU, errs[0] = harness.CPUSeconds(pid)
	u.dockerdCPU, errs[1] = harness.CPUSeconds(r.dockerd)
	u.rss, u.peak, errs[2] = harness.RSS(pid)
	own, err := harness.FDs(pid)
	errs[3] = err
	for _, target := range own {
		if isLog(target) {
			u.logs++
			continue
		}
		u.files++
	}
	theirs, err := harness.FDs(r.dockerd)
	errs[4] = err
	u.dockerdFiles = len(theirs)
	m, err := r.agent.Scrape()
	errs[5] = err
	u.goroutines = int(m.Sum("log_capturer_goroutines"))
	u.polls = int(m.Sum("container_polls_total"))
	u.acked = int64(m.Sum("lines_acked_total"))
	return u, errors.Join(errs[:]...)
}

// isLog tells the json-file of a container, rotated, deleted or not.
func isLog(target string) bool { return strings.Contains(target, "-json.log") }

// floor is the least of a few usages: what is open for a moment only is not in it.
func (r *rig) floor(t *testing.T) usage {
	t.Helper()
	u := r.usage(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 4 {
		<-tick.C
		v := r.usage(t)
		u.goroutines = min(u.goroutines, v.goroutines)
		u.files = min(u.files, v.files)
		u.dockerdFiles = min(u.dockerdFiles, v.dockerdFiles)
	}
	return u
}

// back waits until the agent has no more goroutines and descriptors, besides those of
// logs, than it had at a floor. What stays is a leak, and told with its owners.
func (r *rig) back(t *testing.T, at usage) (u usage) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, fmt.Sprintf("%d goroutines and %d descriptors as before", at.goroutines, at.files), func() (bool, string) {
		if u = r.usage(t); u.goroutines <= at.goroutines && u.files <= at.files {
			return true, ""
		}
		held, err := r.agent.Resources()
		return false, fmt.Sprintf("%d and %d, %v %+v", u.goroutines, u.files, err, held.Goroutines)
	})
	return u
}

// lastLine returns the largest number of a line of id in a json-file and the
// generation before it.
func lastLine(path, id string) (int64, error) {
	last := int64(0)
	for _, file := range []string{path, path + ".1"} {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("find the last line: %w", err)
		}
		for record := range bytes.Lines(data) {
			var r struct{ Log string }
			if err := json.Unmarshal(record, &r); err != nil {
				return 0, fmt.Errorf("find the last line in %s: %w", file, err)
			}
			if of, seq, err := line.Parse([]byte(strings.TrimSuffix(r.Log, "\n"))); err == nil && of == id {
				last = max(last, seq)
			}
		}
	}
	if last == 0 {
		return 0, fmt.Errorf("find the last line: %s has none of %s", path, id)
	}
	return last, nil
}

// table is a Markdown table.
func table(header string, rows ...string) string {
	columns := strings.Count(header, "|") - 1
	return header + "\n|" + strings.Repeat("---|", columns) + "\n" + strings.Join(rows, "\n") + "\n"
}
