//go:build load

package load

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/test/harness"
)

// costLine is the size of a line of the cost comparisons, in bytes with its newline.
const costLine = 200

// cheaper is how much less file mode must cost than stream mode.
const cheaper = 4

// compareReads lets a container write size bytes at full speed, unread, then read from
// its json-file, then through a stream, and returns a table, also without what dockerd
// takes to write the log, which is the same in all. No log rotates: a stream would lose lines.
func compareReads(t *testing.T, size int64) string {
	t.Helper()
	var rows []string
	both := map[string]float64{}
	writing := 0.0
	for _, mode := range []string{"none", "file", "stream"} {
		agent, dockerd := costOf(t, mode, size)
		if mode == "none" {
			writing = dockerd
		}
		both[mode] = agent + dockerd
		net, gib := both[mode]-writing, float64(size)/(1<<30)
		rows = append(rows, fmt.Sprintf("| %s | %.2f | %.2f | %.2f | %.2f | %.1f |", mode, agent, dockerd, both[mode], net, net/gib))
	}
	// Without what dockerd spends on writing the log, whoever reads it: that alone is a
	// quarter of all that a stream costs.
	if file, stream := both["file"]-writing, both["stream"]-writing; file*cheaper > stream {
		t.Errorf("reading files costs %.2f s of CPU, streams %.2f s: it should be at most 1/%d", file, stream, cheaper)
	}
	return fmt.Sprintf("CPU seconds for %d MiB of container output, in lines of %d bytes.\n\n", size>>20, costLine) +
		table("| read | agent | dockerd | both | without writing | for each GiB |", rows...)
}

// costOf returns the CPU seconds of agent and dockerd from before the first line to
// after the last was delivered.
func costOf(t *testing.T, mode string, size int64) (agent, dockerd float64) {
	t.Helper()
	r := newRig(t)
	read := mode
	if mode == "none" {
		read = "file\n  exclude: {names: [\"*\"]}"
	}
	r.capture(t, "  read: "+read)
	n := size / costLine
	before := r.usage(t)
	c := r.engine.Run(t, harness.RunOptions{Args: []string{"-n", fmt.Sprint(n), "-size", fmt.Sprint(costLine - 1)}})
	c.Wait(t)
	if mode != "none" {
		ledger := harness.NewLedger()
		ledger.Expect(c.Name, 1, n)
		r.count(t, ledger)
	}
	after := r.usage(t)
	return after.agentCPU - before.agentCPU, after.dockerdCPU - before.dockerdCPU
}

// comparePolls asks dockerd for the end of a log of 1 MB and of one of big bytes, by
// itself and by the agent in poll mode, and returns a table. It fails the test when the
// agent's polls cost more with the larger log.
func comparePolls(t *testing.T, big int64) string {
	t.Helper()
	const recordBytes = 160 // of a line of 80 bytes in a json-file, about
	sizes := []int64{1 << 20, big}
	columns := make([]string, len(sizes))
	cells := map[string][]string{}
	var order []string
	cell := func(row, text string) {
		if cells[row] == nil {
			order = append(order, row)
		}
		cells[row] = append(cells[row], text)
	}
	var polled []float64
	for i, size := range sizes {
		r := newRig(t)
		c := r.engine.Run(t, harness.RunOptions{Args: []string{"-n", fmt.Sprint(size / recordBytes), "-hold"}})
		info := r.wholeLog(t, c, size)
		columns[i] = fmt.Sprintf("%.1f MB", float64(info)/1e6)
		newest := r.newest(t, c)
		for _, q := range []client.ContainerLogsOptions{
			{Tail: "64"}, {Tail: "64", Since: newest}, {Tail: "4096"}, {Since: newest},
		} {
			times := 100
			if q.Tail == "" && size == big {
				times = 2
			}
			cell(strings.TrimSpace(fmt.Sprintf("request %s %s", option("tail", q.Tail), option("since", shortened(q.Since)))), fmt.Sprintf("%.2f", 1000*r.dockerdCost(t, times, c, q)))
		}
		first, cpu := r.agentsPolls(t)
		polled = append(polled, cpu)
		cell("the agent, `read: poll`, to find its place", fmt.Sprintf("%.0f", 1000*first))
		cell("the agent, `read: poll`, each poll", fmt.Sprintf("%.2f", 1000*cpu))
	}
	// A tick of /proc's clock for each poll, or twice as much, is noise.
	if small, large := polled[0], polled[1]; large > 2*small+0.01 {
		t.Errorf("a poll of the large log takes dockerd %.1f ms, of the small one %.1f ms: it must not grow with the log", 1000*large, 1000*small)
	}
	rows := make([]string, 0, len(order))
	for _, row := range order {
		rows = append(rows, fmt.Sprintf("| %s | %s |", row, strings.Join(cells[row], " | ")))
	}
	return "CPU of dockerd for each poll, in ms, by the size of the log.\n\n" +
		table("| | "+strings.Join(columns, " | ")+" |", rows...)
}

