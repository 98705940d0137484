package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/task"
)

// turn switches a component, and returns the answer.
func (a *instance) turn(name string, running bool) string {
	a.t.Helper()
	token, err := os.ReadFile(filepath.Join(a.dir, "data", tokenFile))
	if err != nil {
		a.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, "http://"+a.addr+"/api/v1/components/"+name,
		strings.NewReader(fmt.Sprintf(`{"running": %v}`, running)))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return a.do(req)
}

// turns switches a component, which must work.
func (a *instance) turns(name string, running bool) {
	a.t.Helper()
	if got, want := a.turn(name, running), fmt.Sprintf("{\"name\":%q,\"running\":%v}\n", name, running); got != want {
		a.t.Fatalf("switching %s: %s", name, got)
	}
}

// appending appends numbers to a few files until stop is called, which returns how many each has.
func appending(t *testing.T, dir string, files int) (stop func() int) {
	var wait sync.WaitGroup
	end, n := make(chan struct{}), 0
	wait.Add(1)
	go func() {
		defer wait.Done()
		for tick := time.NewTicker(2 * time.Millisecond); ; {
			select {
			case <-end:
				tick.Stop()
				return
			case <-tick.C:
			}
			for i := range files {
				appendTo(t, filepath.Join(dir, fmt.Sprintf("%d.log", i)), fmt.Sprintf("%d\n%d\n", n, n+1))
			}
			n += 2
		}
	}()
	over := sync.OnceFunc(func() { close(end); wait.Wait() })
	t.Cleanup(over)
	return func() int { over(); return n }
}

// exactly checks that each file's numbers came once and in order.
func (a *instance) exactly(files, n int) {
	a.t.Helper()
	var want []string
	for i := range n {
		want = append(want, strconv.Itoa(i))
	}
	for i := range files {
		name := fmt.Sprintf("out/*%d.log*", i)
		eventually(a.t, "all lines", func() bool { return len(a.in(name)) >= n })
		if got := a.in(name); !slices.Equal(got, want) {
			a.t.Errorf("file %d: %d lines, want %d; sorted they are the same: %v", i, len(got), n, slices.Equal(slices.Compact(slices.Sorted(slices.Values(got))), slices.Sorted(slices.Values(want))))
		}
	}
}

const switched = `file_monitor: {include: ["DIR/*.log"]}
sinks: {out: {type: local_file, path: "{data_dir}/out/{source}", format: raw}}
canary: {enabled: true, interval: 1h}
dispatcher: {memory: 2MiB, batch: {max_bytes: 64KiB, linger: 1ms}}
`

// Each component is switched off and on fifty times while files are written: every line
// comes once and in order.
func TestComponentsAreSwitchedUnderLoad(t *testing.T) {
	for _, name := range []string{fileMonitor, "sink.out"} {
		t.Run(name, func(t *testing.T) {
			const files, times = 3, 50
			dir := t.TempDir()
			a := startWith(t, dir, switched)
			eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
			stop := appending(t, dir, files)
			for range times {
				a.turns(name, false)
				before := len(a.in("out/*.log*"))
				a.turns(name, true)
				eventually(t, "more lines", func() bool { return len(a.in("out/*.log*")) > before })
			}
			n := stop()
			a.exactly(files, n)
			eventually(t, "balanced books", func() bool {
				m := a.get("/metrics")
				return strings.Contains(m, fmt.Sprintf(`log_capturer_lines_acked_total{sink="out"} %d`, files*n+1)) && // and the canary
					strings.Contains(m, `log_capturer_lines_in_flight{sink="out"} 0`)
			})
			a.stop()
			t.Logf("%d lines", files*n)
		})
	}
}

