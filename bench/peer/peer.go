// Package peer runs log_capturer, and the agents that it is compared with, on the same job:
// read these logs from their beginning, follow them, and send every line to that server.
//
// Each is run as it comes, with what it must be told to do the job at all, such as to send
// more than one line a request. Those of which a faster configuration is known are run with
// that as well. An agent that cannot be had says why; that is no error.
package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/logcapturer/log_capturer/test/harness"
)

// Job is what an agent is asked to do.
type Job struct {
	// Dir is the agent's own, and empty.
	Dir string
	// Server is host:port of the null server.
	Server string
	// Logs are globs of absolute paths. Records says that they are json-files of the engine.
	Logs    []string
	Records bool
	// Engine is the address of a Docker engine with the containers that Logs are of, for those
	// who ask it; Stream says that they are to be read through its API.
	Engine string
	Stream bool
	// Spool says that there is a second sink, which takes everything; Metrics is where the
	// agent shall listen, host:port, any free one when empty. Both are for log_capturer.
	Spool   bool
	Metrics string
}

// command is how an agent is started; config is written to Job.config.
type command struct {
	argv, env []string
	config    string
}

// Agent is one of those that are compared, in one configuration.
type Agent struct {
	// Name is what the table calls it, Note what was set that does not come with it.
	Name, Note string
	// API tells that it can read containers through the engine's API.
	API bool
	// Missing is why it cannot be had, empty when it can.
	Missing string

	part   string // of scripts/peers
	at     string // what that printed
	launch func(at string, j Job) command
}

// Ours is the Name of log_capturer.
const Ours = "log_capturer"

// All returns every agent, log_capturer first, without having looked for them.
func All() []*Agent {
	return []*Agent{
		{Name: Ours, API: true, launch: logCapturer},
		{Name: "Fluent Bit, tuned", Note: "threaded, larger buffers, JSON over HTTP, uncompressed", part: "fluent-bit", launch: fluentBitTuned},
		{Name: "Fluent Bit", part: "fluent-bit", launch: fluentBit},
		{Name: "OpenTelemetry Collector, snappy", Note: "snappy, batches of 8,192, a full queue waits", part: "otelcol", launch: otelcolSnappy},
		{Name: "OpenTelemetry Collector", Note: "a full queue waits", part: "otelcol", launch: otelcol},
		{Name: "Promtail", API: true, part: "promtail", launch: promtail},
		{Name: "rsyslog", Note: "bulk requests", part: "rsyslog", launch: rsyslog},
		{Name: "syslog-ng", Note: "1,000 lines a request, 2,000 files, a window of 10,000 lines each", part: "syslog-ng", launch: syslogNG},
	}
}

// Command returns an agent that is a command, which is told nothing: for tests of what runs agents.
func Command(argv ...string) *Agent {
	return &Agent{Name: argv[0], launch: func(string, Job) command { return command{argv: argv} }}
}

// Find looks for the agent, builds or fetches it when it is not there, and sets Missing when
// it cannot be had. What is built goes to dir, or to the cache of scripts/peers.
func (a *Agent) Find(ctx context.Context, dir string) {
	var err error
	if a.part == "" {
		a.at = filepath.Join(dir, Ours)
		err = harness.BuildAgent(ctx, a.at)
	} else {
		a.at, err = script(ctx, a.part)
	}
	if err != nil {
		a.Missing = err.Error()
	}
}

// script has scripts/peers say where a peer is. Its last line of complaint is why not.
func script(ctx context.Context, part string) (string, error) {
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	var told strings.Builder
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "peers"), part)
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	lines := strings.Split(strings.TrimSpace(told.String()), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return "", errors.New(last)
	}
	return "", err
}

// Start starts it on a core.
func (a *Agent) Start(core int, j Job) (*Process, error) {
	if a.Missing != "" {
		return nil, errors.New(a.Missing)
	}
	c := a.launch(a.at, j)
	if err := os.WriteFile(j.config(), []byte(c.config), 0o600); err != nil {
		return nil, fmt.Errorf("start %s: %w", a.Name, err)
	}
	return start(a.Name, core, j.Dir, c)
}

func (j Job) config() string { return filepath.Join(j.Dir, "config.yaml") }

// quoted returns paths as a list in YAML, which JSON's is.
func quoted(paths []string) string {
	var b strings.Builder
	for i, p := range paths {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", p)
	}
	return "[" + b.String() + "]"
}
