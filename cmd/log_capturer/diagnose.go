package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/ask"
	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/diagnose"
	"github.com/logcapturer/log_capturer/internal/units"
)

const (
	watchFor, watchEvery = 5 * time.Minute, time.Minute
	isolateFor           = 2 * time.Minute
	// The bounds of --for and --every, and how many rows there may be.
	minWatch, minEvery, maxWatch = time.Second, 100 * time.Millisecond, 7 * 24 * time.Hour
	maxRows                      = 10_000
)

// diagnoseOptions are the flags of diagnose.
type diagnoseOptions struct {
	config             *string
	isolate, transport bool
	dump               string
	json, yes          bool
	total, every       time.Duration
}

func newDiagnose(path *string) *cobra.Command {
	o := &diagnoseOptions{config: path}
	var total, every string
	cmd := &cobra.Command{
		Use:   "diagnose",
		Short: "Find what grows in a running agent, and whose it is",
		Long: `Find what grows in the agent that listens on the configuration's server.listen. For the
time of --for it takes a census of goroutines, descriptors and memory again and again,
prints a row each --every, then the growth by owner and by stack, and a verdict. Growth
that load explains is no leak. Nothing is changed.

--isolate   switches components off one at a time, to see whose absence ends the growth,
            and on again. What a component that is off would read or deliver waits.
--dump      reads a goroutine dump instead: what a process prints on SIGQUIT, or
            /debug/pprof/goroutine, best with ?debug=2. No agent is asked.
--transport lists the HTTP connections: open, streaming and idle ones by endpoint.

Exit code 0 means no leak, 1 a leak, the suspicion of one or a failure, 2 wrong usage or
configuration. Ctrl-C ends it with a verdict on what it has seen.`,
		Example: `  log_capturer diagnose
  log_capturer diagnose --for 30m --every 5m
  log_capturer diagnose --isolate --for 1m
  log_capturer diagnose --transport
  docker logs app 2>&1 | log_capturer diagnose --dump -
  log_capturer diagnose --dump goroutines.txt --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&total, "for", "", "look for this `TIME` (default 5m; with --isolate 2m for each component)")
	cmd.Flags().StringVar(&every, "every", "", "print a row each `TIME` (default 1m, or a fifth of a shorter --for)")
	cmd.Flags().BoolVar(&o.isolate, "isolate", false, "switch components off one at a time")
	cmd.Flags().StringVar(&o.dump, "dump", "", "read a goroutine dump from `FILE`, - for stdin")
	cmd.Flags().BoolVar(&o.transport, "transport", false, "list HTTP connections")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "with --isolate, do not ask")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the result as JSON")
	cmd.MarkFlagsMutuallyExclusive("isolate", "dump", "transport")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("dump") && o.dump == "" {
			return errors.New("--dump \"\": expected a file, or - for stdin")
		}
		if err := o.times(total, every); err != nil {
			return err
		}
		return o.run(cmd)
	}
	return cmd
}

// times reads --for and --every.
func (o *diagnoseOptions) times(total, every string) error {
	o.total = watchFor
	if o.isolate {
		o.total = isolateFor
	}
	if total != "" {
		d, err := units.ParseDuration(total)
		if err != nil || d.Std() < minWatch || d.Std() > maxWatch {
			return fmt.Errorf("--for %q: expected a duration from 1s to 7d", total)
		}
		o.total = d.Std()
	}
	o.every = min(watchEvery, o.total/5)
	if every != "" {
		d, err := units.ParseDuration(every)
		if err != nil || d.Std() < minEvery || d.Std() > o.total {
			return fmt.Errorf("--every %q: expected a duration from 100ms to that of --for, %s", every, units.Duration(o.total))
		}
		o.every = d.Std()
	}
	if o.total/o.every > maxRows {
		return fmt.Errorf("--every %s makes more than %d rows in %s; give a longer one", units.Duration(o.every), maxRows, units.Duration(o.total))
	}
	return nil
}

// run runs what the flags ask for.
func (o *diagnoseOptions) run(cmd *cobra.Command) error {
	p := diagnose.Printer{Out: cmd.OutOrStdout(), Color: isTerminal(cmd.OutOrStdout())}
	if isTerminal(cmd.ErrOrStderr()) {
		p.Progress = cmd.ErrOrStderr()
	}
	if o.dump != "" {
		return o.readDump(cmd.InOrStdin(), &p)
	}
	cfg, err := app.LoadConfig(config.Loader{}, findConfig(*o.config, os.LookupEnv, exists))
	if err != nil {
		return &failure{exitUsage, err}
	}
	agent := ask.At(cfg.Server.Listen, "the running agent is to be asked")
	switch {
	case o.isolate:
		return o.runIsolate(cmd, cfg.DataDir, agent, &p)
	case o.transport:
		return o.showTransports(cmd.Context(), agent, &p)
	default:
		return o.watch(cmd.Context(), agent, &p)
	}
}

func (o *diagnoseOptions) watch(ctx context.Context, agent *ask.Agent, p *diagnose.Printer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // so that a second signal kills
	head := false
	row := func(r diagnose.Row) {
		if o.json {
			return
		}
		if !head {
			p.Head()
			head = true
		}
		p.Row(r)
	}
	report, err := diagnose.Watch(ctx, diagnose.Remote{Agent: agent}, diagnose.Plan{For: o.total, Every: o.every}, row, p.Tick)
	if err != nil {
		return &failure{exitFailed, err}
	}
	return o.conclude(p, report, report.Verdict, func() { p.Report(report) })
}

func (o *diagnoseOptions) showTransports(ctx context.Context, agent *ask.Agent, p *diagnose.Printer) error {
	census, err := diagnose.Remote{Agent: agent}.Resources(ctx)
	if err != nil {
		return &failure{exitFailed, err}
	}
	endpoints := diagnose.Transports(census)
	result := struct {
		Endpoints []diagnose.Endpoint `json:"endpoints"`
	}{endpoints}
	return o.conclude(p, result, diagnose.Verdict{Finding: diagnose.NoLeak}, func() { p.Transports(endpoints, census.Time) })
}

func (o *diagnoseOptions) readDump(stdin io.Reader, p *diagnose.Printer) error {
	in := stdin
	if o.dump != "-" {
		f, err := os.Open(o.dump)
		if err != nil {
			return &failure{exitFailed, fmt.Errorf("read the dump: %w", err)}
		}
		defer f.Close()
		in = f
	}
	dump, err := diagnose.ReadDump(in)
	if err != nil {
		return &failure{exitFailed, err}
	}
	return o.conclude(p, dump, dump.Verdict, func() { p.Dump(dump) })
}

// conclude prints a result; anything but the absence of a leak makes the exit code.
func (o *diagnoseOptions) conclude(p *diagnose.Printer, result any, v diagnose.Verdict, table func()) error {
	p.Done()
	if o.json {
		text, err := json.MarshalIndent(result, "", "  ")
		if err := write(p.Out, append(text, '\n'), err); err != nil {
			return err
		}
	} else {
		table()
		if err := p.Err(); err != nil {
			return &failure{exitFailed, fmt.Errorf("print the result: %w", err)}
		}
	}
	if v.Finding != diagnose.NoLeak {
		return &failure{exitFailed, errReported}
	}
	return nil
}
