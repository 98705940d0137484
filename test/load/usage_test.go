package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
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
	goroutines, others   int     // others are those that no stream needs
	logs, files          int     // descriptors of the agent: of containers' logs, and all others
	dockerdFiles         int
	streams, rotations   int
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
	u.others = int(m.Sum("task_unowned_goroutines") + m.Sum("task_goroutines") - m.Sum("task_goroutines", `owner="agent/sources/containers/readers/stream"`))
	u.streams = int(m.Sum("container_streams_active", `mode="stream"`))
	u.rotations = int(m.Sum("container_stream_rotations_total"))
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
		u.others = min(u.others, v.others)
		u.files = min(u.files, v.files)
		u.dockerdFiles = min(u.dockerdFiles, v.dockerdFiles)
	}
	return u
}

// growth is how far the floor of a series rose: that of its last third over that of its
// first, where a tenth of the values may be lower: a stream is closed before it is opened
// again. What comes and goes does not count, what stays does.
func growth(series []int) int {
	third := len(series) / 3
	if third == 0 {
		return 0
	}
	floor := func(part []int) int { return slices.Sorted(slices.Values(part))[len(part)/10] }
	return floor(series[len(series)-third:]) - floor(series[:third])
}

// slope is the gradient of a series by least squares, for each minute.
func slope(at []time.Time, series []int) float64 {
	var n, x, y, xx, xy float64
	for i, v := range series {
		m := at[i].Sub(at[0]).Minutes()
		n, x, y, xx, xy = n+1, x+m, y+float64(v), xx+m*m, xy+m*float64(v)
	}
	if d := n*xx - x*x; d != 0 {
		return (n*xy - x*y) / d
	}
	return 0
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
