package diagnose

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	senders = 30
	bodies  = 60
	// The labels of those who leak.
	ownerOfSenders = `agent/sinks/"odd"/é`
	ownerOfBodies  = "agent/sources/containers/readers/stream"
)

// leak leaks: goroutines that are blocked on a send, and answers of a real server that
// nobody reads or closes. stop ends all of it.
func leak() (stop func()) {
	done, nobody := make(chan struct{}), make(chan int)
	for range senders {
		go pprof.Do(context.Background(), pprof.Labels("owner", ownerOfSenders), func(context.Context) { send(nobody) })
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() // the head; the body goes on
		<-done
	}))
	client := &http.Client{Transport: &http.Transport{}}
	var open []io.Closer
	pprof.Do(context.Background(), pprof.Labels("owner", ownerOfBodies), func(ctx context.Context) {
		for range bodies {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
			if err != nil {
				panic(err)
			}
			res, err := client.Do(req) //nolint:bodyclose // that is the leak
			if err != nil {
				panic(err)
			}
			open = append(open, res.Body)
		}
	})
	settled()
	return func() {
		for range senders {
			<-nobody
		}
		close(done)
		for _, body := range open {
			_ = body.Close() // it was never read: what it says is of no interest
		}
		client.CloseIdleConnections()
		server.Close()
	}
}

//go:noinline
func send(to chan<- int) { to <- 1 }

func read(t *testing.T, text string) Dump {
	t.Helper()
	d, err := ReadDump(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// goroutineProfile is that of this process.
func goroutineProfile(t *testing.T, debug int) string {
	t.Helper()
	var text bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&text, debug); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// settled waits until all that leaks is where it stays.
func settled() {
	for range 1000 {
		var text bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&text, 2); err != nil {
			panic(err)
		}
		if d, err := ReadDump(&text); err == nil && d.Signs.Sending == senders && d.Signs.Streaming == bodies {
			return
		}
		<-time.After(10 * time.Millisecond) // and look again
	}
	panic("what was planted does not show up in a dump")
}

// quit starts this test binary as a child that leaks, and returns what it prints when it
// is ended by SIGQUIT.
func quit(t *testing.T, env ...string) string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(append(os.Environ(), childVariable+"=1"), env...)
	var stderr bytes.Buffer
	child.Stderr = &stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the child ended with %v", err)
	}
	return stderr.String()
}

func find(groups []Group, owner string) Group {
	for _, g := range groups {
		if strings.Contains(g.Owner, owner) {
			return g
		}
	}
	return Group{}
}

// check holds what every form of a dump of leak() must say.
func check(t *testing.T, d Dump, text string) {
	t.Helper()
	if d.Goroutines < senders+2*bodies || d.Truncated {
		t.Errorf("%d goroutines, truncated: %v", d.Goroutines, d.Truncated)
	}
	if d.Signs.ReadLoops != bodies || d.Signs.WriteLoops != bodies || d.Signs.Streaming != bodies {
		t.Errorf("%+v, want %d connections", d.Signs, bodies)
	}
	if d.Form == formDump {
		if n := strings.Count(text, "\ngoroutine ") + strings.Count(text[:10], "goroutine "); d.Goroutines != n {
			t.Errorf("%d goroutines of %d", d.Goroutines, n)
		}
		if d.Signs.Sending != senders || d.States["chan send"] != senders {
			t.Errorf("%+v, %v: want %d senders", d.Signs, d.States, senders)
		}
	}
	v := d.Verdict
	if v.Finding != Suspicion || !strings.Contains(v.Text, fmt.Sprintf("%d of %d goroutines are the readLoop and writeLoop of %d connections whose answer nobody reads", 2*bodies, d.Goroutines, bodies)) {
		t.Errorf("%+v", v)
	}
}

func TestADumpOfThisProcess(t *testing.T) {
	defer leak()()
	text := goroutineProfile(t, 2)
	d := read(t, "some log line (x)\n"+text+"\nlevel=info msg=\"a line after it\"\n")
	check(t, d, text)
	if g := find(d.Owners, "created by net/http.(*Transport).dialConn"); g.Count != 2*bodies || g.States["select"] < bodies {
		t.Errorf("%+v", g)
	}
	if g := find(d.Owners, "created by diagnose.leak"); g.Count != senders || g.Waiting == nil {
		t.Errorf("%+v", g)
	}
}

func TestAProfileOfThisProcess(t *testing.T) {
	defer leak()()
	for _, debug := range []int{1, 0} {
		text := goroutineProfile(t, debug)
		d := read(t, text)
		check(t, d, text)
		ownersTold(t, d)
	}
}

