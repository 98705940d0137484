// Package sinktest is the suite that every sink passes: Run holds an implementation
// of sink.Sink to the contract, against whatever it delivers to.
//
// A sink's package has one test that calls Run with a Harness. The suite never looks
// inside a sink: it sends, and then reads what is on the other side.
package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// Deadline is how long the other side may take to show what it has accepted, and
// a cancelled Send to return.
const Deadline = 10 * time.Second

// Entry is one line as it is found on the other side.
type Entry struct {
	// Source is the value of the label LabelSource, or the source's name.
	Source string
	// Output is "stdout", "stderr", or "" if the other side does not tell.
	Output string
	// Time is nanoseconds since the Unix epoch; 0 if the other side does not tell.
	Time int64
	Line []byte
}

// LabelSource and LabelOutput are the labels of the suite's streams.
const (
	LabelSource = "source"
	LabelOutput = "output"
)

// Harness is how the suite gets a sink and its other side.
type Harness struct {
	// New returns a new sink with an empty other side of its own, for one test. The
	// suite closes the sink; what else there is to free New registers with t.Cleanup.
	New func(t testing.TB) Instance
	// Line returns what becomes of a line's bytes; nil if they arrive as they are.
	Line func([]byte) []byte
	// Once tells that entries which are sent again after a failure are not repeated.
	Once bool
}

// Instance is a sink and its other side.
type Instance struct {
	Sink sink.Sink
	// Received returns what the other side has, for each source in its order.
	Received func(t testing.TB) []Entry
	// Break makes Sends fail until heal is called; nil if that cannot be had.
	Break func(t testing.TB) (heal func())
	// LoseReply makes the other side take the next Send, and the sink not hear of it;
	// nil if that cannot be.
	LoseReply func(t testing.TB)
	// Hang makes Sends hang until release is called; nil if that cannot be had.
	Hang func(t testing.TB) (release func())
}

// Run runs the suite. Whether something leaked is for the package's TestMain (goleak)
// to see: Run closes every sink.
func Run(t *testing.T, h Harness) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.with(t, h) })
	}
}

// testCase is one scenario.
type testCase struct {
	name string
	run  func(*suite)
}

func cases() []testCase {
	return []testCase{
		{"entries arrive in order with their bytes and times", (*suite).inOrder},
		{"nothing to send is no error", (*suite).nothing},
		{"only the entries of a view are sent", (*suite).views},
		{"several sources and outputs in one Send", (*suite).sources},
		{"several views of one source", (*suite).viewsOfOneSource},
		{"equal lines are not one line", (*suite).equalLines},
		{"empty lines", (*suite).emptyLines},
		{"a line of 1 MiB", (*suite).longLine},
		{"any bytes", (*suite).binary},
		{"views are not kept or changed", (*suite).untouched},
		{"a failed Send can be sent again", (*suite).failed},
		{"a Send whose reply was lost can be sent again", (*suite).lostReply},
		{"a cancelled Send returns", (*suite).cancelled},
		{"Close after a failure and twice", (*suite).close},
	}
}

// with runs the case with a sink of its own.
func (c testCase) with(t testing.TB, h Harness) {
	s := &suite{TB: t, h: h, Instance: h.New(t), now: time.Now().Add(-time.Minute).UnixNano()}
	if s.h.Line == nil {
		s.h.Line = slices.Clone[[]byte]
	}
	defer func() { _ = s.Sink.Close() }()
	c.run(s)
}

type suite struct {
	testing.TB
	Instance
	h    Harness
	now  int64
	want []Entry
}

// source returns a source whose streams carry the suite's labels.
func source(name string) *record.Source {
	src := &record.Source{ID: "test:" + name, Kind: "container", Name: name}
	for _, out := range []record.Output{record.OutputNone, record.Stdout, record.Stderr} {
		src.Streams[out] = record.NewStream(record.Labels{{Name: LabelSource, Value: name}, {Name: LabelOutput, Value: out.String()}},
			record.Labels{{Name: "id", Value: "4f5e"}})
	}
	return src
}

// add appends a line to b and to what is expected.
func (s *suite) add(b *record.Batch, out record.Output, line []byte) {
	s.now += 1000
	b.Append(s.now, out, line)
	s.want = append(s.want, Entry{b.Source.Name, out.String(), s.now, s.h.Line(line)})
}

func (s *suite) send(views ...record.View) {
	s.Helper()
	if err := s.Sink.Send(s.Context(), views); err != nil {
		s.Fatalf("Send: %v", err)
	}
}

// check waits until the other side has what is expected, and compares.
func (s *suite) check() {
	s.Helper()
	got := s.Received(s.TB)
	for end := time.Now().Add(Deadline); len(got) < len(s.want) && time.Now().Before(end) && s.Context().Err() == nil; {
		wait(s.Context(), 20*time.Millisecond)
		got = s.Received(s.TB)
	}
	for key, want := range bySource(s.want) {
		s.compare(key, bySource(got)[key], want)
	}
	if len(got) != len(s.want) {
		s.Errorf("the other side has %d entries, want %d", len(got), len(s.want))
	}
}

// compare looks at one source, each output by itself: between two outputs the order is
// that of the times, which not every other side keeps.
func (s *suite) compare(name string, got, want []Entry) {
	s.Helper()
	if len(got) != len(want) {
		s.Fatalf("%s: %d entries arrived, want %d", name, len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].Line, want[i].Line) {
			s.Fatalf("%s: entry %d is %.100q (%d bytes), want %.100q (%d bytes)", name, i, got[i].Line, len(got[i].Line), want[i].Line, len(want[i].Line))
		}
		if got[i].Time != 0 && got[i].Time != want[i].Time {
			s.Fatalf("%s: entry %d has the time %d, want %d", name, i, got[i].Time, want[i].Time)
		}
	}
}

func bySource(entries []Entry) map[string][]Entry {
	told := slices.ContainsFunc(entries, func(e Entry) bool { return e.Output != "" })
	out := map[string][]Entry{}
	for _, e := range entries {
		key := e.Source
		if told {
			key += "/" + e.Output
		}
		out[key] = append(out[key], e)
	}
	return out
}

// wait is a pause between two looks at a condition.
func wait(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// mustFail sends and wants an error that promises nothing: neither that entries were
// refused, nor that they were accepted.
func (s *suite) mustFail(ctx context.Context, views ...record.View) {
	s.Helper()
	err := s.Sink.Send(ctx, views)
	if rejected := new(sink.RejectedError); err == nil || errors.As(err, &rejected) {
		s.Fatalf("Send: %v; want an error after which it is tried again", err)
	}
}

func line(i int) []byte { return fmt.Appendf(nil, "line %d: the quick brown fox", i) }
