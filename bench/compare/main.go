// Command compare measures log_capturer beside the machine's limit and beside the agents that
// others use, and prints one table and draws one chart of all of it.
//
// Every agent does the same job, alone on one core, with a server on another that counts each
// line: a run that lost or repeated one does not count. Rounds go through all agents in turn,
// so that a machine that is busy for a while is busy for all of them.
//
// It builds and fetches the peers on first use (scripts/peers); one that cannot be had is a row
// that says why. Interrupted, it reports what it has. Progress is on standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/logcapturer/log_capturer/bench/null"
	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
)

// pinnedEnv tells that this process is on the server's core already, and how many there are.
const pinnedEnv = "LOG_CAPTURER_BENCH_PINNED"

type options struct {
	rows, agents []string
	scale        float64
	rounds       int
	json, report string
	dir          string
	args         string // those that change what is measured
}

func main() {
	null.Child()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	rows := fs.String("rows", "", "`LIST` of rows, such as A,C,Fs; all when empty")
	agents := fs.String("agents", "", "`LIST` of agents, such as log_capturer,promtail; all when empty")
	fs.Float64Var(&o.scale, "scale", 1, "`SHARE` of the full sizes and times; 0.02 is a smoke test")
	fs.IntVar(&o.rounds, "rounds", 3, "`N` rounds")
	fs.StringVar(&o.json, "json", "", "write every run to `FILE`, as JSON")
	fs.StringVar(&o.report, "report", "bin/benchmark.md", "write the table to `FILE`, between its marks if it has some, and the chart beside it")
	fs.StringVar(&o.dir, "dir", "", "`DIR` for input, up to 1.5 GB; a temporary one when empty")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	fs.Visit(func(f *flag.Flag) {
		if f.Name != "json" && f.Name != "report" && f.Name != "dir" {
			o.args += fmt.Sprintf(" -%s=%q", f.Name, f.Value)
		}
	})
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.scale <= 0 || o.rounds < 1 {
		return o, errors.New("-scale must be above 0 and -rounds at least 1")
	}
	for _, r := range report.Rows() {
		o.rows = append(o.rows, r.ID)
	}
	var err error
	if o.rows, err = choose(*rows, o.rows); err != nil {
		return o, fmt.Errorf("-rows: %w", err)
	}
	for _, a := range peer.All() {
		o.agents = append(o.agents, a.Name)
	}
	if o.agents, err = choose(*agents, o.agents); err != nil {
		return o, fmt.Errorf("-agents: %w", err)
	}
	return o, nil
}

// choose returns those of all that a list names, each by its name or how that begins.
func choose(list string, all []string) (chosen []string, err error) {
	if list == "" {
		return all, nil
	}
	for want := range strings.SplitSeq(list, ",") {
		want = strings.ToLower(strings.TrimSpace(want))
		exact := func(s string) bool { return strings.ToLower(s) == want }
		match := func(s string) bool { return strings.HasPrefix(strings.ToLower(s), want) }
		if slices.ContainsFunc(all, exact) {
			match = exact
		}
		if !slices.ContainsFunc(all, match) {
			return nil, fmt.Errorf("%q is none of %s", want, strings.Join(all, ", "))
		}
		for _, s := range all {
			if match(s) && !slices.Contains(chosen, s) {
				chosen = append(chosen, s)
			}
		}
	}
	return chosen, nil
}

func run(o options) (err error) {
	if os.Getenv(pinnedEnv) == "" {
		return pinned()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	dir, err := os.MkdirTemp(o.dir, "lc-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := &comparison{
		ctx: ctx, dir: dir, scale: o.scale, rounds: o.rounds, agentCore: min(1, cores()-1), serverCore: serverCore,
		patience: time.Minute, settle: 5 * time.Second, least: 3 * time.Second,
	}
	notes := map[string]string{}
	for _, a := range peer.All() {
		if slices.Contains(o.agents, a.Name) {
			a.Find(ctx, dir)
			notes[a.Name] = a.Note
			c.agents = append(c.agents, a)
		}
	}
	began := time.Now()
	var written error
	c.done = func(runs []report.Run) { written = o.write(runs, notes, c.told, began) }
	if err := c.run(o.rows); err != nil {
		if ctx.Err() == nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "compare: interrupted; this is what there is")
	}
	fmt.Print(report.Table(c.runs, peer.Ours, notes))
	return written
}

// serverCore is for the server and all else; agents have the next one, where there is one.
const serverCore = 0

// cores returns how many there are, whichever this process is pinned to.
func cores() int {
	if n, err := strconv.Atoi(os.Getenv(pinnedEnv)); err == nil {
		return n
	}
	return runtime.NumCPU()
}

// pinned runs this program again on one core, so that the agents have the other one.
func pinned() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return fmt.Errorf("agents are pinned to a core by taskset, of the package util-linux: %w", err)
	}
	argv := append([]string{taskset, "-c", strconv.Itoa(serverCore), self}, os.Args[1:]...)
	return syscall.Exec(taskset, argv, append(os.Environ(), fmt.Sprintf("%s=%d", pinnedEnv, cores())))
}

// write writes the report and the chart, and the runs.
func (o options) write(runs []report.Run, notes map[string]string, told []string, began time.Time) error {
	if err := os.MkdirAll(filepath.Dir(o.report), 0o755); err != nil {
		return err
	}
	caption := fmt.Sprintf("%s, %s, medians of %d rounds", began.UTC().Format("2006-01-02"), machine(), o.rounds)
	page, err := os.ReadFile(o.report)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	page = within(page, section(report.Table(runs, peer.Ours, notes), told, caption, o.args))
	errs := []error{
		os.WriteFile(o.report, page, 0o644),
		os.WriteFile(filepath.Join(filepath.Dir(o.report), chart), []byte(report.Chart(runs, peer.Ours, caption)), 0o644),
	}
	if o.json != "" {
		b, err := json.MarshalIndent(runs, "", " ")
		errs = append(errs, err, os.WriteFile(o.json, append(b, '\n'), 0o644))
	}
	return errors.Join(errs...)
}
