package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/logcapturer/log_capturer/bench/null"
	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

const (
	late       = 10 * time.Millisecond // between lines whose latency is measured
	slowFiles  = 1000
	latencyFor = 30 * time.Second
)

// latency is a log with a line every 10 ms, and how late each comes.
func latency(c *comparison, dir string) (func(*peer.Agent, report.Run) report.Run, error) {
	return func(a *peer.Agent, run report.Run) report.Run {
		w, err := newWriters(dir, 1)
		if err != nil {
			run.Why = err.Error()
			return run
		}
		defer w.remove()
		notice := func(s *null.Server) error { _, err := s.Arrivals(); return err }
		return c.try(a, run, peer.Job{Logs: w.glob()}, notice, func(t *trial) error {
			if _, err := t.wait(1); err != nil {
				return err
			}
			if err := pause(c.ctx, c.settle); err != nil {
				return err
			}
			written := []int64{0, 0} // by number; the first line was there before
			err := t.watch(func() error {
				return w.every(c, late, c.duration(latencyFor), func() { written = append(written, time.Now().UnixNano()) })
			})
			if err != nil {
				return err
			}
			t.run.Lines, t.run.Bytes = w.lines, w.bytes
			if _, err := t.wait(w.lines); err != nil {
				return err
			}
			at, err := t.server.Arrivals()
			if err != nil {
				return err
			}
			var all []float64
			for seq, came := range at["app-0000"] {
				if seq > 1 && came > 0 {
					all = append(all, float64(came-written[seq])/1e6)
				}
			}
			t.run.P50, t.run.P99 = report.Percentile(all, 50), report.Percentile(all, 99)
			return nil
		})
	}, nil
}

// slow is many logs that get a line a second each, at times of their own.
func slow(c *comparison, dir string) (func(*peer.Agent, report.Run) report.Run, error) {
	return func(a *peer.Agent, run report.Run) report.Run {
		w, err := newWriters(dir, slowFiles)
		if err != nil {
			run.Why = err.Error()
			return run
		}
		defer w.remove()
		return c.try(a, run, peer.Job{Logs: w.glob()}, nil, func(t *trial) error {
			if _, err := t.wait(slowFiles); err != nil {
				return err
			}
			if err := pause(c.ctx, c.settle); err != nil {
				return err
			}
			err := t.watch(func() error { return w.every(c, time.Second/slowFiles, c.duration(time.Minute), nil) })
			t.run.Lines, t.run.Bytes = w.lines, w.bytes
			if err != nil {
				return err
			}
			_, err = t.wait(w.lines)
			return err
		})
	}, nil
}

// writers write to logs in turn; each log has one line from the beginning.
type writers struct {
	dir          string
	files        []*os.File
	buf          []byte
	lines, bytes int64
}

func newWriters(dir string, n int) (*writers, error) {
	w := &writers{dir: filepath.Join(dir, "live")}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		return nil, err
	}
	for i := range n {
		f, err := os.Create(filepath.Join(w.dir, fmt.Sprintf("app-%04d.log", i)))
		if err != nil {
			w.remove()
			return nil, err
		}
		w.files = append(w.files, f)
	}
	for turn := range int64(n) {
		if err := w.write(turn); err != nil {
			w.remove()
			return nil, err
		}
	}
	return w, nil
}

func (w *writers) glob() []string { return []string{filepath.Join(w.dir, "*.log")} }

// write writes a line to the file whose turn it is.
func (w *writers) write(turn int64) error {
	n := int64(len(w.files))
	w.buf = line.Append(w.buf[:0], line.Mixed, fmt.Sprintf("app-%04d", turn%n), turn/n+1, 0, time.Now())
	w.buf = append(w.buf, '\n')
	written, err := w.files[turn%n].Write(w.buf)
	w.lines, w.bytes = w.lines+1, w.bytes+int64(written)
	if err != nil {
		return fmt.Errorf("write input: %w", err)
	}
	return nil
}

// every writes a line at each interval, late ones at once; noted is called before each.
func (w *writers) every(c *comparison, interval, during time.Duration, noted func()) error {
	began := time.Now()
	for n := time.Duration(0); n*interval < during; n++ {
		if wait := time.Until(began.Add(n * interval)); wait > 0 {
			if err := pause(c.ctx, wait); err != nil {
				return err
			}
		}
		if noted != nil {
			noted()
		}
		if err := w.write(w.lines); err != nil {
			return err
		}
	}
	return nil
}

func (w *writers) remove() {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, f.Close())
	}
	if err := errors.Join(append(errs, os.RemoveAll(w.dir))...); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}
