// Package census counts what a process holds at one moment, by owner: its goroutines, from
// a profile, so that those of libraries are counted for who started them; its descriptors,
// from /proc; its heap, from the runtime's sampled profile; and what is in the accounts of
// package ledger. A census of 100 goroutines takes about a millisecond.
package census

import (
	"cmp"
	"errors"
	"runtime"
	"runtime/debug"
	runmetrics "runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/task"
)

// Kinds of what is in the accounts that are descriptors of a kind of their own.
const (
	JSONFile     = "json_file"
	LogFile      = "log_file"
	EngineStream = "engine_stream"
	Connection   = "connection"
	Ticker       = "ticker"
	// Reader is a log that is read, or to be read.
	Reader = "reader"
	// SpoolFile, DeadLetterFile and SinkFile are open files of theirs.
	SpoolFile      = "spool_file"
	DeadLetterFile = "deadletter_file"
	SinkFile       = "sink_file"
	// Child is a process that the agent runs, with its pipes.
	Child = "child"
)

// Entry is an account, and whose it is.
type Entry struct {
	Owner, Kind string
	Account     *ledger.Account
	// Count is asked where there is no account: of a register, for example.
	Count func() int
	// Expected is what the load explains; nil = not known.
	Expected func() int
	Endpoint string
}

// Census counts. Its fields are set before the first one.
type Census struct {
	Tasks   *task.Scope
	Started time.Time
	DataDir string
	// Accounts are all there are.
	Accounts func() []Entry
	// Expected returns the tasks by owner that there should be: the formula.
	Expected func() map[string]int
	// Component tells to which component an owner belongs, or a function of ours by its
	// full name.
	Component func(owner string) string
	// BatchBytes is the memory of batches in flight.
	BatchBytes func() int64
	// Components are those that can be switched.
	Components func() []ledger.ComponentState

	sites sites
}

// runtimeGoroutines are those that nobody of ours starts: main's, os/signal's, and the one
// of signal.NotifyContext.
const runtimeGoroutines = 3

// Take counts. The error tells what could not be counted; the rest is there.
func (c *Census) Take() (ledger.Snapshot, error) {
	s := ledger.Snapshot{Time: time.Now().UTC(), Started: c.Started.UTC(), Components: c.Components()}
	entries := c.Accounts()
	connections := map[string]int{}
	for _, e := range entries {
		s.Held = append(s.Held, c.held(e))
		if e.Kind == Connection {
			for owner, n := range e.Account.ByOwner() {
				connections[cmp.Or(owner, e.Owner)] += n
			}
		}
	}
	slices.SortFunc(s.Held, func(a, b ledger.Held) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Endpoint, b.Endpoint))
	})
	goroutines, err1 := c.goroutines(connections)
	s.Goroutines = goroutines
	descriptors, err2 := countDescriptors(c.DataDir, s.Held)
	s.Descriptors = descriptors
	s.Heap = c.heap()
	return s, errors.Join(err1, err2)
}

func (c *Census) held(e Entry) ledger.Held {
	h := ledger.Held{Owner: e.Owner, Component: c.Component(e.Owner), Kind: e.Kind, Endpoint: e.Endpoint, Expected: -1}
	if e.Account != nil {
		h.Count, h.Oldest, h.Unclosed = int(e.Account.Load()), e.Account.Oldest().UTC(), e.Account.Unclosed()
	}
	if e.Count != nil {
		h.Count = e.Count()
	}
	if e.Expected != nil {
		h.Expected = e.Expected()
	}
	return h
}

func (c *Census) heap() ledger.Heap {
	live := []runmetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runmetrics.Read(live)
	h := ledger.Heap{BatchBytes: c.BatchBytes(), Sites: c.sites.most(c.Component)}
	if live[0].Value.Kind() == runmetrics.KindUint64 {
		h.LiveBytes = int64(live[0].Value.Uint64())
	}
	if limit := debug.SetMemoryLimit(-1); limit < 1<<62 {
		h.LimitBytes = limit
	}
	return h
}

// Goroutines returns how many there are, and how many there should be: cheaper than Take.
func (c *Census) Goroutines() (total, expected int) {
	for _, n := range c.Expected() {
		expected += n
	}
	for _, e := range c.Accounts() {
		if e.Kind == Connection {
			expected += perConnection(e.Owner) * int(e.Account.Load())
		}
	}
	return runtime.NumGoroutine(), expected + runtimeGoroutines
}
