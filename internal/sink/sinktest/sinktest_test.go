package sinktest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is the simplest sink there is, and its own other side.
type memory struct {
	got  []Entry
	fail bool
	lose bool
	hang bool
	bug  string
}

var errMemory = errors.New("as the test wants it")

func (m *memory) Send(ctx context.Context, views []record.View) error {
	if m.hang {
		if m.bug == "deaf" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if m.fail {
		if m.bug == "says yes" {
			return nil
		}
		return errMemory
	}
	for _, v := range views {
		if m.bug == "whole batches" {
			v = record.Whole(v.Batch)
		}
		for i, e := range v.Entries() {
			m.take(v, v.From+i, e)
		}
		if m.bug == "scribbles" && len(v.Batch.Arena) > 0 {
			v.Batch.Arena[0] = '!'
		}
	}
	if m.bug == "backwards" {
		slices.Reverse(m.got)
	}
	if m.lose {
		m.lose = false
		return errMemory
	}
	return nil
}

func (m *memory) take(v record.View, i int, e record.Entry) {
	line := slices.Clone(v.Batch.Line(i))
	switch m.bug {
	case "keeps memory":
		line = v.Batch.Line(i)
	case "drops empty lines":
		if len(line) == 0 {
			return
		}
	case "drops equal lines":
		if len(m.got) > 0 && string(m.got[len(m.got)-1].Line) == string(line) {
			return
		}
	case "cuts":
		line = line[:min(len(line), 1000)]
	case "milliseconds":
		e.Time -= e.Time % 1e6
	case "mends bytes":
		line = []byte(string([]rune(string(line))))
	}
	entry := Entry{v.Batch.Source.Name, e.Output.String(), e.Time, line}
	same := func(o Entry) bool { return o.Source == entry.Source && o.Time == entry.Time }
	if m.bug == "repeats" || m.bug == "keeps memory" || m.bug == "milliseconds" || !slices.ContainsFunc(m.got, same) {
		m.got = append(m.got, entry)
	}
}

func (m *memory) Close() error {
	if m.bug == "close fails" {
		return errMemory
	}
	return nil
}

func harness(bug string) Harness {
	return Harness{Once: true, New: func(testing.TB) Instance {
		m := &memory{bug: bug}
		return Instance{
			Sink:      m,
			Received:  func(testing.TB) []Entry { return m.got },
			Break:     func(testing.TB) func() { m.fail = true; return func() { m.fail = false } },
			LoseReply: func(testing.TB) { m.lose = true },
			Hang:      func(testing.TB) func() { m.hang = true; return func() { m.hang = false } },
		}
	}}
}

func TestAGoodSinkPasses(t *testing.T) { Run(t, harness("")) }

// judge takes what a case says instead of failing the test.
type judge struct {
	testing.TB
	ctx  context.Context
	said bool
}

type stopped struct{}

func (j *judge) Helper()                  {}
func (j *judge) Context() context.Context { return j.ctx }
func (j *judge) Errorf(string, ...any)    { j.said = true }
func (j *judge) Fatalf(string, ...any)    { j.said = true; panic(stopped{}) }
func (j *judge) Fatal(...any)             { j.said = true; panic(stopped{}) }

// TestTheSuiteSeesBugs plants one bug after the other; each must fail a case.
func TestTheSuiteSeesBugs(t *testing.T) {
	for _, bug := range []string{"deaf", "says yes", "whole batches", "scribbles", "backwards", "keeps memory", "drops empty lines",
		"drops equal lines", "cuts", "milliseconds", "mends bytes", "repeats", "close fails"} {
		seen := ""
		for _, c := range cases() {
			// No time to wait for what never comes.
			ctx, cancel := context.WithCancel(t.Context())
			if c.name != "a cancelled Send returns" {
				cancel()
			}
			j := &judge{TB: t, ctx: ctx}
			func() {
				defer cancel()
				defer func() {
					if p := recover(); p != nil && p != (stopped{}) {
						panic(p)
					}
				}()
				c.with(j, harness(bug))
			}()
			if j.said {
				seen = c.name
				break
			}
		}
		if seen == "" {
			t.Errorf("no case sees a sink that %q", bug)
		}
	}
}
