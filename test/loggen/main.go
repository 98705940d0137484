// Command loggen writes log lines that can be counted: the workload of the tests
// and of the demo. It is the only file of their container image, so it is built
// static and uses the standard library alone.
//
// Every line carries its id and a number that is contiguous across standard
// output and standard error (see package line). One line is one write. At
// SIGTERM or SIGINT it ends at once, also as process 1, after the line it is
// at; with -state the next start goes on behind that line.
//
// Exit codes: 0 or -exit; 1 when it cannot write; 2 for wrong flags or -panic.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// blockedGrace is how long a write that is stuck in a full pipe may hold up the end.
const blockedGrace = time.Second

func main() {
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loggen:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, func() {
		time.AfterFunc(blockedGrace, func() { os.Exit(o.exit) })
	})
	open := make(chan os.Signal, 1)
	signal.Notify(open, syscall.SIGUSR1)
	o.open = open
	code, err := run(ctx, o, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "loggen:", err)
	}
	os.Exit(code)
}

type options struct {
	id          string
	lines       int64
	rate        float64
	minSize     int
	maxSize     int
	stderrEvery int64
	longEvery   int64
	longBytes   int
	traceEvery  int64
	traceLines  int64
	format      line.Format
	startSeq    int64
	state       string
	hold        bool
	gate        int64
	open        <-chan os.Signal // the gate's
	burst       int64
	every       time.Duration
	took        string
	exit        int
	panics      bool
	eat         bool
	file        string
}

func parseFlags(args []string) (options, error) {
	var o options
	var format, sizes string
	fs := flag.NewFlagSet("loggen", flag.ContinueOnError)
	fs.StringVar(&o.id, "id", "loggen", "`ID` in every line: letters, digits, - _ . /")
	fs.Int64Var(&o.lines, "n", 0, "number of lines; 0 = without end")
	fs.Float64Var(&o.rate, "rate", 0, "lines per second; 0 = as fast as possible")
	size := fs.Int("size", 0, "pad lines to this many bytes; 0 = their natural size")
	fs.StringVar(&sizes, "sizes", "", "pad lines to between `MIN:MAX` bytes")
	fs.Int64Var(&o.stderrEvery, "stderr-every", 0, "every `K`th line goes to standard error")
	fs.Int64Var(&o.longEvery, "long-every", 0, "every `K`th line is a JSON line of -long-bytes")
	fs.IntVar(&o.longBytes, "long-bytes", 40_000, "bytes of a long line")
	fs.Int64Var(&o.traceEvery, "trace-every", 0, "every `K`th line begins a stack trace, unless it goes to standard error")
	fs.Int64Var(&o.traceLines, "trace-lines", 4, "its other lines; those between that go to standard error are none of it")
	fs.StringVar(&format, "format", "plain", "plain, json, nginx or mixed")
	fs.Int64Var(&o.startSeq, "start-seq", 1, "number of the first line")
	fs.StringVar(&o.state, "state", "", "`FILE` to continue the numbers from after a restart")
	fs.BoolVar(&o.hold, "hold", false, "stay after the last line until SIGTERM")
	fs.Int64Var(&o.gate, "gate", 0, "wait after `N` lines for SIGUSR1, unless it came already")
	fs.Int64Var(&o.burst, "burst", 0, "write `N` lines at once, then wait for -every")
	fs.DurationVar(&o.every, "every", time.Second, "pause between bursts; 0 = each waits for SIGUSR1")
	fs.StringVar(&o.took, "took", "", "append to `FILE` how long each burst took, a line each")
	fs.IntVar(&o.exit, "exit", 0, "exit `CODE`")
	fs.BoolVar(&o.panics, "panic", false, "last words: a stack trace on standard error, then exit 2")
	fs.BoolVar(&o.eat, "eat", false, "after the last line, take memory until the kernel ends it")
	fs.StringVar(&o.file, "file", "", "append to this `FILE` instead of standard output")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	var err error
	if o.format, err = line.ParseFormat(format); err != nil {
		return o, err
	}
	o.minSize, o.maxSize = *size, *size
	if sizes != "" {
		if o.minSize, o.maxSize, err = parseRange(sizes); err != nil {
			return o, err
		}
	}
	if o.panics && o.exit == 0 {
		o.exit = 2
	}
	return o, nil
}

func parseRange(s string) (lo, hi int, err error) {
	from, to, ok := strings.Cut(s, ":")
	lo, errLo := strconv.Atoi(from)
	hi, errHi := strconv.Atoi(to)
	if !ok || errLo != nil || errHi != nil || lo < 0 || hi < lo {
		return 0, 0, fmt.Errorf("-sizes %q: want MIN:MAX in bytes", s)
	}
	return lo, hi, nil
}
