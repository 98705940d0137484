// Command demo shows log_capturer at work: it starts three containers that log in
// different shapes and a log file that grows, runs the agent on them, and prints
// what goes in and what comes out.
//
// Without end it runs until Ctrl-C. With DEMO_FOR=30s it ends by itself, waits
// until all is delivered, counts every line in the captured files (and in Loki,
// when LOKI_URL is set), and exits 0 only if each arrived exactly once.
//
// It leaves nothing behind but the captured logs: containers, image, a Docker
// engine that it had to start, and temporary files are removed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	agent := flag.String("agent", "bin/log_capturer", "`PATH` of the agent")
	flag.Parse()
	o, err := readOptions(*agent, os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err = run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type options struct {
	agent   string
	lokiURL string
	// lasts is zero for a demo that runs until it is interrupted.
	lasts    time.Duration
	terminal bool
}

func readOptions(agent string, env func(string) string) (options, error) {
	o := options{agent: agent, lokiURL: strings.TrimRight(env("LOKI_URL"), "/")}
	if s := env("DEMO_FOR"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return o, fmt.Errorf("DEMO_FOR=%q: want a duration such as 30s", s)
		}
		o.lasts = d
	}
	if _, err := os.Stat(agent); err != nil {
		return o, fmt.Errorf("no agent: %w: run make build", err)
	}
	if info, err := os.Stdout.Stat(); err == nil {
		term := env("TERM")
		o.terminal = info.Mode()&os.ModeCharDevice != 0 && term != "" && term != "dumb"
	}
	return o, nil
}

// errNotDelivered ends a demo whose verdict was printed.
var errNotDelivered = errors.New("not every line was delivered exactly once")

// run is the whole demo. What it starts has ended when it returns.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	s, err := open(ctx, o, out)
	if s != nil {
		defer func() { err = errors.Join(err, s.close(out)) }()
	}
	if interrupted(ctx, err) {
		return nil
	}
	if err != nil {
		return err
	}
	watching := ctx
	if o.lasts > 0 {
		var cancel context.CancelFunc
		watching, cancel = context.WithTimeout(ctx, o.lasts)
		defer cancel()
	}
	if err := s.watch(watching, out); err != nil {
		return err
	}
	if ctx.Err() != nil || o.lasts == 0 {
		return nil
	}
	err = s.verdict(ctx, out)
	if interrupted(ctx, err) {
		return nil
	}
	return err
}

// interrupted tells that err only says that Ctrl-C was pressed.
func interrupted(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() != nil && !errors.Is(err, errNotDelivered)
}
