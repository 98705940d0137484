package soak

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
)

var (
	during = flag.Duration("for", 3*time.Minute, "how long the soak takes, without its beginning and end")
	report = flag.String("report", "", "write the report to this `FILE`, as Markdown, and the plot beside it, as SVG")
)

// long is from when on a soak is judged by its slopes.
const long = 30 * time.Minute

func optionsFor(during time.Duration) options {
	o := options{
		during: during, streams: 50, others: 2, rate: 10,
		pace: 2 * time.Second, round: time.Minute, every: 5 * time.Second, restarts: 3,
	}
	if during >= long {
		o.pace, o.round, o.every = 3*time.Second, 5*time.Minute, 15*time.Second
	}
	return o
}

// R11, R12, R24, R27: containers come and go, sinks, network and engine fail, and the
// configuration changes, all at once and for long. No line is lost, none is repeated but
// where a request failed, and nothing stays behind.
func TestSoak(t *testing.T) {
	o := optionsFor(*during)
	r := newRig(t, o)
	r.warm(t)
	base := r.floor(t)
	f := &logFile{path: filepath.Join(r.logs, "busy.log"), keep: 4}
	reads := slices.Repeat([]string{"stream"}, o.streams)
	for range o.others {
		reads = append(reads, "file", "poll")
	}
	if err := r.launch(t.Context(), reads...); err != nil {
		t.Fatal(err)
	}
	r.streaming(t, r.followed())

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen record
	var all errgroup.Group
	for _, part := range []func() error{
		func() error { return r.churn(ctx) },
		func() error { return r.writeFile(ctx, f) },
		func() error { r.watch(ctx, t.Name(), &seen); return nil },
	} {
		all.Go(func() error {
			err := part()
			if err != nil {
				cancel()
			}
			return err
		})
	}
	// A part that fails ends the soak, but not without a report of all until then.
	t.Run("faults", func(t *testing.T) { r.faults(t, ctx) })
	cancel()
	broken := all.Wait()
	result := r.end(t, f, base, seen)
	result.broken = errors.Join(broken, result.broken)
	t.Log("\n" + result.markdown())
	for _, wrong := range result.wrong() {
		t.Error(wrong)
	}
	if *report != "" {
		if err := result.publish(*report); err != nil {
			t.Error(err)
		}
	}
}

// end removes all containers, waits for what is under way, and counts.
func (r *rig) end(t *testing.T, f *logFile, base sample, seen record) *result {
	t.Helper()
	broken := r.disband(context.WithoutCancel(t.Context()))
	r.ledger.Expect(f.id(), 1, f.seq)
	r.did.files = f.seq
	out := &result{o: r.o, broken: broken, base: base, seen: seen, expected: r.ledger.Total()}
	// What is missing when the time is over is told by the counts.
	deadline := time.Now().Add(2 * time.Minute)
	harness.Eventually(t, 3*time.Minute, "all lines", func() (bool, string) {
		calm, stormy := r.calm.Check(r.ledger), r.stormy.Check(r.ledger)
		n, err := r.loki.CountLong(t.Context(), fmt.Sprintf("{run=%q}", r.run), r.start, time.Now())
		out.calm, out.stormy, out.loki = calm, stormy, n
		missing := calm.Lost.N+stormy.Lost.N+max(0, r.ledger.Total()-n) > 0
		return err == nil && !missing || time.Now().After(deadline), fmt.Sprintf("%s; %s; %d in Loki, error %v", calm, stormy, n, err)
	})
	out.broken = errors.Join(out.broken, f.remove())
	deadline = time.Now().Add(time.Minute)
	harness.Eventually(t, 2*time.Minute, "the end of all that is under way", func() (bool, string) {
		m, err := r.agent.Scrape()
		if err != nil {
			return false, err.Error()
		}
		idle, state := r.idle()
		if out.books = r.balance(m); !idle {
			out.books += "still read: " + state
		}
		out.failed = int64(m.Sum("logs_sent_total", `status="failed"`, `sink="stormy"`))
		out.late = int64(m.Sum("container_stream_late_lines_total"))
		out.lokiFailed = int64(m.Sum("logs_sent_total", `status="failed"`, `sink="loki"`))
		return out.books == "" || time.Now().After(deadline), out.books
	})
	// Idle connections, with their goroutines, end by themselves.
	still := time.Now().Add(100 * time.Second)
	harness.Eventually(t, 2*time.Minute, "what was held before", func() (bool, string) {
		out.final = r.floor(t)
		return len(out.kept()) == 0 || time.Now().After(still), fmt.Sprint(out.kept())
	})
	h, err := r.agent.AskHealth()
	if err != nil {
		t.Fatal(err)
	}
	out.seen.note(time.Now(), h)
	out.did, out.marks = r.did, r.marks
	return out
}
