package dockerapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// live: an engine with a log that may grow; a hook at the EOF of each answer.
type live struct {
	log   []stored
	asked []docker.LogOptions
	eof   func(call int)
}

type hookBody struct {
	io.Reader
	eof func()
}

func (b *hookBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.eof != nil {
		b.eof()
		b.eof = nil
	}
	return n, err
}
func (b *hookBody) Close() error { return nil }

func (e *live) Logs(_ context.Context, _ string, o docker.LogOptions) (io.ReadCloser, error) {
	call := len(e.asked)
	e.asked = append(e.asked, o)
	log := e.log
	if o.Tail != 0 {
		log = log[max(0, len(log)-o.Tail):]
	}
	var b bytes.Buffer
	for _, rec := range log {
		if rec.time >= o.Since {
			b.Write(muxFrame(rec))
		}
	}
	return &hookBody{&b, func() {
		if e.eof != nil {
			e.eof(call)
		}
	}}, nil
}

func drain(t *testing.T, r source.Reader) (out []string) {
	for {
		b, err := r.Next(t.Context())
		if err != nil {
			if !errors.Is(err, source.ErrIdle) && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return out
		}
		for i := range b.Entries {
			out = append(out, string(b.Line(i)))
		}
		b.Done(record.Delivered)
	}
}

// What a container writes between the end of a poll's answer and its own end is read.
func TestLastWordsThatAreWrittenAsAPollEndsAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &live{}
		for i := range 5 {
			e.log = append(e.log, stored{0, noon + int64(i)*1001, fmt.Sprintf("l%d\n", i)})
		}
		target := testTarget()
		target.Mode = source.Poll
		r, _ := open(t, e, target, position.Cursor{})
		e.eof = func(call int) {
			if call == 0 { // the engine has sent its EOF; now the container writes its last words and dies
				e.log = append(e.log, stored{0, noon + 99_001, "last words\n"})
				st := target
				c := *target.Container
				c.Running = false
				st.Container = &c
				r.Update(st)
			}
		}
		got := drain(t, r)
		<-time.After(time.Hour)
		got = append(got, drain(t, r)...)
		if fmt.Sprint(got) != "[l0 l1 l2 l3 l4 last words]" {
			t.Error("the last words are missing:", got)
		}
	})
}

// A window that does not reach back far enough is widened; the engine's log is not searched.
func TestAWindowThatIsMissedIsWidened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &live{}
		add := func(n int) {
			for range n {
				i := len(e.log)
				e.log = append(e.log, stored{0, noon + int64(i)*1001, fmt.Sprintf("l%d\n", i)})
			}
		}
		target := testTarget()
		target.Mode = source.Poll
		r, stats := open(t, e, target, position.Cursor{})
		r.opener.PollInterval = time.Second
		add(3)
		drain(t, r)
		for round := range 10 {
			add(1 + (round%2)*40) // 1, 41, 1, 41
			<-time.After(time.Second)
			drain(t, r)
		}
		if n := stats.Full.Load(); n != 0 {
			t.Errorf("%d searches of the whole log, want none", n)
		}
	})
}

// With since: now the engine does not search a long log for the time, however often a
// silent container is polled, and what comes is delivered.
func TestHistoryThatIsNotWantedIsNotSearched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &live{}
		add := func(n int) {
			for range n {
				i := len(e.log)
				e.log = append(e.log, stored{0, noon + int64(i)*1001, fmt.Sprintf("l%d\n", i)})
			}
		}
		add(900)
		target := testTarget()
		target.Mode, target.Since = source.Poll, time.Unix(0, noon+900*1001)
		r, stats := open(t, e, target, position.Cursor{})
		for range 5 {
			if got := drain(t, r); len(got) > 0 {
				t.Fatal("history was delivered:", got)
			}
		}
		add(20)
		if got := drain(t, r); len(got) != 20 || got[0] != "l900" || got[19] != "l919" {
			t.Error("got", got)
		}
		for _, o := range e.asked {
			if o.Tail == 0 {
				t.Errorf("the whole log was asked for: %+v", o)
			}
		}
		if n := stats.Full.Load(); n != 0 {
			t.Errorf("%d searches", n)
		}
	})
}
