package cri

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/record"
)

func TestLinesOfRuntimes(t *testing.T) {
	for _, c := range []struct {
		line    string
		when    string
		output  record.Output
		partial bool
		content string
	}{
		{"2016-10-06T00:17:09.669794202Z stdout F log content", "2016-10-06T00:17:09.669794202Z", record.Stdout, false, "log content"},
		{"2016-10-06T02:17:09.669794202+02:00 stderr P a part ", "2016-10-06T00:17:09.669794202Z", record.Stderr, true, "a part "},
		{"2016-10-06T00:17:09Z stdout F  two blanks", "2016-10-06T00:17:09Z", record.Stdout, false, " two blanks"},
		{"2016-10-06T00:17:09.66Z stdout P:other:tags x", "2016-10-06T00:17:09.66Z", record.Stdout, true, "x"},
		{"2016-10-06T00:17:09.66Z stdout F ", "2016-10-06T00:17:09.66Z", record.Stdout, false, ""},
		{"2016-10-06T00:17:09.66Z stdout F", "2016-10-06T00:17:09.66Z", record.Stdout, false, ""},
		{"2016-10-05T18:47:09.1-05:30 stderr F 2016 stdout P x", "2016-10-06T00:17:09.1Z", record.Stderr, false, "2016 stdout P x"},
		{"2016-10-06T00:17:09Z stdout F \xff\x00\r", "2016-10-06T00:17:09Z", record.Stdout, false, "\xff\x00\r"},
	} {
		l, err := Parse([]byte(c.line))
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		when := time.Unix(0, l.Time).UTC().Format(time.RFC3339Nano)
		if when != c.when || l.Output != c.output || l.Partial != c.partial || c.line[l.Off:] != c.content {
			t.Errorf("%q: %s %s partial=%v %q", c.line, when, l.Output, l.Partial, c.line[l.Off:])
		}
	}
}

func TestWhatIsNoLineSaysWhy(t *testing.T) {
	for line, want := range map[string]error{
		"":                                 ErrTime,
		"hello":                            ErrTime,
		"2016-10-06T00:17:09Z":             ErrTime,
		"2016-10-06T00:17:09 stdout F ":    ErrTime,
		"2016-10-06T00:17:09Zstdout F x":   ErrTime,
		"2016-02-30T00:17:09Z stdout F x":  ErrTime,
		"2016-10-06T00:17:09Z stdin F x":   ErrOutput,
		"2016-10-06T00:17:09Z  stdout F x": ErrOutput,
		"2016-10-06T00:17:09Z stdout":      ErrOutput,
		"2016-10-06T00:17:09Z stdout ":     ErrTag,
		"2016-10-06T00:17:09Z stdout X x":  ErrTag,
		"2016-10-06T00:17:09Z stdout Fx y": ErrTag,
		"2016-10-06T00:17:09Z stdout  F x": ErrTag,
		`{"log":"x\n","stream":"stdout","time":"2016-10-06T00:17:09Z"}`: ErrTime,
	} {
		if l, err := Parse([]byte(line)); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v; want %v", line, l, err, want)
		}
	}
}

// log feeds lines to a joiner, as a reader does, with line numbers as places.
type log struct {
	t *testing.T
	j Joiner[int]
	n int
}

func (l *log) add(text string) string {
	l.t.Helper()
	line := []byte("2016-10-06T00:17:0" + fmt.Sprint(l.n%10) + "Z " + text)
	parsed, err := Parse(line)
	if err != nil {
		l.t.Fatal(err)
	}
	whole, ok := l.j.Add(parsed, line[parsed.Off:], l.n)
	l.n++
	if !ok {
		return "…"
	}
	return l.text(whole)
}

func (l *log) text(w Joined) string {
	cut := ""
	if w.Truncated {
		cut = " (cut)"
	}
	return fmt.Sprintf("%d %s %s%s", time.Unix(0, w.Time).Second(), w.Output, w.Text, cut)
}

func (l *log) expect(got, want string) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("line %d: %q; want %q", l.n-1, got, want)
	}
}

func (l *log) start(want int) {
	l.t.Helper()
	at, ok := l.j.Start()
	if !ok {
		at = -1
	}
	if at != want {
		l.t.Errorf("after line %d the log has to be read again from %d; want %d", l.n-1, at, want)
	}
}

