package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/config"
)

func newRun(path *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent until SIGTERM or SIGINT",
		Long: `Run the agent: capture, process and deliver until SIGTERM or SIGINT. It then stops
reading and delivers what it holds, for at most shutdown_timeout. A second signal ends
it at once; what was not delivered is read again at the next start. SIGHUP has it read
its configuration again, as 'log_capturer reload' does.`,
		Example: `  log_capturer run
  log_capturer run --config /etc/log_capturer/log_capturer.yaml
  LOG_CAPTURER_CONFIG=agent.yaml log_capturer run`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		file := findConfig(*path, os.LookupEnv, exists)
		load := func() (app.Config, error) { return app.LoadConfig(config.Loader{}, file) }
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		cfg, err := load()
		if err != nil {
			return &failure{exitUsage, err}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		defer context.AfterFunc(ctx, stop)() // so that a second signal kills
		if err := app.Run(ctx, cfg, buildInfo(), app.Reloads{Load: load, Asked: hup, Path: file}); err != nil {
			return &failure{exitFailed, err}
		}
		return nil
	}
	return cmd
}
