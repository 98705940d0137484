package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/config"
)

// checkOptions are the flags of check.
type checkOptions struct{ print, schema, json bool }

// checkResult is what check --json prints.
type checkResult struct {
	Valid bool `json:"valid"`
	// File is empty for the built-in defaults.
	File   string         `json:"file"`
	Errors []config.Error `json:"errors"`
}

func newCheck(path *string) *cobra.Command {
	var opts checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate a configuration and report every error",
		Long: `Validate a configuration: every error is reported with file, line and column and with
what would be right. Exit code 0 means valid, 2 means errors.`,
		Example: `  log_capturer check --config log_capturer.yaml
  log_capturer check --print              # the effective configuration, secrets masked
  log_capturer check --json               # {"valid": …, "file": …, "errors": […]}
  log_capturer check --schema > log_capturer.schema.json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&opts.print, "print", false, "print the effective configuration as YAML, secrets masked")
	cmd.Flags().BoolVar(&opts.schema, "schema", false, "print the JSON Schema of the configuration and read no file")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print the result as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if opts.print && opts.schema || opts.print && opts.json || opts.schema && opts.json {
			return errors.New("--print, --schema and --json exclude each other, give one of them")
		}
		return check(cmd.OutOrStdout(), opts, findConfig(*path, os.LookupEnv, exists))
	}
	return cmd
}

func check(out io.Writer, opts checkOptions, path string) error {
	if opts.schema {
		schema, err := app.ConfigSchema()
		return write(out, schema, err)
	}
	cfg, err := app.LoadConfig(config.Loader{}, path)
	if opts.json {
		return checkJSON(out, path, err)
	}
	if err != nil {
		return &failure{exitUsage, err}
	}
	if opts.print {
		text, err := config.Print(cfg)
		return write(out, text, err)
	}
	if path == "" {
		path = "no file found, the built-in defaults are used"
	}
	return write(out, []byte("configuration is valid: "+path+"\n"), nil)
}

func checkJSON(out io.Writer, path string, err error) error {
	result := checkResult{Valid: err == nil, File: path, Errors: []config.Error{}}
	if err != nil {
		var mistakes config.Errors
		if !errors.As(err, &mistakes) {
			return &failure{exitFailed, err}
		}
		result.Errors = mistakes
	}
	text, jsonErr := json.MarshalIndent(result, "", "  ")
	if err := write(out, append(text, '\n'), jsonErr); err != nil {
		return err
	}
	if !result.Valid {
		return &failure{exitUsage, errReported}
	}
	return nil
}

// write prints what was made, or reports why it could not be.
func write(out io.Writer, text []byte, err error) error {
	if err == nil {
		_, err = out.Write(text)
	}
	if err != nil {
		return &failure{exitFailed, fmt.Errorf("print the result: %w", err)}
	}
	return nil
}
