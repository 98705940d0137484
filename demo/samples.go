package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// sample is one source of lines. Its id is in every line.
type sample struct {
	id, what string
	args     []string // of loggen; nil for the file
}

var samples = []sample{
	{"shop", "JSON application", []string{"-format", "json", "-rate", "40"}},
	{"web", "nginx access, errors on stderr", []string{"-format", "nginx", "-rate", "120", "-stderr-every", "10"}},
	{"chatty", "bursts, long lines up to 40 KB", []string{
		"-format", "mixed", "-sizes", "200:3000", "-burst", "60", "-every", "2s", "-long-every", "50", "-long-bytes", "40000",
	}},
	{"file", "a log file that grows", nil},
}

// rotation is small, so that the engine rotates while one watches.
var rotation = map[string]string{"max-size": "1m", "max-file": "3"}

// startContainers starts those of samples that are containers, by id.
func startContainers(ctx context.Context, e *harness.DockerEngine) (map[string]*harness.Container, error) {
	_, run := e.Label()
	out := map[string]*harness.Container{}
	for _, s := range samples {
		if s.args == nil {
			continue
		}
		c, err := e.RunContainer(ctx, harness.RunOptions{
			Name: "demo-" + s.id + "-" + run[:4], LogOpts: rotation,
			Args: append([]string{"-id", s.id, "-hold"}, s.args...),
		})
		if err != nil {
			return nil, err
		}
		out[s.id] = c
	}
	return out, nil
}

// stopContainers stops the writers; what they wrote stays in the engine.
func stopContainers(ctx context.Context, containers map[string]*harness.Container) error {
	var errs []error
	for _, c := range containers {
		errs = append(errs, c.StopContext(ctx))
	}
	return errors.Join(errs...)
}

var seqRE = regexp.MustCompile(` seq=(\d+)`)

// written asks the engine for the number of the last line that it has of a
// container: a count that does not come from the agent.
func written(ctx context.Context, e *harness.DockerEngine, c *harness.Container) (int64, error) {
	res, err := e.Client().ContainerLogs(ctx, c.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "40"})
	if err != nil {
		return 0, fmt.Errorf("ask for the last lines of %s: %w", c.Name, err)
	}
	defer res.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, res); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, fmt.Errorf("read the last lines of %s: %w", c.Name, err)
	}
	last := int64(0)
	for _, m := range seqRE.FindAllSubmatch(text.Bytes(), -1) {
		if n, err := strconv.ParseInt(string(m[1]), 10, 64); err == nil {
			last = max(last, n)
		}
	}
	return last, nil
}

// logFile is a file that grows by a line every fileEvery.
type logFile struct {
	path    string
	written atomic.Int64
}

const fileEvery = 20 * time.Millisecond

// grow appends lines until ctx ends.
func (f *logFile) grow(ctx context.Context) {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return // the verdict finds nothing written
	}
	defer file.Close()
	var b []byte
	for task.Sleep(ctx, fileEvery) {
		seq := f.written.Load() + 1
		b = append(line.Append(b[:0], line.Plain, "file", seq, 0, time.Now()), '\n')
		if _, err := file.Write(b); err != nil {
			return
		}
		f.written.Store(seq)
	}
}