// Off and on a hundred times leaves as many goroutines, owner by owner, and as many
// descriptors as before.
func TestSwitchingLeavesNothingOver(t *testing.T) {
	dir := t.TempDir()
	a := startWith(t, dir, switched)
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	names := []string{"canary", "container_monitor", fileMonitor, "sink.out"}
	for i := range 20 {
		appendTo(t, filepath.Join(dir, fmt.Sprintf("%d.log", i)), "x\n")
	}
	eventually(t, "all files", func() bool { return len(a.in("out/*.log*")) == 20 })
	for _, name := range names { // once, for what is made with the first use
		a.turns(name, false)
		a.turns(name, true)
	}
	census := func() (owners []string) {
		for line := range strings.Lines(a.get("/metrics")) {
			if strings.HasPrefix(line, "log_capturer_task_goroutines{") {
				owners = append(owners, line)
			}
		}
		return owners
	}
	var targets []string
	descriptors := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		targets = targets[:0]
		for _, d := range open {
			target, _ := os.Readlink("/proc/self/fd/" + d.Name())
			if !strings.Contains(target, "/data/out") { // what the sink writes to it closes when it is idle
				targets = append(targets, target)
			}
		}
		return len(targets)
	}
	eventually(t, "all goroutines", func() bool { return len(census()) >= 15 })
	var owners []string
	goroutines, open := 0, 0
	eventually(t, "quiet", func() bool {
		was := goroutines
		owners, goroutines, open = census(), runtime.NumGoroutine(), descriptors()
		return goroutines == was && strings.Contains(a.get("/metrics"), `log_capturer_descriptors{kind="log_file"} 20`)
	})
	before := slices.Sorted(slices.Values(targets))
	defer func() {
		if t.Failed() {
			t.Logf("(-before +after) %s", cmp.Diff(before, slices.Sorted(slices.Values(targets))))
		}
	}()
	for _, name := range names {
		a.turns(name, false)
	}
	eventually(t, "the end of what was switched off", func() bool {
		all := strings.Join(census(), "")
		return !strings.Contains(all, "agent/sources/c") && !strings.Contains(all, "agent/sources/files") && !strings.Contains(all, "/lane")
	})
	eventually(t, "no log file, while file_monitor is off", func() bool {
		m := a.get("/metrics")
		return strings.Contains(m, `log_capturer_descriptors{kind="log_file"} 0`) && strings.Contains(m, `log_capturer_files_monitored 0`)
	})
	for range 100 {
		for _, name := range names {
			a.turns(name, false)
			a.turns(name, true)
		}
	}
	eventually(t, "as many goroutines as before", func() bool {
		return slices.Equal(census(), owners) && runtime.NumGoroutine() <= goroutines
	})
	eventually(t, "as many descriptors as before", func() bool { return descriptors() <= open })
	a.stop()
}

// A monitor that is off keeps no connection to its engine, and connects again.
func TestAMonitorThatIsOffHoldsNoConnection(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "no.sock"))
	if err != nil {
		t.Fatal(err)
	}
	var open atomic.Int64
	engine := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if w.Header().Set("Api-Version", "1.47"); !strings.HasSuffix(req.URL.Path, "/_ping") {
				http.Error(w, `{"message": "not now"}`, http.StatusInternalServerError)
			}
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- engine.Serve(l) }()
	defer func() { _ = engine.Close(); <-served }()
	a := startWith(t, dir, switched)
	eventually(t, "a connection", func() bool { return open.Load() > 0 })
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	a.turns("container_monitor", false)
	eventually(t, "no connection", func() bool { return open.Load() == 0 })
	a.turns("container_monitor", true)
	eventually(t, "a connection again", func() bool { return open.Load() > 0 })
	a.stop()
}

