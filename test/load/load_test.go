package load

import (
	"fmt"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// The most that the agent may take, at 10 lines a second of each container.
const (
	maxCPU = 10.0     // percent of one core
	maxRSS = 64 << 20 // bytes
)

// few is the number of containers that more of them are compared with.
const few = 10

func TestSixtyContainersCostLittleAndLoseNothing(t *testing.T) {
	// Small generations: each container's log rotates several times in this minute.
	t.Log("\n" + manyContainers(t, 60, time.Minute, "100k"))
}

// manyContainers runs n containers of 10 lines a second, captured from their json-files,
// and returns a table. It fails the test when a line is lost or repeated, when the agent
// takes too much, or when it has more goroutines or descriptors than it should.
func manyContainers(t *testing.T, n int, during time.Duration, maxSize string) string {
	t.Helper()
	r := newRig(t)
	r.capture(t, "  read: file")
	o := harness.RunOptions{
		Args:    []string{"-rate", "10", "-sizes", "100:900"},
		LogOpts: map[string]string{"max-size": maxSize, "max-file": "2"},
	}
	r.grow(t, few, o)
	r.reading(t, few)
	at := r.floor(t)
	r.grow(t, n, o)
	r.reading(t, n)

	before := r.usage(t)
	<-time.After(during)
	after := r.usage(t)
	many := r.back(t, at)

	took := after.at.Sub(before.at).Seconds()
	agent := 100 * (after.agentCPU - before.agentCPU) / took
	dockerd := 100 * (after.dockerdCPU - before.dockerdCPU) / took
	if agent > maxCPU {
		t.Errorf("the agent takes %.1f %% of a core, at most %.0f %% is right", agent, maxCPU)
	}
	if after.peak > maxRSS {
		t.Errorf("the agent takes %d MiB, at most %d is right", after.peak>>20, maxRSS>>20)
	}
	r.reading(t, n) // one descriptor for each, no more
	report := r.end(t)
	return table("| containers | seconds | lines | lines/s | lost | repeated | agent CPU, % of a core | dockerd CPU | RSS now, MiB | RSS peak | goroutines at 10 | goroutines | log descriptors | others |",
		fmt.Sprintf("| %d | %.0f | %d | %.0f | %d | %d | %.1f | %.1f | %d | %d | %d | %d | %d | %d |",
			n, took, report.Lines, float64(after.acked-before.acked)/took, report.Lost.N, report.Repeated.N,
			agent, dockerd, after.rss>>20, after.peak>>20, at.goroutines, many.goroutines, many.logs, many.files))
}

// reading waits until the agent reads n containers, and holds one descriptor for each:
// generations that were rotated away have been let go.
func (r *rig) reading(t *testing.T, n int) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, fmt.Sprintf("%d logs open", n), func() (bool, string) {
		u, err := r.measure()
		return err == nil && u.logs == n, fmt.Sprintf("%d, error %v", u.logs, err)
	})
}