func option(name, value string) string {
	if value == "" {
		return ""
	}
	return "`" + name + "=" + value + "`"
}

// shortened stands for a timestamp in a table.
func shortened(since string) string {
	if since == "" {
		return ""
	}
	return "newest"
}

// wholeLog waits until a container's log has stopped growing near size, and returns its size.
func (r *rig) wholeLog(t *testing.T, c *harness.Container, size int64) int64 {
	t.Helper()
	path := c.LogPath(t)
	last := int64(-1)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Minute)
	for {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the log of %s is still growing: %d bytes", c.Name, last)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() == last && last > size/2 {
			return last
		}
		last = info.Size()
	}
}

// newest returns the time of the last line.
func (r *rig) newest(t *testing.T, c *harness.Container) string {
	t.Helper()
	body := r.logs(t, c, client.ContainerLogsOptions{Tail: "1", Timestamps: true})
	stamp, _, ok := strings.Cut(string(body[min(len(body), 8):]), " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || !ok {
		t.Fatalf("the last line of %s is %.100q", c.Name, body)
	}
	return stamp
}

func (r *rig) logs(t *testing.T, c *harness.Container, o client.ContainerLogsOptions) []byte {
	t.Helper()
	o.ShowStdout, o.ShowStderr, o.Timestamps = true, true, true
	res, err := r.engine.Client().ContainerLogs(context.WithoutCancel(t.Context()), c.ID, o)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	body, err := io.ReadAll(res)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// dockerdCost returns dockerd's CPU seconds for one such request.
func (r *rig) dockerdCost(t *testing.T, times int, c *harness.Container, o client.ContainerLogsOptions) float64 {
	t.Helper()
	before, err := harness.CPUSeconds(r.dockerd)
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		r.logs(t, c, o)
	}
	after, err := harness.CPUSeconds(r.dockerd)
	if err != nil {
		t.Fatal(err)
	}
	return (after - before) / float64(times)
}

// agentsPolls returns dockerd's CPU seconds until the agent has found its place in a log
// that it sees for the first time, and then for each poll; all else that it asks for
// included.
func (r *rig) agentsPolls(t *testing.T) (first, each float64) {
	t.Helper()
	const seconds = 30
	start, err := harness.CPUSeconds(r.dockerd)
	if err != nil {
		t.Fatal(err)
	}
	r.capture(t, "  read: poll\n  poll_interval: 1s\n  since: now")
	harness.Eventually(t, 30*time.Second, "a container that is polled", func() (bool, string) {
		n := r.agent.Metrics(t).Sum("container_streams_active", `mode="poll"`)
		return n == 1, fmt.Sprint(n)
	})
	before := r.usage(t)
	for busy, deadline := 1.0, time.Now().Add(5*time.Minute); busy > 0.2; {
		if time.Now().After(deadline) {
			t.Fatalf("dockerd is still busy: %.2f s of CPU in the last 3 s", busy)
		}
		<-time.After(3 * time.Second)
		now := r.usage(t)
		busy, before = now.dockerdCPU-before.dockerdCPU, now
	}
	<-time.After(seconds * time.Second)
	after := r.usage(t)
	polls := after.polls - before.polls
	if polls < seconds/2 {
		t.Fatalf("%d polls in %d s, one a second is right", polls, seconds)
	}
	return before.dockerdCPU - start, (after.dockerdCPU - before.dockerdCPU) / float64(polls)
}
