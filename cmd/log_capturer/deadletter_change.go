package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/units"
)

func newDeadLetterReplay(path *string) *cobra.Command {
	l := &letters{config: path}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Send dead letters to their sinks again",
		Long: `Send dead letters to their sinks again, with their timestamps, labels and metadata.
What the sink accepts is taken out of the files, what it refuses again stays there with
the new reason. Mend the cause first. It can be interrupted: nothing is lost, up to
1 MiB may be sent twice, with the same timestamps.

Exit code 0 means that all were accepted, 1 that some were not.`,
		Example: `  log_capturer deadletter replay --dry-run
  log_capturer deadletter replay --sink loki --reason line_too_long
  log_capturer deadletter replay --source 'web-*' --json`,
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "only say how many would be sent")
	return l.flags(cmd, func(ctx context.Context, desk office.Desk, out io.Writer) error {
		result, err := desk.Replay(ctx, l.filter, *dryRun)
		if err != nil {
			return &failure{exitFailed, err}
		}
		if err := l.print(out, result, func(w io.Writer) { replayTable(w, result) }); err != nil {
			return err
		}
		if !result.DryRun && !result.Whole() {
			return &failure{exitFailed, errReported}
		}
		return nil
	})
}

func replayTable(w io.Writer, result office.Replayed) {
	if len(result.Sinks) == 0 {
		fmt.Fprintln(w, "no dead letters")
		return
	}
	if result.DryRun {
		fmt.Fprintln(w, "SINK\tWOULD SEND")
		for _, s := range result.Sinks {
			fmt.Fprintf(w, "%s\t%d\n", units.Printable(s.Sink), s.Matched)
		}
		return
	}
	fmt.Fprintln(w, "SINK\tMATCHED\tACCEPTED\tREFUSED AGAIN\tNOT SENT")
	for _, s := range result.Sinks {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", units.Printable(s.Sink), s.Matched, s.Accepted, s.Refused, s.NotSent)
	}
	for _, s := range result.Sinks {
		for _, r := range s.Refusals {
			fmt.Fprintf(w, "%s refused %d again, %s: %s\n", units.Printable(s.Sink), r.Entries, units.Printable(r.Reason), units.Printable(r.Detail))
		}
		if s.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", units.Printable(s.Sink), units.Printable(s.Error))
		}
	}
}

func newDeadLetterPurge(path *string) *cobra.Command {
	l := &letters{config: path}
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Remove dead letters for good",
		Long: `Remove dead letters for good, and say which. Without --yes nothing is removed, and what
would be is shown.`,
		Example: `  log_capturer deadletter purge --reason too_old
  log_capturer deadletter purge --reason too_old --yes
  log_capturer deadletter purge --sink old-loki --yes --json`,
	}
	yes := cmd.Flags().Bool("yes", false, "remove them")
	return l.flags(cmd, func(ctx context.Context, desk office.Desk, out io.Writer) error {
		purged, err := desk.Purge(ctx, l.filter, !*yes)
		if err != nil {
			return &failure{exitFailed, err}
		}
		if err := l.print(out, purged, func(w io.Writer) { purgeTable(w, purged) }); err != nil {
			return err
		}
		if purged.DryRun && len(purged.Groups) > 0 {
			return &failure{exitUsage, errors.New("nothing was removed; give --yes to remove them")}
		}
		return nil
	})
}

func purgeTable(w io.Writer, purged office.Purged) {
	if len(purged.Groups) > 0 && !purged.DryRun {
		fmt.Fprintln(w, "removed:")
	}
	groupTable(w, purged.Groups, "no dead letters")
}
