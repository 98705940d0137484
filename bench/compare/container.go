package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/logcapturer/log_capturer/bench"
	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
	"github.com/logcapturer/log_capturer/test/harness"
)

const (
	outputBytes = 200 << 20
	outputFor   = 15 * time.Minute // the container may take that long to write them
)

// said is a private engine with one container that has said all it had to say, and stays.
type said struct {
	engine *harness.DockerEngine
	logs   logs
}

// say starts both. What the container says costs dockerd as well, whoever reads it: that is told.
func (c *comparison) say() (*said, error) {
	ctx, cancel := context.WithTimeout(c.ctx, outputFor)
	defer cancel()
	var size counter
	lines, err := bench.Write(&size, "bench-container", false, c.bytes(outputBytes))
	if err != nil {
		return nil, err
	}
	engine, err := harness.StartEngine(ctx, harness.EngineOptions{})
	if err != nil {
		return nil, err
	}
	c.atEnd(engine.Close)
	before, err := harness.CPUSeconds(engine.ProcessID())
	if err != nil {
		return nil, err
	}
	box, err := engine.RunContainer(ctx, harness.RunOptions{
		Name: "bench-container", Args: []string{"-n", strconv.FormatInt(lines, 10), "-format", "mixed", "-hold"},
	})
	if err != nil {
		return nil, err
	}
	path, err := box.LogFile(ctx)
	if err != nil {
		return nil, err
	}
	for last := fmt.Appendf(nil, " seq=%d ", lines); ; {
		end, err := tail(path)
		if err != nil {
			return nil, err
		}
		// JSON lines have a quote behind the number.
		if bytes.Contains(end, last) || bytes.Contains(end, fmt.Appendf(nil, " seq=%d\\\"", lines)) {
			break
		}
		if err := pause(ctx, 10*look); err != nil {
			return nil, fmt.Errorf("wait for what the container says: %w", err)
		}
	}
	after, err := harness.CPUSeconds(engine.ProcessID())
	if err != nil {
		return nil, err
	}
	c.told = append(c.told, fmt.Sprintf("What the container of row F wrote cost dockerd %.2f CPU-s, before anybody read it.", after-before))
	return &said{engine: engine, logs: logs{paths: []string{path}, records: true, lines: lines, bytes: int64(size)}}, nil
}

// container is the output of a real container, read by its json-file or through the API.
func container(stream bool) row {
	return func(c *comparison, _ string) (func(*peer.Agent, report.Run) report.Run, error) {
		if c.said == nil && c.saidErr == nil {
			c.said, c.saidErr = c.say()
		}
		s := c.said
		return func(a *peer.Agent, run report.Run) report.Run {
			run.Lines, run.Bytes = s.logs.lines, s.logs.bytes
			job := peer.Job{Logs: s.logs.paths, Records: true, Stream: stream}
			if a.API {
				job.Engine = s.engine.Host()
			}
			if stream && !a.API {
				run.Why = "does not read through the engine's API"
				return run
			}
			before := 0.0
			return c.try(a, run, job, nil, func(t *trial) (err error) {
				if before, err = harness.CPUSeconds(s.engine.ProcessID()); err != nil {
					return err
				}
				if err := t.deliver(); err != nil {
					return err
				}
				after, err := harness.CPUSeconds(s.engine.ProcessID())
				t.run.Engine = after - before
				return err
			})
		}, c.saidErr
	}
}

// counter is a writer that counts bytes.
type counter int64

func (n *counter) Write(b []byte) (int, error) {
	*n += counter(len(b))
	return len(b), nil
}

// tail returns the last bytes of a file; nothing while there is none.
func tail(path string) ([]byte, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-2048), 2048))
}
