package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/doctor"
	"github.com/logcapturer/log_capturer/internal/units"
)

// The bounds of --for.
const (
	minSample = 100 * time.Millisecond
	maxSample = 10 * time.Minute
)

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	sample    string
	container string
	json, all bool
}

func newDoctor(path *string) *cobra.Command {
	var opts doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that this host is ready, and say what to mend",
		Long: `Check that this host is ready for the agent: the Docker engine, how each container
would be read and why, its rotation and how long the agent may be away before lines are
lost, the log files, the sinks, the data directory and the limits. Each finding comes
with a fix. Nothing is changed, and an agent may be running.

Run it as the user that the agent runs as. Exit code 0 means ready (there may be
warnings), 1 that something would not work, 2 a wrong configuration.`,
		Example: `  log_capturer doctor
  log_capturer doctor --config log_capturer.yaml --for 10s
  log_capturer doctor --container 'web-*' --all
  log_capturer doctor --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&opts.sample, "for", "2s", "sample how fast containers write for this `TIME`")
	cmd.Flags().StringVar(&opts.container, "container", "", "only the containers whose names match this `GLOB`")
	cmd.Flags().BoolVar(&opts.all, "all", false, "list every container by itself, also where many are alike")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print the result as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sample, err := units.ParseDuration(opts.sample)
		if err != nil || sample.Std() < minSample || sample.Std() > maxSample {
			return fmt.Errorf("--for %q: expected a duration from 100ms to 10m", opts.sample)
		}
		if !doublestar.ValidatePattern(opts.container) {
			return fmt.Errorf("--container %q is no glob; use *, ?, [a-z] and {a,b}", opts.container)
		}
		file := findConfig(*path, os.LookupEnv, exists)
		cfg, err := app.LoadConfig(config.Loader{}, file)
		if err != nil {
			return &failure{exitUsage, err}
		}
		report, err := app.Doctor(cmd.Context(), cfg, buildInfo(), app.DoctorOptions{Config: file, Sample: sample.Std(), Glob: opts.container})
		if err != nil {
			return &failure{exitFailed, err}
		}
		return showReport(cmd.OutOrStdout(), report, opts)
	}
	return cmd
}

// showReport prints the report; a failed check makes the exit code.
func showReport(out io.Writer, report doctor.Report, opts doctorOptions) error {
	if opts.json {
		text, err := json.MarshalIndent(report, "", "  ")
		if err := write(out, append(text, '\n'), err); err != nil {
			return err
		}
	} else {
		shown := doctor.TableOptions{Color: isTerminal(out), Width: columns(out), All: opts.all}
		if err := doctor.WriteTable(out, report, shown); err != nil {
			return &failure{exitFailed, fmt.Errorf("print the result: %w", err)}
		}
	}
	if report.Verdict == doctor.Fail {
		return &failure{exitFailed, errReported}
	}
	return nil
}

// columns returns a terminal's width, 0 for anything else.
func columns(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
