//go:build load

package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// scale is what an agent took with so many containers.
type scale struct {
	containers int
	lines      int64
	cpu        float64 // percent of a core
	rss        float64 // MiB, peak
	goroutines int
}

// TestScale runs the agent on an engine double with up to 5,000 containers, read through
// the Engine API with 50 streams: each writes a line every 5 seconds.
func TestScale(t *testing.T) {
	var rows []scale
	for _, n := range []int{50, 500, 1000, 2000, 3500, 5000} {
		rows = append(rows, measureScale(t, n, or(*during, 30*time.Second)))
	}
	var b strings.Builder
	b.WriteString("| containers | lines | agent CPU, % of a core | RSS peak, MiB | goroutines |\n|---|---|---|---|---|\n")
	for _, s := range rows {
		fmt.Fprintf(&b, "| %d | %d | %.1f | %.0f | %d |\n", s.containers, s.lines, s.cpu, s.rss, s.goroutines)
	}
	first, last := rows[1], rows[len(rows)-1] // the first row has no polls
	if last.goroutines > first.goroutines+4 {
		t.Errorf("%d goroutines with %d containers, %d with %d", last.goroutines, last.containers, first.goroutines, first.containers)
	}
	if perContainer := (last.rss - first.rss) / float64(last.containers-first.containers); perContainer > 0.02 {
		t.Errorf("%.3f MiB for each container, want at most 0.02", perContainer)
	}
	publish(t, "Up to 5,000 containers through the Engine API, 50 streams", b.String())
	if *report != "" {
		if err := os.WriteFile(strings.TrimSuffix(*report, ".md")+"-scale.svg", []byte(plot(rows)), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func measureScale(t *testing.T, n int, during time.Duration) scale {
	t.Helper()
	engine := dockertest.New(t)
	defer engine.Down()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%064x", i+1)
		engine.Create(dockertest.Container{ID: ids[i], Name: fmt.Sprintf("scale-%d", i), Image: "scale", Running: true, Started: time.Now(), Driver: "local"})
	}
	out := filepath.Join(t.TempDir(), "out.log")
	agent := harness.StartShippedAgent(t, fmt.Sprintf(`
container_monitor: {docker_host: %q, exit_events: false, streams: {max: 50}, poll_interval: 10s}
file_monitor: {enabled: false}
sinks: {local_file: {path: %q, format: raw, rotate: {max_bytes: 0, compress: none, keep: 0s}}}
`, engine.Host(), out))
	harness.Eventually(t, 2*time.Minute, "all containers", func() (bool, string) {
		m := agent.Metrics(t).Sum("containers_monitored")
		return int(m) == n, fmt.Sprint(m)
	})
	ledger := harness.NewLedger()
	seq := make([]int64, n)
	write := func(i int) {
		seq[i]++
		now := time.Now()
		text := append(line.Append(nil, line.Plain, fmt.Sprintf("scale-%d", i), seq[i], 150, now), '\n')
		engine.Append(ids[i], dockertest.Record{Time: now.UnixNano(), Data: string(text)})
	}
	spread := func(d time.Duration) { // each container once in five seconds, all through d
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for slot := range int(d / (50 * time.Millisecond)) {
			<-tick.C
			for i := slot % 100; i < n; i += 100 {
				write(i)
			}
		}
	}
	spread(10 * time.Second) // until slots have settled
	pid := agent.PID()
	before, err := harness.CPUSeconds(pid)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	spread(during)
	after, err := harness.CPUSeconds(pid)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began).Seconds()
	_, peak, err := harness.RSS(pid)
	if err != nil {
		t.Fatal(err)
	}
	goroutines, err := agent.Goroutines()
	if err != nil {
		t.Fatal(err)
	}
	for i := range ids {
		ledger.Expect(fmt.Sprintf("scale-%d", i), 1, seq[i])
	}
	r := &rig{agent: agent, out: out}
	r.count(t, ledger)
	agent.Stop(t)
	return scale{n, ledger.Total(), 100 * (after - before) / took, float64(peak) / (1 << 20), goroutines}
}

// plot draws CPU and memory over the number of containers, as SVG.
func plot(rows []scale) string {
	const width, height, left, bottom = 640.0, 300.0, 50.0, 40.0
	last := rows[len(rows)-1]
	var maxCPU, maxRSS float64
	for _, s := range rows {
		maxCPU, maxRSS = max(maxCPU, s.cpu), max(maxRSS, s.rss)
	}
	x := func(s scale) float64 {
		return left + (width-2*left)*float64(s.containers)/float64(last.containers)
	}
	y := func(v, most float64) float64 { return height - bottom - (height-2*bottom)*v/most }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<path d="M%g %gH%gM%g %gV%g" stroke="#888" fill="none"/>`+"\n", left, height-bottom, width-left, left, height-bottom, bottom)
	for _, s := range rows {
		fmt.Fprintf(&b, `<text x="%.0f" y="%g" text-anchor="middle" fill="#555">%d</text>`+"\n", x(s), height-bottom+16, s.containers)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle" fill="#555">containers, one line each in 5 s</text>`+"\n", width/2, height-8)
	for _, curve := range []struct {
		name, colour string
		most         float64
		value        func(scale) float64
		at           float64
	}{
		{fmt.Sprintf("CPU, up to %.0f %% of a core", maxCPU), "#c0392b", maxCPU, func(s scale) float64 { return s.cpu }, 18},
		{fmt.Sprintf("RSS, up to %.0f MiB", maxRSS), "#2471a3", maxRSS, func(s scale) float64 { return s.rss }, 34},
	} {
		var points []string
		for _, s := range rows {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(s), y(curve.value(s), curve.most)))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), curve.colour)
		for _, p := range points {
			at := strings.Split(p, ",")
			fmt.Fprintf(&b, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", at[0], at[1], curve.colour)
		}
		fmt.Fprintf(&b, `<text x="%g" y="%g" fill="%s">%s</text>`+"\n", left+10, curve.at, curve.colour, curve.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