// What is off stays off over a reload, with whose settings it goes on; health tells; and an
// agent that ends meanwhile loses nothing either.
func TestAReloadAndAStopWhileComponentsAreOff(t *testing.T) {
	dir := t.TempDir()
	a := startWith(t, dir, switched)
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	const all = `{"components":[{"name":"canary","running":true},{"name":"container_monitor","running":true},{"name":"file_monitor","running":true},{"name":"sink.out","running":true}]}` + "\n"
	if got := a.get("/api/v1/components"); got != all {
		t.Fatalf("there are %s", got)
	}
	appendTo(t, filepath.Join(dir, "0.log"), "0\n")
	a.exactly(1, 1)
	for _, name := range []string{"sink.out", fileMonitor, "canary", "canary"} {
		a.turns(name, false)
	}
	h := a.get("/health")
	for _, name := range []string{"sink.out", fileMonitor, "canary"} {
		if !strings.Contains(h, fmt.Sprintf(`{"name":%q,"status":"degraded","reason":"switched off by hand at 2`, name)) ||
			!strings.Contains(h, "switch it on with POST /api/v1/components/"+name) {
			t.Errorf("health says of %s: %s", name, h)
		}
	}
	appendTo(t, filepath.Join(dir, "0.log"), "1\n")
	began := time.Now()
	a.configure(strings.Replace(switched, "/out/{source}", "/new/{source}", 1)) // what is new in it is left out, as what it was
	if got := a.reload(); !strings.Contains(got, `"sinks.out.path"`) || time.Since(began) > shieldWait {
		t.Fatalf("after %v: %s", time.Since(began), got)
	}
	if got := a.get("/api/v1/components"); got != strings.Replace(strings.Replace(strings.Replace(all, `"canary","running":true`, `"canary","running":false`, 1),
		`"file_monitor","running":true`, `"file_monitor","running":false`, 1), `"sink.out","running":true`, `"sink.out","running":false`, 1) {
		t.Errorf("after a reload there are %s", got)
	}
	a.turns(fileMonitor, true)
	eventually(t, "a line that waits for its sink", func() bool {
		return strings.Contains(a.get("/metrics"), `log_capturer_lines_in_flight{sink="out"} 1`)
	})
	a.turns("sink.out", true)
	eventually(t, "the line, at the new place", func() bool { return slices.Equal(a.in("new/*0.log*"), []string{"1"}) })
	if h := a.get("/health"); strings.Contains(h, `"sink.out","status":"degraded"`) || strings.Contains(h, `"file_monitor","status":"degraded"`) {
		t.Errorf("after all is on again, health says %s", h)
	}

	a.turns("sink.out", false)
	appendTo(t, filepath.Join(dir, "0.log"), "2\n")
	eventually(t, "a line that waits for its sink", func() bool {
		return strings.Contains(a.get("/metrics"), `log_capturer_lines_in_flight{sink="out"} 1`)
	})
	a.turns(fileMonitor, false)
	appendTo(t, filepath.Join(dir, "0.log"), "3\n")
	began = time.Now()
	a.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a sink that is off was waited for: %v", took)
	}
	a = startWith(t, dir, switched)
	eventually(t, "the rest", func() bool { return len(a.in("out/*0.log*")) >= 3 })
	if got := a.in("out/*0.log*"); !slices.Equal(got, []string{"0", "2", "3"}) {
		t.Errorf("got %v", got)
	}
	a.stop()
}

// Many switch at once, and reload, and read: each answer is right for its own.
func TestSwitchesAndReloadsAtOnce(t *testing.T) {
	dir := t.TempDir()
	a := startWith(t, dir, switched)
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	stop := appending(t, dir, 1)
	var wait sync.WaitGroup
	for i, name := range []string{fileMonitor, fileMonitor, "container_monitor", "canary", "sink.out", "sink.out"} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for range 20 {
				for _, running := range []bool{i%2 == 0, i%2 != 0} {
					if got, want := a.turn(name, running), fmt.Sprintf(`{"name":%q,"running":%v}`, name, running); !strings.HasPrefix(got, want) {
						t.Errorf("got %s, want %s", got, want)
					}
				}
				if got := a.reload(); !strings.Contains(got, `"changed":[]`) {
					t.Errorf("reload: %s", got)
				}
			}
		}()
	}
	wait.Wait()
	for _, name := range []string{fileMonitor, "sink.out"} {
		a.turns(name, true)
	}
	a.exactly(1, stop())
	a.stop()
}

func TestTheTokenStaysUnlessItIsUnfit(t *testing.T) {
	dir := t.TempDir()
	first, err := apiToken(dir)
	if err != nil || len(first) != 2*tokenBytes {
		t.Fatalf("%q %v", first, err)
	}
	path := filepath.Join(dir, tokenFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	if again, err := apiToken(dir); again != first || err != nil {
		t.Errorf("it is another one at the next start: %v", err)
	}
	for name, spoil := range map[string]func() error{
		"others may read it": func() error { return os.Chmod(path, 0o640) },
		"it is empty":        func() error { return os.WriteFile(path, nil, 0o600) },
		"it is a word":       func() error { return os.WriteFile(path, []byte("secret\n"), 0o600) },
		"it is a link": func() error {
			return os.Rename(path, path+"2") // and a link to it
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if name == "it is a link" {
			if err := os.Symlink(path+"2", path); err != nil {
				t.Fatal(err)
			}
		}
		next, err := apiToken(dir)
		if info, _ := os.Lstat(path); err != nil || next == first || len(next) != 2*tokenBytes || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, err, info.Mode())
		}
		first = next
	}
}

// A component that does not end is named, and is not run twice.
func TestAComponentThatDoesNotEndIsNamed(t *testing.T) {
	root := task.NewRoot(t.Context(), "agent", slog.New(slog.DiscardHandler))
	let := make(chan struct{})
	c := &component{name: "x", scope: root.Child("x")}
	c.scope.Go("stuck", func(context.Context) { <-let })
	if err := c.end(); err == nil || !strings.Contains(err.Error(), "agent/x/stuck (1)") {
		t.Errorf("got %v", err)
	}
	close(let)
	if err := c.end(); err != nil {
		t.Error(err)
	}
	if err := root.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
