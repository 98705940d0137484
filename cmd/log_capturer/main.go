// Command log_capturer captures the logs of containers and files and delivers them.
//
// One file per verb. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
// Errors go to stderr, one sentence each. Besides internal/config, and internal/systemd
// for what a service manager leaves there, this is the only package that reads the
// environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/config"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(execute(context.Background(), newRoot(), os.Stderr))
}

// failure is an error of a verb that ran: everything that cobra finds before is usage.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// errReported is the cause of a failure that the verb has printed itself.
var errReported = errors.New("reported already")

// execute runs the command line and returns the exit code.
func execute(ctx context.Context, root *cobra.Command, stderr io.Writer) int {
	verb, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var fail *failure
	if !errors.As(err, &fail) {
		printError(stderr, err.Error()+"; see '"+verb.CommandPath()+" --help'")
		return exitUsage
	}
	var mistakes config.Errors
	switch {
	case errors.Is(err, errReported):
	case errors.As(err, &mistakes):
		for _, mistake := range mistakes {
			printError(stderr, mistake.Error())
		}
	default:
		printError(stderr, err.Error())
	}
	return fail.code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "log_capturer",
		Short: "Capture the logs of containers and files and deliver every line once",
		Example: `  log_capturer run
  log_capturer check --config /etc/log_capturer/log_capturer.yaml
  log_capturer doctor
  log_capturer diagnose --for 2m
  log_capturer health
  log_capturer deadletter ls
  log_capturer version`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	path := root.PersistentFlags().StringP("config", "c", "", "configuration `FILE` (default: $LOG_CAPTURER_CONFIG,\nthen "+
		strings.Join(defaultFiles(), ",\nthen ")+",\nthen built-in defaults)")
	// It fails for unknown flags only; this one is defined one line above.
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")
	root.AddCommand(newRun(path), newCheck(path), newDoctor(path), newDiagnose(path), newDeadLetter(path), newReload(path), newHealth(path), newVersion())
	return root
}

// knownVerb refuses what is no verb, and names the one that was probably meant.
func knownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, verb := range root.Commands() {
		verbs = append(verbs, verb.Name())
	}
	if near := config.Nearest(args[0], verbs); near != "" {
		return fmt.Errorf("unknown command %q (did you mean %q?)", args[0], near)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

func defaultFiles() []string {
	return []string{"./log_capturer.yaml", "/etc/log_capturer/log_capturer.yaml"}
}

// findConfig returns the file to read, or "" for the built-in defaults. A file that was
// asked for is returned whether it exists or not.
func findConfig(flag string, env config.Environment, exists func(string) bool) string {
	if flag != "" {
		return flag
	}
	if path, _ := env("LOG_CAPTURER_CONFIG"); path != "" {
		return path
	}
	for _, path := range defaultFiles() {
		if exists(path) {
			return path
		}
	}
	return ""
}

// exists is also true for a file that may not be looked at: reading it then says why.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// printError writes one sentence, with a red mark on a terminal.
func printError(w io.Writer, text string) {
	mark := "error:"
	if isTerminal(w) {
		mark = "\x1b[31m" + mark + "\x1b[0m"
	}
	fmt.Fprintln(w, mark, text)
}

// isTerminal tells whether colours make sense on w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
