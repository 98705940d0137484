package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/ask"
	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/httpapi"
)

func newReload(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running agent read its configuration again",
		Long: `Have the agent that listens on the configuration's server.listen read its file again.
Nothing is lost: what did not change goes on, and sinks that did keep what they have to
deliver. A wrong file changes nothing. SIGHUP does the same, and so does
'watch_config: true' by itself.`,
		Example: `  log_capturer reload
  log_capturer reload --config /etc/log_capturer/log_capturer.yaml --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := app.LoadConfig(config.Loader{}, findConfig(*path, os.LookupEnv, exists))
		if err != nil {
			return &failure{exitUsage, err}
		}
		var done httpapi.Reloaded
		agent := ask.At(cfg.Server.Listen, "the running agent is to be asked")
		if err := agent.Call(cmd.Context(), http.MethodPost, httpapi.PathReload, nil, &done); err != nil {
			return &failure{exitFailed, err}
		}
		if asJSON {
			text, err := json.MarshalIndent(done, "", "  ")
			return write(cmd.OutOrStdout(), append(text, '\n'), err)
		}
		reloaded(cmd.OutOrStdout(), done.Changed)
		return nil
	}
	return cmd
}

func reloaded(w io.Writer, changed []string) {
	if len(changed) == 0 {
		fmt.Fprintln(w, "nothing has changed")
		return
	}
	fmt.Fprintln(w, "reloaded; what has changed:")
	for _, key := range changed {
		fmt.Fprintln(w, "  "+key)
	}
}