func TestPartsAreJoinedPerOutputAndHoldTheCursor(t *testing.T) {
	l := &log{t: t}
	l.start(-1)
	l.expect(l.add("stdout F one"), "0 stdout one")
	l.expect(l.add("stdout P a"), "…")
	l.start(1)
	l.expect(l.add("stderr P x"), "…")
	l.start(1)
	l.expect(l.add("stdout P b"), "…")
	l.expect(l.add("stdout F c"), "1 stdout abc")
	l.start(2)
	l.expect(l.add("stdout F between"), "5 stdout between")
	l.expect(l.add("stdout P d"), "…")
	l.start(2)
	l.expect(l.add("stderr F y"), "2 stderr xy")
	l.start(6)
	l.expect(l.add("stdout F"), "6 stdout d")
	l.start(-1)
}

func TestALineThatNeverEndedIsFlushed(t *testing.T) {
	l := &log{t: t}
	l.add("stderr P last ")
	l.add("stderr P words")
	if _, ok := l.j.Flush(record.Stdout); ok {
		t.Error("stdout has no unfinished line")
	}
	whole, ok := l.j.Flush(record.Stderr)
	if !ok {
		t.Fatal("the unfinished line is gone")
	}
	l.expect(l.text(whole), "0 stderr last words")
	l.start(-1)
	l.expect(l.add("stderr F new"), "2 stderr new")
}

func TestLongLinesAreCutAndTheirMemoryIsGivenBack(t *testing.T) {
	l := &log{t: t, j: Joiner[int]{Max: 5}}
	l.expect(l.add("stdout F 123456"), "0 stdout 12345 (cut)")
	l.expect(l.add("stdout F 12345"), "1 stdout 12345")
	l.add("stdout P 123")
	l.add("stdout P 456")
	l.add("stdout P 789")
	l.expect(l.add("stdout F x"), "2 stdout 12345 (cut)")
	l.add("stdout P 123")
	l.expect(l.add("stdout F 45"), "6 stdout 12345")
	l.j.Max = 0
	for range 20 {
		l.add("stdout P " + strings.Repeat("x", 16<<10))
	}
	if l.j.Bytes() < 20*16<<10 {
		t.Errorf("%d bytes are counted for 320 KB of parts", l.j.Bytes())
	}
	l.add("stdout F ")
	if n := l.j.Bytes(); n > 2*keptBuffer {
		t.Errorf("%d bytes are kept after a long line", n)
	}
}

// However lines are split and mixed, they come out whole, in the order of their ends, and
// reading again from Start gives what was unfinished.
func TestAnySplitIsJoined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var j Joiner[int]
		open := map[record.Output]string{}
		starts := map[record.Output]int{}
		for n := range rapid.IntRange(0, 30).Draw(t, "lines") {
			output := rapid.SampledFrom([]record.Output{record.Stdout, record.Stderr}).Draw(t, "output")
			partial, text := rapid.Bool().Draw(t, "partial"), rapid.StringN(0, 5, -1).Draw(t, "text")
			if _, ok := starts[output]; !ok {
				starts[output] = n
			}
			open[output] += text
			whole, ok := j.Add(Line{Output: output, Partial: partial}, []byte(text), n)
			if ok == partial || ok && (string(whole.Text) != open[output] || whole.Output != output) {
				t.Fatalf("line %d: %v %q; want %q", n, ok, whole.Text, open[output])
			}
			if ok {
				delete(open, output)
				delete(starts, output)
			}
			want := 1 << 20
			for _, at := range starts {
				want = min(want, at)
			}
			if at, ok := j.Start(); ok != (len(starts) > 0) || ok && at != want {
				t.Fatalf("line %d: start %d, %v; want %d", n, at, ok, want)
			}
		}
	})
}

