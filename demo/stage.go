package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

// stage holds all that the demo started.
type stage struct {
	o          options
	dir        string // kept: the captured logs
	work       string // removed
	started    time.Time
	engine     *harness.DockerEngine
	containers map[string]*harness.Container
	file       *logFile
	writers    *task.Scope // of the file
	agent      *harness.AgentProcess
	captured   *captured
}

// open starts everything. On an error what was started is in the stage too; close it.
func open(ctx context.Context, o options, out io.Writer) (*stage, error) {
	s := &stage{o: o, started: time.Now()}
	// Waits for its writer in close, so it does not end by ctx: the file then would
	// not be as long as written says.
	s.writers = task.NewRoot(context.WithoutCancel(ctx), "demo", slog.New(slog.DiscardHandler))
	var err error
	if s.dir, err = os.MkdirTemp("", "log_capturer-demo-"); err != nil {
		return s, err
	}
	if s.work, err = os.MkdirTemp("", "log_capturer-demo-work-"); err != nil {
		return s, err
	}
	if o.lokiURL != "" {
		if err := harness.OpenLoki(o.lokiURL).Ready(ctx); err != nil {
			return s, fmt.Errorf("the Loki of LOKI_URL: %w", err)
		}
	}
	if s.engine, err = harness.FindEngine(ctx); err != nil {
		return s, err
	}
	if s.engine.Private() {
		fmt.Fprintln(out, "No Docker engine was running: started a private one, it goes away at the end.")
	}
	fmt.Fprintln(out, "Building the sample image and starting three containers and a log file …")
	if s.containers, err = startContainers(ctx, s.engine); err != nil {
		return s, err
	}
	s.file = &logFile{path: filepath.Join(s.work, "app.log")}
	s.writers.Go("log file", s.file.grow)
	if s.agent, err = harness.NewAgent(o.agent, s.work, s.config()); err != nil {
		return s, err
	}
	s.captured = newCaptured(s.dir)
	return s, s.agent.StartProcess()
}

// config is the agent's configuration, but for what harness.NewAgent adds.
func (s *stage) config() string {
	key, run := s.engine.Label()
	c := fmt.Sprintf(`container_monitor:
  exit_events: false
  docker_host: %q
  include:
    labels: {%s: %q}

file_monitor:
  include: [%q]

sinks:
  local_file:
    path: %q
    format: raw
`, s.engine.Host(), key, run, s.file.path, filepath.Join(s.dir, "{source}.log"))
	if s.o.lokiURL != "" {
		c += fmt.Sprintf("  loki:\n    url: %q\n    labels: {demo: %q}\n", s.o.lokiURL, run)
	}
	return c
}

// closeTimeout bounds the calls of the clean-up.
const closeTimeout = 30 * time.Second

// close stops and removes everything but the captured logs.
func (s *stage) close(out io.Writer) error {
	fmt.Fprintln(out, "\nCleaning up …")
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	errs := []error{s.writers.Close(ctx)}
	if s.agent != nil && s.agent.Running() {
		errs = append(errs, s.agent.StopProcess())
	}
	if s.engine != nil {
		errs = append(errs, s.engine.Close())
	}
	if s.work != "" {
		errs = append(errs, os.RemoveAll(s.work))
	}
	if s.dir != "" {
		if os.Remove(s.dir) == nil { // it is empty
			return errors.Join(errs...)
		}
		fmt.Fprintf(out, "The captured logs stay in %s; remove them with: rm -r %s\n", s.dir, s.dir)
	}
	return errors.Join(errs...)
}

// stopWriters ends all writing, and returns the number of lines of each sample.
func (s *stage) stopWriters(ctx context.Context) (map[string]int64, error) {
	if err := stopContainers(ctx, s.containers); err != nil {
		return nil, err
	}
	if err := s.writers.Close(ctx); err != nil {
		return nil, err
	}
	return s.written(ctx)
}

// written returns the number of lines written so far, by id.
func (s *stage) written(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{"file": s.file.written.Load()}
	for id, c := range s.containers {
		n, err := written(ctx, s.engine, c)
		if err != nil {
			return nil, err
		}
		out[id] = n
	}
	return out, nil
}
