package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/ask"
	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/units"
)

// unreachable is the status of an agent that does not answer.
const unreachable = "unreachable"

// noAnswer is what health --json says of it.
type noAnswer struct {
	Status string `json:"status"`
	Error  string `json:"error"`
}

// healthOptions are the flags of health.
type healthOptions struct {
	url, timeout        string
	json, ready, strict bool
}

func newHealth(path *string) *cobra.Command {
	var opts healthOptions
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say how the running agent is: every component, since when, and why",
		Long: `Ask the agent that listens on the configuration's server.listen how it is. What is not
well comes first.

Exit code 0 means healthy or degraded: the agent mends that by itself, or lives with it.
1 means unhealthy (somebody must act), or that no agent answers. So it suits Docker's
HEALTHCHECK and the checks of other supervisors.`,
		Example: `  log_capturer health
  log_capturer health --strict
  log_capturer health --ready
  log_capturer health --url http://127.0.0.1:8001 --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&opts.url, "url", "", "ask the agent at this `URL`, instead of the configuration's server.listen")
	cmd.Flags().StringVar(&opts.timeout, "timeout", "5s", "wait for the answer for this `TIME`")
	cmd.Flags().BoolVar(&opts.ready, "ready", false, "ask only whether the agent has started whole")
	cmd.Flags().BoolVar(&opts.strict, "strict", false, "exit with 1 for degraded too")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print the answer as JSON")
	cmd.MarkFlagsMutuallyExclusive("ready", "strict")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		timeout, err := units.ParseDuration(opts.timeout)
		if err != nil || timeout <= 0 {
			return fmt.Errorf("--timeout %q: expected a duration such as 5s", opts.timeout)
		}
		agent, err := opts.agent(*path, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout.Std(), fmt.Errorf("no answer within %s", timeout))
		defer cancel()
		if opts.ready {
			return opts.showReady(ctx, agent, cmd.OutOrStdout())
		}
		return opts.showHealth(ctx, agent, cmd.OutOrStdout())
	}
	return cmd
}

// agent finds who is to be asked.
func (o healthOptions) agent(path string, stderr io.Writer) (*ask.Agent, error) {
	if o.url != "" {
		agent, err := ask.AtURL(o.url, "")
		if err != nil {
			return nil, fmt.Errorf("--url %w", err)
		}
		return agent, nil
	}
	listen, err := app.ListenAddress(config.Loader{}, findConfig(path, os.LookupEnv, exists))
	if listen == "" {
		return nil, &failure{exitUsage, err}
	}
	if err != nil {
		fmt.Fprintln(stderr, "warning: the configuration has mistakes, and the agent may run with an earlier one; log_capturer check lists them")
	}
	return ask.At(listen, ""), nil
}

func (o healthOptions) showReady(ctx context.Context, agent *ask.Agent, out io.Writer) error {
	var answer struct {
		Ready bool   `json:"ready"`
		Error string `json:"error,omitempty"`
	}
	well, err := agent.State(ctx, "/ready", &answer)
	if err != nil {
		if err = unanswered(ctx, err); !o.json {
			return &failure{exitFailed, err}
		}
		answer.Error = err.Error()
	}
	text := "ready"
	if !well {
		text = "not ready: the agent starts or stops"
	}
	return o.show(out, answer, text+"\n", well)
}

func (o healthOptions) showHealth(ctx context.Context, agent *ask.Agent, out io.Writer) error {
	var report health.Report
	_, err := agent.State(ctx, "/health", &report)
	if err != nil {
		if err = unanswered(ctx, err); !o.json {
			return &failure{exitFailed, err}
		}
		return o.show(out, noAnswer{unreachable, err.Error()}, "", false)
	}
	well := report.Status == health.Healthy || report.Status == health.Degraded && !o.strict
	return o.show(out, report, healthTable(report, time.Now(), isTerminal(out), columns(out)), well)
}

// unanswered says why there is no answer and what to do.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return fmt.Errorf("%w; is the agent running, and is this its server.listen?", err)
}

// show prints the answer; one that is not well makes the exit code.
func (o healthOptions) show(out io.Writer, answer any, text string, well bool) error {
	var err error
	if o.json {
		var indented []byte
		indented, err = json.MarshalIndent(answer, "", "  ")
		text = string(indented) + "\n"
	}
	if err := write(out, []byte(text), err); err != nil {
		return err
	}
	if !well {
		return &failure{exitFailed, errReported}
	}
	return nil
}

// healthTable is the report for people: in its first line, which is all that some
// supervisors show, what is not well.
func healthTable(r health.Report, now time.Time, color bool, width int) string {
	list := slices.Clone(r.Components)
	slices.SortStableFunc(list, func(a, b health.Component) int { return severity(b.Status) - severity(a.Status) })
	var ill []string
	rows := [][]string{{"COMPONENT", "STATUS", "SINCE", "REASON"}}
	for _, c := range list {
		if c.Status != health.Healthy {
			ill = append(ill, units.Printable(c.Name))
		}
		rows = append(rows, []string{units.Printable(c.Name), units.Printable(string(c.Status)), ago(now.Sub(c.Since)), units.Printable(c.Reason)})
	}
	about := strings.Join(ill, ", ")
	if len(ill) == 0 {
		about = fmt.Sprintf("all %d components", len(list))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", paint(color, r.Status, units.Printable(string(r.Status))), about)
	align(&b, rows, width, func(column int, text string) string {
		if column != 1 {
			return text
		}
		return paint(color, health.Status(strings.TrimSpace(text)), text)
	})
	return b.String()
}

// severity sorts; what another version may say is the worst.
func severity(s health.Status) int {
	switch s {
	case health.Healthy:
		return 0
	case health.Degraded:
		return 1
	case health.Unhealthy:
		return 2
	}
	return 3
}

func paint(color bool, s health.Status, text string) string {
	code, known := map[health.Status]string{health.Healthy: "32", health.Degraded: "33", health.Unhealthy: "31"}[s]
	if !color || !known {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// ago writes how long something is past, with one unit.
func ago(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds ago", int(max(0, d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d/day))
}
