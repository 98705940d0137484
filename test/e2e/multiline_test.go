package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// traces is a container that writes stack traces among lines that stand alone, on both
// outputs, and what became of them.
type traces struct {
	*harness.Container
	lines   int64
	entries map[string][]int64 // the numbers of the lines of each entry, by what makes it the same one to Loki
}

// With these, lines 48 and 50 to 53 are one entry, and 49 is one on the other output.
const (
	traceEvery  = 12
	traceLines  = 5
	stderrEvery = 7
	between     = 49
)

// want returns the lines of the entry that a line begins, nil if it is in the middle of one.
func (c *traces) want(seq int64) []int64 {
	onTrace := func(seq int64) bool {
		return seq >= traceEvery && seq%traceEvery <= traceLines && seq%stderrEvery != 0
	}
	entry := []int64{seq}
	switch {
	case !onTrace(seq):
		return entry
	case seq%traceEvery != 0:
		for head := seq - 1; onTrace(head) || head%stderrEvery == 0 && head >= traceEvery && head%traceEvery <= traceLines; head-- {
			if onTrace(head) {
				return nil
			}
			if head%traceEvery == 0 {
				break // its first line went to standard error
			}
		}
	}
	for next := seq + 1; next <= c.lines && next/traceEvery == seq/traceEvery && next%traceEvery <= traceLines; next++ {
		if onTrace(next) {
			entry = append(entry, next)
		}
	}
	return entry
}

// read notes the entries in the sink's file; what the agent sent twice because it was
// killed is the same entry, as it is to Loki.
func (c *traces) read(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+c.Name+"*"))
	if err != nil || len(paths) != 1 {
		return fmt.Errorf("files %v, %w", paths, err)
	}
	f, err := os.Open(paths[0])
	if err != nil {
		return err
	}
	defer f.Close()
	c.entries = map[string][]int64{}
	dec := json.NewDecoder(f)
	for {
		var e struct {
			Time   string
			Labels map[string]string
			Line   string
		}
		if err := dec.Decode(&e); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		if e.Labels["stream"] == "event" {
			continue
		}
		var seqs []int64
		for text := range strings.SplitSeq(e.Line, "\n") {
			_, seq, err := line.Parse([]byte(text))
			if err != nil {
				return fmt.Errorf("%q: %w", text, err)
			}
			seqs = append(seqs, seq)
		}
		c.entries[e.Time+e.Labels["stream"]+e.Line] = seqs
	}
}

// check tells what is wrong with the entries, "" if each is there once and nothing else.
func (c *traces) check() string {
	first := map[int64]int{}
	for _, seqs := range c.entries {
		if !slices.Equal(seqs, c.want(seqs[0])) {
			return fmt.Sprintf("%s: an entry has the lines %v, want %v", c.Name, seqs, c.want(seqs[0]))
		}
		first[seqs[0]]++
	}
	for seq := int64(1); seq <= c.lines; seq++ {
		if c.want(seq) != nil && first[seq] != 1 {
			return fmt.Sprintf("%s: the entry of line %d is there %d times", c.Name, seq, first[seq])
		}
	}
	return ""
}

// Stack traces of containers are one entry each, whichever way they are read, while other
// lines come between them on both outputs, their json-files are rotated, and the agent is
// killed and stopped in the middle of them.
func TestStackTracesOfContainersAreOneEntry(t *testing.T) {
	const lines = 3000
	w := newWorld(t, harness.Engine(t), nil)
	dir := t.TempDir()
	key, value := w.engine.Label()
	w.startAgent(fmt.Sprintf(`
container_monitor:
  docker_host: %q
  include: {labels: {%s: %q, e2e: %q}}
  streams: {rotation_interval: 2s}
  poll_interval: 500ms
  multiline: {flush: 10s}
file_monitor: {enabled: false}
sinks:
  local_file: {path: "%s/{source}.ndjson"}
`, w.host, key, value, w.run, dir))
	var all []*traces
	for _, read := range []string{"file", "stream", "poll"} {
		logOpts := map[string]string{}
		if read == "file" {
			logOpts = map[string]string{"max-size": "200k", "max-file": "3"}
		}
		c := w.container(lines, harness.RunOptions{
			Labels:  map[string]string{"log_capturer.read": read, "log_capturer.multiline": "java"},
			LogOpts: logOpts,
			Args: []string{
				"-rate", "300", "-gate", fmt.Sprint(between + 1), "-trace-every", fmt.Sprint(traceEvery), "-trace-lines", fmt.Sprint(traceLines), "-stderr-every", fmt.Sprint(stderrEvery),
			},
		})
		all = append(all, &traces{Container: c, lines: lines})
	}
	for _, c := range all {
		harness.Eventually(t, 20*time.Second, "what the other output says within an entry", func() (bool, string) {
			err := c.read(dir)
			return slices.ContainsFunc(slices.Collect(maps.Values(c.entries)), func(seqs []int64) bool { return seqs[0] == between }), fmt.Sprint(err)
		})
	}
	came := time.Now()
	harness.Eventually(t, 20*time.Second, "positions behind it", func() (bool, string) {
		info, err := os.Stat(filepath.Join(w.agent.Data, "positions"))
		return err == nil && info.ModTime().After(came), fmt.Sprint(err)
	})
	w.agent.Kill(t)
	w.agent.Start(t)
	for _, c := range all {
		c.Open(t)
	}
	for round := range 4 {
		read := w.agent.Metrics(t).Sum("log_capturer_lines_read_total")
		harness.Eventually(t, 20*time.Second, "some more lines", func() (bool, string) {
			now := w.agent.Metrics(t).Sum("log_capturer_lines_read_total")
			return now > read+500, fmt.Sprint(now, " lines")
		})
		if round == 2 {
			w.agent.Stop(t)
		} else {
			w.agent.Kill(t)
		}
		w.agent.Start(t)
	}
	for _, c := range all {
		harness.Eventually(t, time.Minute, "each entry of "+c.Name+" once", func() (bool, string) {
			if err := c.read(dir); err != nil {
				return false, err.Error()
			}
			wrong := c.check()
			return wrong == "", wrong
		})
		t.Logf("%s: %d lines in %d entries", c.Name, c.lines, len(c.entries))
	}
}
