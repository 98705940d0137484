package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

// deliverWithin is how long the agent may take for what was written last.
const deliverWithin = 30 * time.Second

// verdict stops the writers, waits until all is delivered, stops the agent and
// counts every line. It returns errNotDelivered when the count is wrong.
func (s *stage) verdict(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "\nTime is up: stopping the writers and waiting until all is delivered …")
	written, err := s.stopWriters(ctx)
	if err != nil {
		return err
	}
	ledger := harness.NewLedger()
	for id, n := range written {
		if n == 0 {
			return fmt.Errorf("the sample %s wrote nothing", id)
		}
		ledger.Expect(id, 1, n)
	}
	if err := s.awaitDelivery(ctx, ledger.Total()); err != nil {
		return err
	}
	if err := s.agent.StopProcess(); err != nil {
		return err
	}
	ok, err := s.countFiles(out, ledger)
	if err != nil {
		return err
	}
	if s.o.lokiURL != "" {
		inLoki, err := s.countLoki(ctx, out, ledger)
		if err != nil {
			return err
		}
		ok = ok && inLoki
	}
	if !ok {
		return errNotDelivered
	}
	return nil
}

// awaitDelivery returns when total lines have been captured, and no later than
// deliverWithin: what is missing then is for the count to say.
func (s *stage) awaitDelivery(ctx context.Context, total int64) error {
	ctx, cancel := context.WithTimeout(ctx, deliverWithin)
	defer cancel()
	for {
		lines, err := s.captured.count()
		if err != nil {
			return err
		}
		delivered := sum(lines) >= total
		if s.o.lokiURL != "" && delivered {
			m, err := s.agent.Scrape()
			if err != nil {
				return err
			}
			delivered = int64(m.Sum("lines_acked_total", `sink="loki"`)) >= total
		}
		if delivered || !task.Sleep(ctx, 200*time.Millisecond) {
			return nil
		}
	}
}

func (s *stage) countFiles(out io.Writer, ledger *harness.Ledger) (bool, error) {
	count := ledger.Count()
	err := readAll(s.dir, func(path string, text []byte) { count.Add(path, text) })
	if err != nil {
		return false, err
	}
	return say(out, "captured files", count.Report()), nil
}

func (s *stage) countLoki(ctx context.Context, out io.Writer, ledger *harness.Ledger) (bool, error) {
	_, run := s.engine.Label()
	loki := harness.OpenLoki(s.o.lokiURL)
	var report *harness.Report
	// Loki shows an entry some time after it took it.
	for end := time.Now().Add(deliverWithin); ; {
		streams, err := loki.Query(ctx, fmt.Sprintf("{demo=%q}", run), s.started.Add(-time.Minute), time.Now().Add(time.Minute))
		if err != nil {
			return false, err
		}
		if report = ledger.Check(streams); report.Lost.N == 0 || time.Now().After(end) {
			return say(out, "Loki", report), nil
		}
		if !task.Sleep(ctx, time.Second) {
			return false, errors.Join(ctx.Err(), errNotDelivered)
		}
	}
}

// say prints one count and tells whether every line was there once. The order of
// standard output against standard error is nobody's promise, so it does not count here.
func say(out io.Writer, where string, r *harness.Report) bool {
	r.OutOfOrder = harness.Finding{}
	if !r.OK() {
		fmt.Fprintf(out, "FAILED: %s: %s\n", where, r)
		return false
	}
	fmt.Fprintf(out, "OK: %s: %d lines written, each delivered exactly once and intact.\n", where, r.Expected)
	return true
}

func sum(m map[string]int64) int64 {
	n := int64(0)
	for _, v := range m {
		n += v
	}
	return n
}
