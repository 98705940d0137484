package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func generate(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	o, err := parseFlags(args)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code, err = run(t.Context(), o, &out, &errs)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

// seqs returns the numbers of all lines, which must be intact.
func seqs(t *testing.T, text string) []int64 {
	t.Helper()
	var out []int64
	for l := range strings.Lines(text) {
		_, n, err := line.Parse([]byte(strings.TrimSuffix(l, "\n")))
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		out = append(out, n)
	}
	return out
}

func TestNumbersAreContiguousAcrossBothOutputs(t *testing.T) {
	out, errs, code := generate(t, "-id", "a", "-n", "10", "-stderr-every", "5", "-long-every", "4", "-long-bytes", "20000", "-format", "mixed")
	if got := seqs(t, out); len(got) != 8 || got[0] != 1 || got[7] != 9 {
		t.Errorf("stdout: %v", got)
	}
	if got := seqs(t, errs); len(got) != 2 || got[0] != 5 || got[1] != 10 {
		t.Errorf("stderr: %v", got)
	}
	if long := strings.Split(out, "\n")[3]; len(long) != 20000 {
		t.Errorf("the long line has %d bytes", len(long))
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestStateContinuesTheNumbers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	generate(t, "-n", "3", "-state", file)
	out, _, _ := generate(t, "-n", "2", "-state", file)
	if got := seqs(t, out); len(got) != 2 || got[0] != 4 || got[1] != 5 {
		t.Errorf("second run: %v", got)
	}
}

func TestLastWordsAreCounted(t *testing.T) {
	_, errs, code := generate(t, "-n", "3", "-panic")
	if got := seqs(t, errs); len(got) != line.PanicLines || got[0] != 4 {
		t.Errorf("stack trace: %v", got)
	}
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
}

func TestFileAndSizes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.log")
	out, _, _ := generate(t, "-n", "20", "-sizes", "100:120", "-file", file)
	if out != "" {
		t.Errorf("stdout: %q", out)
	}
}

func TestCancelEndsARunWithoutEnd(t *testing.T) {
	o, err := parseFlags([]string{"-rate", "200", "-hold"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if _, err := run(ctx, o, &out, &out); err != nil {
		t.Fatal(err)
	}
	if n := len(seqs(t, out.String())); n == 0 || n > 50 {
		t.Errorf("%d lines in 50 ms at 200 a second", n)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-format", "xml"}, {"-sizes", "9:1"}, {"extra"}} {
		if _, err := parseFlags(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestTheGateHoldsTheRest(t *testing.T) {
	open := make(chan os.Signal, 1)
	o, err := parseFlags([]string{"-n", "5", "-gate", "3"})
	if err != nil {
		t.Fatal(err)
	}
	o.open = open
	closed, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var before, after bytes.Buffer
	if _, err := run(closed, o, &before, &before); err != nil {
		t.Fatal(err)
	}
	if got := seqs(t, before.String()); len(got) != 3 {
		t.Errorf("before it is opened: %v", got)
	}
	open <- syscall.SIGUSR1
	if _, err := run(t.Context(), o, &after, &after); err != nil {
		t.Fatal(err)
	}
	if got := seqs(t, after.String()); len(got) != 5 {
		t.Errorf("opened: %v", got)
	}
}

func TestStackTracesAmongOtherLines(t *testing.T) {
	out, errs, _ := generate(t, "-id", "a", "-n", "20", "-trace-every", "10", "-trace-lines", "3", "-stderr-every", "4")
	if n := len(seqs(t, out)) + len(seqs(t, errs)); n != 20 {
		t.Errorf("%d lines", n)
	}
	heads, frames := strings.Count(out, "\njava.lang.IllegalStateException: "), strings.Count(out, "\n\tat ")
	// 10 begins one with 11 and 13; 20 goes to standard error.
	if heads != 1 || frames != 2 || strings.Contains(errs, "java") {
		t.Errorf("%d traces with %d lines more:\n%s", heads, frames, out)
	}
}
