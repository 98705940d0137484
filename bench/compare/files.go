package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/bench"
	"github.com/logcapturer/log_capturer/bench/limit"
	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
)

// The sizes of the full run.
const (
	largeFile  = 1 << 30
	manyFiles  = 100
	ofMany     = 10 << 20
	quietFiles = 200
	ofQuiet    = 4 << 10
)

// row prepares the input of a row in dir; what it returns has an agent do it once.
type row func(c *comparison, dir string) (func(*peer.Agent, report.Run) report.Run, error)

// logs is input that lies there before an agent starts.
type logs struct {
	paths   []string
	records bool
	lines   int64
	bytes   int64
}

// write writes n files of so many bytes each.
func write(dir string, n int, size int64, records bool) (l logs, err error) {
	l.records = records
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("app-%04d.log", i))
		f, err := os.Create(path)
		if err != nil {
			return l, err
		}
		lines, err := bench.Write(f, fmt.Sprintf("app-%04d", i), records, size)
		written, err2 := f.Seek(0, 1)
		if err := errors.Join(err, err2, f.Close()); err != nil {
			return l, fmt.Errorf("write input: %w", err)
		}
		l.paths, l.lines, l.bytes = append(l.paths, path), l.lines+lines, l.bytes+written
	}
	return l, nil
}

func (l logs) glob() []string { return []string{filepath.Join(filepath.Dir(l.paths[0]), "*.log")} }

// plain is one log, or many.
func plain(n int, size int64) row {
	return func(c *comparison, dir string) (func(*peer.Agent, report.Run) report.Run, error) {
		l, err := write(dir, n, c.bytes(size), false)
		return func(a *peer.Agent, run report.Run) report.Run {
			return c.read(a, run, l, peer.Job{Logs: l.glob()})
		}, err
	}
}

// read measures the limit, and then an agent with the same bytes.
func (c *comparison) read(a *peer.Agent, run report.Run, l logs, job peer.Job) report.Run {
	run.Lines, run.Bytes = l.lines, l.bytes
	if a.Missing == "" {
		took, err := limit.Time(c.agentCore, l.records, l.paths...)
		if err != nil {
			run.Why = err.Error()
			return run
		}
		run.Limit = took.Seconds()
	}
	return c.try(a, run, job, nil, (*trial).deliver)
}

// jsonFile is the log of one container. log_capturer asks an engine about it, which has that
// container and nothing else; the others are pointed to the file.
func jsonFile(c *comparison, dir string) (func(*peer.Agent, report.Run) report.Run, error) {
	l, err := write(dir, 1, c.bytes(largeFile), true)
	return func(a *peer.Agent, run report.Run) report.Run {
		job := peer.Job{Logs: l.glob(), Records: true}
		if a.Name == peer.Ours {
			engine, err := fakeEngine(dir, l.paths[0])
			if err != nil {
				run.Why = err.Error()
				return run
			}
			defer engine.Down()
			job.Engine = engine.Host()
		}
		return c.read(a, run, l, job)
	}, err
}

func fakeEngine(dir, path string) (*dockertest.Engine, error) {
	engine, err := dockertest.Listen(dir)
	if err != nil {
		return nil, err
	}
	engine.Create(dockertest.Container{
		ID: strings.Repeat("a", 64), Name: "bench", Image: "bench", Running: true, Created: time.Now(), LogPath: path,
	})
	return engine, nil
}

// quiet is logs that are not written to any more.
func quiet(c *comparison, dir string) (func(*peer.Agent, report.Run) report.Run, error) {
	l, err := write(dir, quietFiles, ofQuiet, false)
	return func(a *peer.Agent, run report.Run) report.Run {
		run.Lines, run.Bytes = l.lines, l.bytes
		return c.try(a, run, peer.Job{Logs: l.glob()}, nil, func(t *trial) error {
			if _, err := t.wait(l.lines); err != nil {
				return err
			}
			if err := pause(c.ctx, c.settle); err != nil {
				return err
			}
			return t.watch(func() error { return pause(c.ctx, c.duration(time.Minute)) })
		})
	}, err
}
