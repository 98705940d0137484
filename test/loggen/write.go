package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// lastWords is what -panic writes, a line each; its lines count like all others.
var lastWords = [line.PanicLines]string{
	"panic: runtime error: invalid memory address or nil pointer dereference",
	"[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47f1a2]",
	"goroutine 1 [running]:",
	"main.(*Server).handle(0x0, {0x5b3f20, 0xc000012345})",
	"\t/src/shop/server.go:118 +0x1c2",
	"main.main()",
	"\t/src/shop/main.go:31 +0x9f",
	"exit status 2",
}

// run writes the lines and returns the exit code. A cancelled ctx ends it with o.exit.
func run(ctx context.Context, o options, stdout, stderr io.Writer) (int, error) {
	if o.file != "" {
		f, err := os.OpenFile(o.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return 1, err
		}
		defer f.Close()
		stdout = f
	}
	st, err := openState(o.state)
	if err != nil {
		return 1, err
	}
	defer st.close()
	took, err := openTook(o.took)
	if err != nil {
		return 1, err
	}
	defer took.Close()
	w := &writer{took: took, o: o, stdout: stdout, stderr: stderr, state: st, next: o.startSeq, started: time.Now()}
	if st.last >= 0 {
		w.next = st.last + 1
	}
	if err := w.lines(ctx); err != nil {
		return 1, err
	}
	if o.panics && ctx.Err() == nil {
		for _, text := range lastWords {
			w.buf = line.AppendText(w.buf[:0], text, o.id, w.next, time.Now())
			if err := w.write(stderr); err != nil {
				return 1, err
			}
		}
	}
	if o.eat {
		eat(ctx)
	}
	if o.hold {
		<-ctx.Done()
	}
	return o.exit, nil
}

// eat takes memory, and uses it, until ctx ends; the kernel's end comes first.
func eat(ctx context.Context) {
	const piece, page = 1 << 20, 4096
	var all [][]byte
	for ctx.Err() == nil {
		b := make([]byte, piece)
		for i := 0; i < len(b); i += page {
			b[i] = 1
		}
		all = append(all, b)
	}
	runtime.KeepAlive(all)
}

type writer struct {
	o              options
	stdout, stderr io.Writer
	state          *state
	next           int64
	written        int64
	started, began time.Time // the first line, and the burst
	took           *os.File  // nil without -took
	buf            []byte
}

func (w *writer) lines(ctx context.Context) error {
	for w.o.lines == 0 || w.written < w.o.lines {
		if !w.due(ctx) || !w.through(ctx) {
			return nil
		}
		w.beginBurst()
		out := w.stdout
		if w.o.stderrEvery > 0 && w.next%w.o.stderrEvery == 0 {
			out = w.stderr
		}
		f, size := w.o.format, w.size()
		if w.o.longEvery > 0 && w.next%w.o.longEvery == 0 {
			f, size = line.JSON, w.o.longBytes
		}
		if first, ok := w.trace(); ok && out == w.stdout {
			w.buf = line.AppendTrace(w.buf[:0], first, w.o.id, w.next, time.Now())
		} else {
			w.buf = line.Append(w.buf[:0], f, w.o.id, w.next, size, time.Now())
		}
		if err := w.write(out); err != nil {
			return err
		}
		if err := w.endBurst(); err != nil {
			return err
		}
	}
	return nil
}

// trace tells whether the next line is one of a stack trace, and the first one.
func (w *writer) trace() (first, ok bool) {
	if w.o.traceEvery == 0 || w.next < w.o.traceEvery {
		return false, false
	}
	at := w.next % w.o.traceEvery
	return at == 0, at <= w.o.traceLines
}

// openTook returns a nil file for no path; closing that does nothing.
func openTook(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
}

func (w *writer) beginBurst() {
	if w.took != nil && w.written%max(w.o.burst, 1) == 0 {
		w.began = time.Now()
	}
}

func (w *writer) endBurst() error {
	if w.took == nil || w.written%max(w.o.burst, 1) != 0 {
		return nil
	}
	_, err := fmt.Fprintln(w.took, time.Since(w.began))
	return err
}

// through waits at the gate, after the lines that are to come before it, or before a burst
// that waits for a signal; false when ctx ended first. The rate then counts from the opening.
func (w *writer) through(ctx context.Context) bool {
	each := w.o.burst > 0 && w.o.every == 0 && w.written%w.o.burst == 0
	if !each && (w.o.gate == 0 || w.written != w.o.gate) {
		return true
	}
	began := time.Now()
	select {
	case <-w.o.open:
		w.started = w.started.Add(time.Since(began))
		return true
	case <-ctx.Done():
		return false
	}
}

// write writes buf as one line. Its number counts as used once the line is out.
func (w *writer) write(out io.Writer) error {
	w.buf = append(w.buf, '\n')
	if _, err := out.Write(w.buf); err != nil {
		return fmt.Errorf("write line %d: %w", w.next, err)
	}
	if err := w.state.save(w.next); err != nil {
		return err
	}
	w.next++
	w.written++
	return nil
}

func (w *writer) size() int {
	if w.o.maxSize == w.o.minSize {
		return w.o.minSize
	}
	spread := uint64(w.o.maxSize - w.o.minSize + 1)
	return w.o.minSize + int(uint64(w.next)*0x9e3779b97f4a7c15>>20%spread)
}

// due waits until the next line may be written; false when ctx ended first.
func (w *writer) due(ctx context.Context) bool {
	var at time.Time
	switch {
	case w.o.burst > 0:
		at = w.started.Add(time.Duration(w.written/w.o.burst) * w.o.every)
	case w.o.rate > 0:
		at = w.started.Add(time.Duration(float64(w.written) / w.o.rate * float64(time.Second)))
	}
	wait := time.Until(at)
	if at.IsZero() || wait <= 0 {
		return ctx.Err() == nil
	}
	// Waits under a millisecond are left to add up: a timer costs more than a line.
	if wait < time.Millisecond {
		return ctx.Err() == nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// state keeps the last written number in a file. Without a path it does nothing.
// After SIGTERM it is exact; after SIGKILL it may be one line behind.
type state struct {
	f    *os.File
	last int64 // -1 when there is none
}

func openState(path string) (*state, error) {
	if path == "" {
		return &state{last: -1}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	st := &state{f: f, last: -1}
	if n == 0 {
		return st, nil
	}
	if st.last, err = strconv.ParseInt(strings.TrimSpace(string(b[:n])), 10, 64); err != nil {
		f.Close()
		return nil, fmt.Errorf("state file %s: %w", path, err)
	}
	return st, nil
}

func (s *state) save(seq int64) error {
	if s.f == nil {
		return nil
	}
	_, err := s.f.WriteAt(fmt.Appendf(nil, "%020d\n", seq), 0)
	return err
}

func (s *state) close() {
	if s.f != nil {
		s.f.Close()
	}
}