func TestPodsByTheirPaths(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for path, want := range map[string]Pod{
		"/var/log/pods/kube-system_etcd-node1_a1b2/etcd/0.log": {Namespace: "kube-system", Name: "etcd-node1", UID: "a1b2", Container: "etcd"},
		"/host/pods/default_web.v2-x_0f-9/app/12.log":          {Namespace: "default", Name: "web.v2-x", UID: "0f-9", Container: "app", Attempt: 12},
		"ns_p_u/c/1.log.20260102-030405":                       {Namespace: "ns", Name: "p", UID: "u", Container: "c", Attempt: 1, Rotated: true},
		"/x/ns_p_u/c/1.log.20260102-030405.gz":                 {Namespace: "ns", Name: "p", UID: "u", Container: "c", Attempt: 1, Rotated: true, Gzipped: true},
	} {
		if got, err := ParsePath(path); err != nil || got != want {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "/", "0.log", "c/0.log", "a_b/c/0.log", "a_b_c_d/c/0.log", "a__c/c/0.log", "ns_p_u/c/x.log", "ns_p_u/c/.log",
		"ns_p_u/c/-1.log", "ns_p_u//0.log", "ns_p_u/c/0.txt", "ns_p_u/c/0.log.gz", "ns_p_u/c/0.log.20260102-030405.tmp", "ns_p_u/c/0.log.20260102",
		"ns_p_u/c/99999999999999999999.log", "ns_p_u/c/0.logx"} {
		if got, err := ParsePath(path); err == nil {
			t.Errorf("%s: %+v; want an error", path, got)
		}
	}
	got, err := ParseLink("/var/log/containers/web-1_default_side-car-" + id + ".log")
	if want := (Pod{Namespace: "default", Name: "web-1", Container: "side-car", ID: id, Attempt: -1}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range []string{"", ".log", "a_b_c.log", "a_b_c-12.log", "a_b_-" + id + ".log", "a_b_c-" + id, "_b_c-" + id + ".log", "a_b_c-" + strings.ToUpper(id) + ".log"} {
		if got, err := ParseLink(name); err == nil {
			t.Errorf("%s: %+v; want an error", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("2016-10-06T00:17:09.669794202Z stdout F log content"))
	f.Add([]byte("2016-10-06T02:17:09+02:00 stderr P:x part"))
	f.Fuzz(func(t *testing.T, line []byte) {
		l, err := Parse(line)
		if err != nil {
			return
		}
		if l.Off < len("2016-10-06T02:17:09Z stdout F") || l.Off > len(line) {
			t.Fatalf("content at %d of %d", l.Off, len(line))
		}
		tag := "F"
		if l.Partial {
			tag = "P"
		}
		again := fmt.Appendf(nil, "%s %s %s %s", time.Unix(0, l.Time).UTC().Format(time.RFC3339Nano), l.Output, tag, line[l.Off:])
		back, err := Parse(again)
		if err != nil || back.Time != l.Time || back.Output != l.Output || back.Partial != l.Partial || !bytes.Equal(again[back.Off:], line[l.Off:]) {
			t.Fatalf("%q, written as %q, is %+v, %v; want %+v", line, again, back, err, l)
		}
	})
}

func FuzzPaths(f *testing.F) {
	f.Add("/var/log/pods/kube-system_etcd-node1_a1b2/etcd/0.log.20260102-030405.gz")
	f.Fuzz(func(t *testing.T, path string) {
		if p, err := ParsePath(path); err == nil && (p.Namespace == "" || p.Name == "" || p.UID == "" || p.Container == "" || p.Attempt < 0) {
			t.Fatalf("%q: %+v", path, p)
		}
		if p, err := ParseLink(path); err == nil && (p.Namespace == "" || p.Name == "" || p.Container == "" || len(p.ID) != 64) {
			t.Fatalf("%q: %+v", path, p)
		}
	})
}

var sample = []byte("2016-10-06T00:17:09.669794202Z stdout F 10.0.0.1 - - GET /index.html HTTP/1.1 200 612 - Mozilla/5.0 (X11; Linux x86_64) id=a seq=12345")

func TestNothingIsAllocatedForALine(t *testing.T) {
	var j Joiner[int64]
	if n := testing.AllocsPerRun(100, func() {
		l, err := Parse(sample)
		if _, ok := j.Add(l, sample[l.Off:], 7); err != nil || !ok {
			t.Fatal(err)
		}
		l.Partial = true
		j.Add(l, sample[l.Off:], 7)
		l.Partial = false
		j.Add(l, sample[l.Off:], 7)
	}); n != 0 {
		t.Errorf("%v allocations for a line", n)
	}
}

func BenchmarkParse(b *testing.B) {
	var j Joiner[int64]
	b.SetBytes(int64(len(sample)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := Parse(sample)
		if err != nil {
			b.Fatal(err)
		}
		if _, ok := j.Add(l, sample[l.Off:], 7); !ok {
			b.Fatal("not whole")
		}
	}
}