// ownersTold holds that a profile tells the owners.
func ownersTold(t *testing.T, d Dump) {
	t.Helper()
	if g := find(d.Owners, ownerOfSenders); g.Count != senders || g.Waiting != nil {
		t.Errorf("%+v in %+v", g, d.Owners)
	}
	if g := find(d.Owners, ownerOfBodies); g.Count != 2*bodies || d.Verdict.Owner == "" {
		t.Errorf("%+v", g)
	}
}

func TestWhatAProcessPrintsOnSIGQUIT(t *testing.T) {
	text := quit(t)
	d := read(t, text)
	check(t, d, text)
	if g := find(d.Owners, "created by diagnose.leak"); g.Count != senders {
		t.Errorf("%+v", g)
	}
	for _, g := range d.Stacks {
		if strings.Contains(g.Stack, "gopark") || strings.Contains(g.Stack, "goexit") {
			t.Errorf("how the runtime waits is no part of a stack: %s", g.Stack)
		}
	}
	with := read(t, quit(t, "GODEBUG=tracebacklabels=1"))
	if s, b := find(with.Owners, ownerOfSenders), find(with.Owners, ownerOfBodies); s.Count != senders || b.Count != 2*bodies {
		t.Errorf("with labels: %+v and %+v", s, b)
	}
}

func TestEveryLengthOfADumpCanBeRead(t *testing.T) {
	text := quit(t)
	before := 0
	for n := 0; n < len(text); n += 9973 {
		d, err := ReadDump(strings.NewReader(text[:n]))
		if err != nil && !errors.Is(err, ErrNoDump) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if d.Goroutines < before || d.Goroutines > before+80 {
			t.Fatalf("%d bytes: %d goroutines, and %d before", n, d.Goroutines, before)
		}
		before = d.Goroutines
	}
	if before < senders {
		t.Errorf("%d goroutines", before)
	}
}

// Streams that somebody reads are load.
func TestStreamsThatAreReadAreNoLeak(t *testing.T) {
	stream := `goroutine 7 [select]:
net/http.(*persistConn).readLoop(0x1)
	/go/transport.go:1 +0x1
created by net/http.(*Transport).dialConn in goroutine 1
	/go/transport.go:1 +0x1

goroutine 8 [select]:
net/http.(*persistConn).writeLoop(0x1)
	/go/transport.go:1 +0x1
created by net/http.(*Transport).dialConn in goroutine 1
	/go/transport.go:1 +0x1

`
	reader := `goroutine 9 [select]:
net/http.(*bodyEOFSignal).Read(0x1, {0x1, 0x1, 0x1})
	/go/transport.go:1 +0x1
github.com/logcapturer/log_capturer/internal/source/dockerapi.(*Reader).Next(0x1)
	/x.go:1 +0x1
github.com/logcapturer/log_capturer/internal/task.(*Scope).run(0x1)
	/x.go:1 +0x1
created by github.com/logcapturer/log_capturer/internal/task.(*Scope).Go in goroutine 1
	/x.go:1 +0x1

`
	d := read(t, strings.Repeat(stream+reader, 50))
	if d.Verdict.Finding != NoLeak || d.Signs.Streaming != 50 || d.Signs.Abandoned() != 0 {
		t.Errorf("%+v", d)
	}
	if g := find(d.Owners, "task source/dockerapi.(*Reader).Next"); g.Count != 50 {
		t.Errorf("%+v", d.Owners)
	}
	if d := read(t, strings.Repeat(stream+reader, 50)+strings.Repeat(stream, 40)); d.Verdict.Finding != Suspicion || d.Signs.Abandoned() != 40 {
		t.Errorf("%+v", d)
	}
}

const dump3 = `goroutine 1 [chan receive, 12 minutes]:
main.main()
	/src/main.go:5 +0x1d

goroutine 2 gp=0x1 m=3 mp=0x7 [IO wait, 3 minutes, locked to thread]:
runtime.gopark(0x0?)
	/go/proc.go:1 +0x1
main.(*T[...]).f(0x1, {0x2, 0x3})
	/src/main.go:6 +0x1d
created by main.main in goroutine 1
	/src/main.go:4 +0x2

goroutine 3 [IO wait, 8 minutes]:
main.(*T[...]).f(0x1, {0x2, 0x3})
	/src/main.go:6 +0x1d
created by main.main
	/src/main.go:4 +0x2
`

func TestStatesAndAges(t *testing.T) {
	for name, text := range map[string]string{
		"plain":           dump3,
		"windows":         strings.ReplaceAll(dump3, "\n", "\r\n"),
		"with log around": "a\n2026-01-01 boot (ok)\n" + dump3 + "\nrax 0x0\n",
	} {
		d := read(t, text)
		g := find(d.Stacks, "created by main.main")
		if d.Goroutines != 3 || g.Count != 2 || g.Stack != "main.(*T[...]).f" || g.States["IO wait"] != 2 || *g.Waiting != (Waiting{3, 3, 8}) || d.Truncated {
			t.Errorf("%s: %+v of %+v", name, g, d)
		}
	}
}

