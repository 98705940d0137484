package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/units"
)

func newDeadLetter(path *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deadletter",
		Short: "List, show, send again or remove what sinks refused for good",
		Long: `List, show, send again or remove what sinks refused for good. The letters are those of
the configuration's data_dir: the agent that runs on it is asked through server.listen,
and when none runs the files are worked on, and no agent can start meanwhile.`,
		Example: `  log_capturer deadletter ls
  log_capturer deadletter show --reason line_too_long --limit 5
  log_capturer deadletter replay --sink loki
  log_capturer deadletter purge --reason too_old --yes`,
		Args: knownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeadLetterLs(path), newDeadLetterShow(path), newDeadLetterReplay(path), newDeadLetterPurge(path))
	return cmd
}

// letters are the flags that all verbs of deadletter have.
type letters struct {
	config *string
	filter office.Filter
	json   bool
}

// flags adds the flags to a verb, and what runs it.
func (l *letters) flags(cmd *cobra.Command, do func(ctx context.Context, desk office.Desk, out io.Writer) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = cobra.NoArgs, cobra.NoFileCompletions
	cmd.Flags().StringVar(&l.filter.Sink, "sink", "", "only the letters of this sink (`NAME`)")
	cmd.Flags().StringVar(&l.filter.Reason, "reason", "", "only those of this reason (`WORD`), such as too_old")
	cmd.Flags().StringVar(&l.filter.Source, "source", "", "only those whose container's name or file's path matches this `GLOB`")
	cmd.Flags().BoolVar(&l.json, "json", false, "print the result as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.filter.Check(); err != nil {
			return fmt.Errorf("--%w", err)
		}
		cfg, err := app.LoadConfig(config.Loader{}, findConfig(*l.config, os.LookupEnv, exists))
		if err != nil {
			return &failure{exitUsage, err}
		}
		desk, closeDesk, err := app.DeadLetters(cfg, buildInfo())
		if err != nil {
			return &failure{exitFailed, err}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		defer context.AfterFunc(ctx, stop)() // so that a second signal kills
		err = do(ctx, desk, cmd.OutOrStdout())
		if closeErr := closeDesk(); err == nil && closeErr != nil {
			err = &failure{exitFailed, closeErr}
		}
		return err
	}
	return cmd
}

// print writes a result, as JSON or as a person's table.
func (l *letters) print(out io.Writer, result any, table func(w io.Writer)) error {
	if l.json {
		text, err := json.MarshalIndent(result, "", "  ")
		return write(out, append(text, '\n'), err)
	}
	aligned := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	table(aligned)
	return write(out, nil, aligned.Flush())
}

func newDeadLetterLs(path *string) *cobra.Command {
	l := &letters{config: path}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "Count dead letters by sink and reason",
		Long: `Count dead letters by sink and reason. Oldest and newest are the timestamps of the
entries. The reason "damaged" stands for lines of the files that cannot be read.`,
		Example: `  log_capturer deadletter ls
  log_capturer deadletter ls --sink loki --source 'web-*'
  log_capturer deadletter ls --json`,
	}
	return l.flags(cmd, func(ctx context.Context, desk office.Desk, out io.Writer) error {
		listing, err := desk.List(ctx, l.filter)
		if err != nil {
			return &failure{exitFailed, err}
		}
		return l.print(out, listing, func(w io.Writer) { groupTable(w, listing.Groups, "no dead letters") })
	})
}

func groupTable(w io.Writer, groups []office.Group, none string) {
	if len(groups) == 0 {
		fmt.Fprintln(w, none)
		return
	}
	fmt.Fprintln(w, "SINK\tREASON\tENTRIES\tBYTES\tOLDEST\tNEWEST")
	for _, g := range groups {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", units.Printable(g.Sink), units.Printable(g.Reason), g.Entries,
			units.HumanBytes(float64(g.Bytes)), second(g.Oldest), second(g.Newest))
	}
}

func second(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func newDeadLetterShow(path *string) *cobra.Command {
	l := &letters{config: path}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show dead letters",
		Long: `Show dead letters, for each sink in the order in which they were written. What a
terminal would not print but obey is shown as \x1b; --json has the exact text.`,
		Example: `  log_capturer deadletter show
  log_capturer deadletter show --sink loki --reason line_too_long --limit 5
  log_capturer deadletter show --source '/var/log/**' --json`,
	}
	limit := cmd.Flags().Int("limit", 20, "show this many at most (`N`), 1 to 10000")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *limit < 1 || *limit > maxShown {
			return fmt.Errorf("--limit %d: expected 1 to %d", *limit, maxShown)
		}
		return nil
	}
	return l.flags(cmd, func(ctx context.Context, desk office.Desk, out io.Writer) error {
		shown, err := desk.Show(ctx, l.filter, *limit)
		if err != nil {
			return &failure{exitFailed, err}
		}
		return l.print(out, shown, func(w io.Writer) { showTable(w, shown, *limit) })
	})
}

// maxShown is what the API gives in one answer.
const maxShown = 10_000

func showTable(w io.Writer, shown office.Shown, limit int) {
	if len(shown.Entries) == 0 {
		fmt.Fprintln(w, "no dead letters")
	}
	for _, raw := range shown.Entries {
		l, err := deadletter.Parse(raw)
		if err != nil {
			fmt.Fprintln(w, units.Printable(err.Error()))
			continue
		}
		fmt.Fprintf(w, "%s  %s  %s: %s\n", time.Unix(0, l.Time).UTC().Format(time.RFC3339Nano), units.Printable(l.Sink), units.Printable(l.Reason), units.Printable(l.Detail))
		fmt.Fprintf(w, "  from %s %s, first try %s, last try %s\n", units.Printable(l.Source.Name), units.Printable(l.Labels.String()), second(l.FirstTry), second(l.LastTry))
		fmt.Fprintf(w, "  %s\n", units.Printable(string(l.Line)))
	}
	if shown.More {
		fmt.Fprintf(w, "these are the first %d; there are more, see --limit\n", limit)
	}
}
