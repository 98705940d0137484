package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
)

// comparison is one run of everything that was asked for.
type comparison struct {
	ctx                   context.Context
	dir                   string // for input and for what agents keep; removed at the end
	agents                []*peer.Agent
	scale                 float64
	rounds                int
	agentCore, serverCore int
	patience              time.Duration // of trial
	settle                time.Duration // from when all was read to when a quiet agent is watched
	least                 time.Duration // that anything is watched
	// done is called after each run.
	done func([]report.Run)

	runs    []report.Run
	told    []string // what the table has no place for
	said    *said    // made by the first row that needs it
	saidErr error
	closing []func() error
}

// works are the rows, by their ID in package report.
var works = map[string]row{
	"A": plain(1, largeFile), "B": plain(manyFiles, ofMany), "C": jsonFile, "D": quiet, "E": latency,
	"F": container(false), "Fs": container(true), "G": slow, "H": spooled,
}

// bytes scales a size, down to what still makes a request.
func (c *comparison) bytes(full int64) int64 { return max(64<<10, int64(float64(full)*c.scale)) }

// duration scales a time that is watched.
func (c *comparison) duration(full time.Duration) time.Duration {
	return max(c.least, time.Duration(float64(full)*c.scale))
}

// atEnd has something closed at the end.
func (c *comparison) atEnd(fn func() error) { c.closing = append(c.closing, fn) }

// run runs the rows of these IDs, every agent in turn, round by round. It ends early when its
// context does, with what was measured until then.
func (c *comparison) run(ids []string) (err error) {
	defer func() {
		for _, fn := range slices.Backward(c.closing) {
			err = errors.Join(err, fn())
		}
	}()
	for _, r := range report.Rows() {
		if !slices.Contains(ids, r.ID) {
			continue
		}
		if err := c.row(r); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) row(r report.Row) error {
	dir, err := os.MkdirTemp(c.dir, "row-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(os.Stderr, "%s: %s\n", r.ID, r.Title)
	do, err := works[r.ID](c, dir)
	if ctx := context.Cause(c.ctx); ctx != nil {
		return ctx
	}
	for round := range c.rounds {
		for _, a := range c.agents {
			run := report.Run{Row: r.ID, Agent: a.Name, Round: round + 1}
			if err != nil {
				run.Why = err.Error() // the row cannot be had here
			} else {
				run = do(a, run)
			}
			if ctx := context.Cause(c.ctx); ctx != nil {
				return ctx
			}
			c.runs = append(c.runs, run)
			fmt.Fprintf(os.Stderr, "  round %d of %d: %s: %s\n", round+1, c.rounds, a.Name, outcome(r, run))
			c.done(c.runs)
		}
	}
	return nil
}

// outcome is one run in a few words.
func outcome(r report.Row, run report.Run) string {
	if run.Why != "" {
		return strings.ReplaceAll(run.Why, "\n", " ")
	}
	out := fmt.Sprintf("%.3g %s, %.3g s, %.3g CPU-s, %.3g MB", r.Value(run), r.Unit, run.Seconds, run.CPU, math.Round(float64(run.RSS)/1e5)/10)
	if !run.Counts() {
		out += fmt.Sprintf("; does not count: %d lost, %d repeated", run.Lost, run.Server.Repeated)
	}
	if run.Server.Disorder > 0 {
		out += fmt.Sprintf("; %d out of order", run.Server.Disorder)
	}
	return out
}