func TestALineOfALogWithinADump(t *testing.T) {
	d := read(t, strings.Replace(dump3, "runtime.gopark(0x0?)\n", "level=warn msg=\"in between\" n=(1)\nruntime.gopark(0x0?)\n", 1))
	if d.Goroutines != 3 || d.States["IO wait"] != 2 {
		t.Errorf("%+v", d)
	}
}

func TestATruncatedDumpSaysSo(t *testing.T) {
	if d := read(t, dump3[:len(dump3)-len("created by main.main\n\t/src/main.go:4 +0x2\n\t/src/main.go:6 +0x1d\n")]); !d.Truncated || d.Goroutines != 3 {
		t.Errorf("%+v", d)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	for range 2000 {
		fmt.Fprint(z, dump3, "\n")
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := ReadDump(bytes.NewReader(zipped.Bytes()))
	if err != nil || whole.Goroutines != 6000 || whole.Truncated {
		t.Errorf("%v, %d goroutines", err, whole.Goroutines)
	}
	half, err := ReadDump(bytes.NewReader(zipped.Bytes()[:zipped.Len()/2]))
	if err != nil || half.Goroutines == 0 || !half.Truncated {
		t.Errorf("%v, %d goroutines", err, half.Goroutines)
	}
}

func TestWhatIsNoDump(t *testing.T) {
	var heap bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&heap, 0); err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"no goroutine is in it":                      "hello\nworld\n",
		"this is a profile of something else":        heap.String(),
		"the binary profile is damaged":              "\n\x04\x08\x01\x10\x02\xff\xff\xff",
		"read the dump: unzip it: ":                  "\x1f\x8bnothing",
		"no goroutine is in it; give what a process": "",
	} {
		if _, err := ReadDump(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// endless is a dump that never repeats itself.
type endless struct {
	left, n int
	text    []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.text) == 0 {
		if e.left <= 0 {
			return 0, io.EOF
		}
		e.n++
		e.text = fmt.Appendf(nil, "goroutine %d [state %d, %d minutes]:\nmain.f%d(%s)\n\t/x.go:1 +0x1\ncreated by main.g%d in goroutine 1\n\t/x.go:1 +0x1\n\n", e.n, e.n, e.n, e.n, strings.Repeat("0x1, ", 20), e.n)
		e.left -= len(e.text)
	}
	n := copy(p, e.text)
	e.text = e.text[n:]
	return n, nil
}

func TestMemoryIsBoundedWhateverIsRead(t *testing.T) {
	d, err := ReadDump(&endless{left: 6 << 20})
	if err != nil || len(d.Stacks) > mostGroups+1 || len(d.Owners) > mostGroups+1 || len(d.States) > mostStates+1 {
		t.Errorf("%v: %d stacks, %d owners, %d states of %d goroutines", err, len(d.Stacks), len(d.Owners), len(d.States), d.Goroutines)
	}
	long := "goroutine 1 [" + strings.Repeat("x", 10*longestLine) + "\n" + dump3
	if d := read(t, long); d.Goroutines != 3 {
		t.Errorf("after a long line: %d goroutines", d.Goroutines)
	}
}

func FuzzReadDump(f *testing.F) {
	f.Add([]byte(dump3))
	f.Add([]byte("goroutine profile: total 4\n3 @ 0x47d92e 0x41491c\n# labels: {\"owner\":\"agent/a b\\\"x/é\", \"z\":\"1\"}\n#\t0x4dc7dd\tmain.main.func1+0x1d\t/src/c.go:5\n\n"))
	f.Add([]byte("goroutine 5 [chan send labels:{\"owner\": \"agent/a b\\\"x/\\u00e9\", \"z\": \"1\"}]:\n"))
	f.Add([]byte("\n\x04\b\x0100\x12\r\x100\n\t0000000002\x002\tgoroutine")) // a location that is not there
	var binary bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&binary, 0); err != nil {
		f.Fatal(err)
	}
	if unzipped, err := gzip.NewReader(&binary); err != nil {
		f.Fatal(err)
	} else if text, err := io.ReadAll(unzipped); err != nil {
		f.Fatal(err)
	} else {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ReadDump(bytes.NewReader(text))
		if err != nil {
			return
		}
		n := 0
		for _, g := range d.Owners {
			n = sum(n, g.Count)
		}
		if d.Goroutines <= 0 || n != d.Goroutines || d.Verdict.Text == "" {
			t.Errorf("%d goroutines, %d by owner, %+v", d.Goroutines, n, d.Verdict)
		}
		var out bytes.Buffer
		p := Printer{Out: &out}
		p.Dump(d)
		if bytes.ContainsAny(out.Bytes(), "\x1b\x07\r") {
			t.Errorf("a terminal would obey %q", out.String())
		}
	})
}
