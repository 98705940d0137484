package load

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestStreamsThatTurnEveryTwoSecondsLeaveNothingBehind(t *testing.T) {
	report, _ := soak(t, 50, 2*time.Second, 3*time.Minute, time.Second)
	t.Log("\n" + report)
}

// soak follows n containers by streams that are replaced every rotation, and takes a
// sample every so often. It returns a table and the samples as CSV. It fails the test
// when a line is lost or repeated, when goroutines or descriptors of the agent or of
// dockerd grow, or when they are not what they were once the containers are gone.
func soak(t *testing.T, n int, rotation, during, every time.Duration) (markdown, csv string) {
	t.Helper()
	r := newRig(t)
	r.capture(t, fmt.Sprintf("  read: stream\n  streams: {max: %d, rotation_interval: %s}", n, rotation))
	r.warm(t)
	base := r.floor(t)
	r.grow(t, n, harness.RunOptions{
		Args:    []string{"-rate", "20", "-sizes", "100:400"},
		LogOpts: map[string]string{"max-size": "10m", "max-file": "3"},
	})
	harness.Eventually(t, 30*time.Second, fmt.Sprintf("%d streams", n), func() (bool, string) {
		u, err := r.measure()
		return err == nil && u.streams >= n, fmt.Sprintf("%d, error %v", u.streams, err)
	})

	series := r.sample(t, during, every)
	first, last := series[0], series[len(series)-1]
	if turns, want := last.rotations-first.rotations, int(float64(n)*float64(during)/float64(rotation)/2); turns < want {
		t.Errorf("%d rotations, at least %d are right", turns, want)
	}
	rows := []string{}
	for _, what := range []struct {
		name string
		of   func(u usage) int
		// most is how far the floor may rise: dockerd leaves a descriptor or two of its own to
		// its garbage collector. (One for each rotation, were they leaked, would be hundreds.)
		most int
	}{
		{"goroutines of the agent", func(u usage) int { return u.goroutines }, 3}, // one stream more at that moment
		{"those that no stream needs", func(u usage) int { return u.others }, 0},
		{"descriptors of the agent", func(u usage) int { return u.files + u.logs }, 0},
		{"descriptors of dockerd", func(u usage) int { return u.dockerdFiles }, 2},
		{"RSS of the agent, KiB", func(u usage) int { return int(u.rss >> 10) }, 16 << 10},
	} {
		at, values := make([]time.Time, len(series)), make([]int, len(series))
		for i, u := range series {
			at[i], values[i] = u.at, what.of(u)
		}
		rose := growth(values)
		if rose > what.most {
			t.Errorf("%s: %d more at the end than at the beginning: %s", what.name, rose, around(values))
		}
		rows = append(rows, fmt.Sprintf("| %s | %d | %d | %d | %+d | %+.3f | %d |", what.name, what.of(base), values[0], values[len(values)-1], rose, slope(at, values), 0))
	}

	report := r.end(t)
	r.clear(t)
	harness.Eventually(t, time.Minute, "as many goroutines and descriptors as before the containers", func() (bool, string) {
		u, err := r.measure()
		state := fmt.Sprintf("goroutines %d, were %d; descriptors %d, were %d; of dockerd %d, were %d; error %v",
			u.goroutines, base.goroutines, u.files+u.logs, base.files+base.logs, u.dockerdFiles, base.dockerdFiles, err)
		return err == nil && u.goroutines <= base.goroutines && u.files+u.logs <= base.files+base.logs && u.dockerdFiles <= base.dockerdFiles, state
	})
	final := r.floor(t)
	for i, v := range []int{final.goroutines, final.others, final.files + final.logs, final.dockerdFiles, int(final.rss >> 10)} {
		rows[i] = strings.TrimSuffix(rows[i], "| 0 |") + fmt.Sprintf("| %d |", v)
	}
	markdown = fmt.Sprintf("%d containers, %s, a rotation every %s: %d rotations, %d lines, %d lost, %d repeated.\n\n",
		n, during, rotation, last.rotations-first.rotations, report.Lines, report.Lost.N, report.Repeated.N) +
		table("| | before | at the first sample | at the last | growth of the floor | slope, each minute | containers gone |", rows...)
	return markdown, csvOf(series)
}

// sample takes the floor of the usage every so often, and says on stderr how far it is.
func (r *rig) sample(t *testing.T, during, every time.Duration) []usage {
	t.Helper()
	var series []usage
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, said := time.Now(), time.Now()
	for time.Since(began) < during {
		<-tick.C
		u := r.floor(t)
		series = append(series, u)
		if time.Since(said) > time.Minute {
			said = time.Now()
			fmt.Fprintf(os.Stderr, "%s: %.0f of %.0f min: %d goroutines, %d descriptors, %d of dockerd, %d rotations\n",
				t.Name(), time.Since(began).Minutes(), during.Minutes(), u.goroutines, u.files+u.logs, u.dockerdFiles, u.rotations)
		}
	}
	return series
}

func csvOf(series []usage) string {
	var b strings.Builder
	b.WriteString("seconds,goroutines,descriptors,dockerd_descriptors,rss_bytes,streams,rotations,lines,agent_cpu_seconds,dockerd_cpu_seconds\n")
	for _, u := range series {
		fmt.Fprintf(&b, "%.1f,%d,%d,%d,%d,%d,%d,%d,%.2f,%.2f\n", u.at.Sub(series[0].at).Seconds(), u.goroutines,
			u.files+u.logs, u.dockerdFiles, u.rss, u.streams, u.rotations, u.acked, u.agentCPU, u.dockerdCPU)
	}
	return b.String()
}

// around shows a few values of a series, from its beginning to its end.
func around(values []int) string {
	var b strings.Builder
	for i := range 10 {
		fmt.Fprintf(&b, "%d ", values[i*(len(values)-1)/9])
	}
	return b.String()
}
