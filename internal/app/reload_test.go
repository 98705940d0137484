package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (a *instance) reload() string { return a.call(http.MethodPost, "/api/v1/reload") }

// in returns the lines of a file that a local_file sink wrote below the data directory.
func (a *instance) in(glob string) (lines []string) {
	a.t.Helper()
	files, err := filepath.Glob(filepath.Join(a.dir, "data", glob))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			a.t.Fatal(err)
		}
		lines = append(lines, strings.Fields(string(text))...)
	}
	return lines
}

// A file is written all the time while sinks, files and limits change at every moment:
// each line is in one place, once, and in order.
func TestReloadsUnderLoadLoseNothing(t *testing.T) {
	dir := t.TempDir()
	versions := []string{
		`sinks: {out: {type: local_file, path: "{data_dir}/out/a", format: raw}}`,
		`sinks: {out: {type: local_file, path: "{data_dir}/out/b", format: raw}}
dispatcher: {memory: 2MiB, batch: {max_bytes: 1KiB}, rate_limit: {bytes_per_second: 100MiB}}`,
		`sinks: {out: {type: local_file, path: "{data_dir}/out/a", format: raw}, also: {type: local_file, path: "{data_dir}/also/a", format: raw}}
dispatcher: {batch: {linger: 1ms}}`,
		`sinks: {out: {type: local_file, path: "{data_dir}/out/c", format: raw}, may: {type: local_file, path: "{data_dir}/also/b", format: raw, delivery: best_effort}}`,
	}
	for i := range versions {
		versions[i] += fmt.Sprintf("\nfile_monitor: {include: [\"DIR/*.log\"], exclude: [\"DIR/%d\"]}\n", i)
	}
	a := startWith(t, dir, versions[0])
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	log := filepath.Join(dir, "a.log")
	var want []string
	reloads := 0
	for i := range 300 {
		for range 20 {
			want = append(want, fmt.Sprint(len(want)))
		}
		appendTo(t, log, strings.Join(want[len(want)-20:], "\n")+"\n")
		if i%5 != 0 {
			continue
		}
		a.configure(versions[reloads%len(versions)])
		if got := a.reload(); !strings.Contains(got, `"changed":`) {
			t.Fatalf("reload %d: %s", i, got)
		}
		reloads++
		before := len(a.in("out/*"))
		eventually(t, "more lines", func() bool { return len(a.in("out/*")) > before || before == len(want) })
	}
	eventually(t, "all lines", func() bool { return len(a.in("out/*")) >= len(want) })
	a.stop()
	got := a.in("out/*")
	slices.SortFunc(got, func(a, b string) int {
		return len(a) - len(b) + 10*strings.Compare(fmt.Sprintf("%9s", a), fmt.Sprintf("%9s", b))
	})
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
	for _, file := range []string{"out/a", "out/b", "out/c", "also/a"} {
		if len(a.in(file)) == 0 {
			t.Errorf("nothing came to %s", file)
		}
	}
	t.Logf("%d reloads, %d lines", reloads, len(want))
}

// Files are written all the time while it changes how their text becomes entries: each line
// is in one entry, once.
func TestFilesAreShapedAnewUnderLoad(t *testing.T) {
	dir := t.TempDir()
	const base = `sinks: {out: {type: local_file, path: "{data_dir}/out/a.{stream}", format: raw}}
`
	versions := []string{
		base + `file_monitor: {include: ["DIR/*.log"]}`,
		base + `file_monitor: {include: ["DIR/*.log"], multiline: {start: "[05]$"}}`,
		base + `file_monitor: {include: ["DIR/*.log"], rules: [{include: ["DIR/*.log"], format: cri}]}`,
		base + `file_monitor: {include: ["DIR/*.log"], encoding: latin1, timestamp: {format: rfc3339}, max_open: 1}`,
		base + `file_monitor: {include: ["DIR/*.log"], format: syslog, partial: 1s, max_open: 2}`,
	}
	a := startWith(t, dir, versions[0])
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	numbers := func() (got []int) {
		for _, word := range a.in("out/*") {
			if n, err := strconv.Atoi(word); err == nil {
				got = append(got, n)
			}
		}
		return got
	}
	entries := func() (n int) {
		for _, found := range regexp.MustCompile(`logs_processed_total\{source="[^"]*[abc].log"\} (\d+)`).FindAllStringSubmatch(a.get("/metrics"), -1) {
			one, err := strconv.Atoi(found[1])
			if err != nil {
				t.Fatal(err)
			}
			n += one
		}
		return n
	}
	wrote, files := 0, []string{filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log"), filepath.Join(dir, "c.log")}
	write := func() {
		for _, path := range files {
			text := ""
			for range 20 {
				text += fmt.Sprintf("%s stdout F %d\n", time.Now().Format(time.RFC3339Nano), wrote)
				wrote++
			}
			appendTo(t, path, text)
		}
	}
	for reloads := range 30 {
		write()
		a.configure(versions[reloads%len(versions)])
		if got := a.reload(); !strings.Contains(got, `"changed":`) {
			t.Fatalf("reload %d: %s", reloads, got)
		}
		before := len(numbers())
		eventually(t, "more lines", func() bool { return len(numbers()) > before || before == wrote })
		if joined := len(numbers()) - entries(); reloads%len(versions) == 1 {
			eventually(t, "lines to be joined", func() bool { write(); return len(numbers())-entries() > joined+20 })
		}
	}
	eventually(t, "all lines", func() bool { return len(numbers()) >= wrote })
	a.stop()
	got := numbers()
	slices.Sort(got)
	if len(got) != wrote || got[0] != 0 || got[wrote-1] != wrote-1 || len(slices.Compact(got)) != wrote {
		t.Errorf("%d lines came of %d, or not each once", len(got), wrote)
	}
	if cri := len(a.in("out/a.stdout")); cri == 0 || cri == len(a.in("out/*")) {
		t.Errorf("%d lines were taken for CRI's", cri)
	}
}

// A file that is wrong, or that changes what only a start can change, changes nothing, and
// health says so until one is right.
func TestAWrongConfigurationChangesNothing(t *testing.T) {
	dir := t.TempDir()
	const good = `file_monitor: {include: ["DIR/*.log"]}
sinks: {out: {type: local_file, path: "{data_dir}/out/a", format: raw}}
`
	a := startWith(t, dir, good)
	eventually(t, "the agent", func() bool { return strings.Contains(a.get("/ready"), "true") })
	for _, c := range []struct{ name, config, want string }{
		{"a mistake", good + "dispatcher: {memory: much}\n", "dispatcher.memory"},
		{"no YAML", "sinks: [", "config.yaml:"},
		{"another directory", good + "shutdown_timeout: 3s\nserver_: {}\n", "server_"},
		{"the reader's limit", strings.Replace(good, "include", "max_line: 2MiB, include", 1), "file_monitor.max_line cannot change while the agent runs"},
		{"what is owed", strings.Replace(good, "format", "delivery: best_effort, format", 1), "sinks.out.delivery cannot change"},
		{"a sink that cannot be", good[:strings.Index(good, "sinks")] + `sinks: {out: {type: local_file, path: "{data_dir}/out/b"}, new: {type: loki, url: "http://x", tls: {ca_file: DIR/none}}}`, "ca_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.configure(c.config)
			if got := a.reload(); !strings.Contains(got, `"error"`) || !strings.Contains(got, c.want) {
				t.Errorf("the answer is %s", got)
			}
			if h := a.get("/health"); !strings.Contains(h, "the last reload failed") {
				t.Errorf("health says %s", h)
			}
			if m := a.get("/metrics"); !strings.Contains(m, "log_capturer_config_last_reload_successful 0") {
				t.Error("the metric does not say so")
			}
		})
	}
	appendTo(t, filepath.Join(dir, "a.log"), "1\n")
	eventually(t, "a line where it went before", func() bool { return slices.Equal(a.in("out/a"), []string{"1"}) })
	a.configure(good)
	if got := a.reload(); got != `{"changed":[]}`+"\n" {
		t.Errorf("the answer is %s", got)
	}
	if h := a.get("/health"); strings.Contains(h, "reload") {
		t.Errorf("health says %s", h)
	}
}

// What is left out is let go of, and goes on where it was when it is wanted again.
func TestFilesAreChosenAnew(t *testing.T) {
	dir := t.TempDir()
	const sinks = `sinks: {out: {type: local_file, path: "{data_dir}/out/a", format: raw}}` + "\n"
	both, one := sinks+`file_monitor: {include: ["DIR/*.log"]}`, sinks+`file_monitor: {include: ["DIR/a.log"]}`
	a := startWith(t, dir, both)
	first, second := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	appendTo(t, first, "a1\n")
	appendTo(t, second, "b1\n")
	eventually(t, "both", func() bool { return len(a.in("out/a")) == 2 })
	a.configure(one)
	if got := a.reload(); got != `{"changed":["file_monitor.include"]}`+"\n" {
		t.Fatalf("the answer is %s", got)
	}
	eventually(t, "the file to be let go of", func() bool { return strings.Contains(a.get("/metrics"), `log_capturer_descriptors{kind="log_file"} 1`) })
	appendTo(t, second, "b2\n")
	appendTo(t, first, "a2\n")
	eventually(t, "the other", func() bool { return slices.Contains(a.in("out/a"), "a2") })
	if slices.Contains(a.in("out/a"), "b2") {
		t.Error("a file that is left out is read")
	}
	a.configure(both)
	a.hup <- syscall.SIGHUP
	eventually(t, "both", func() bool { return slices.Contains(a.in("out/a"), "b2") })
	a.stop()
	got := a.in("out/a")
	slices.Sort(got)
	if !slices.Equal(got, []string{"a1", "a2", "b1", "b2"}) {
		t.Errorf("got %v", got)
	}
}

// What a new sink writes is never captured, though it is where log files are looked for
// and another sink takes its time to go.
func TestANewSinksFilesAreNotCaptured(t *testing.T) {
	dir := t.TempDir()
	const files, before = `file_monitor: {include: ["DIR/logs/**"]}` + "\n", `sinks: {dead: {type: loki, url: "http://127.0.0.1:1"}, out: {type: local_file, path: "{data_dir}/out/a", format: raw}}` + "\n"
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := startWith(t, dir, files+before)
	log := filepath.Join(dir, "logs/a.log")
	appendTo(t, log, "0\n")
	eventually(t, "a line", func() bool { return len(a.in("out/a")) == 1 })
	a.configure(files + `sinks: {out: {type: local_file, path: "DIR/logs/out/x.log", format: raw}}` + "\n")
	if got := a.reload(); got != `{"changed":["sinks.dead","sinks.out.path"]}`+"\n" {
		t.Fatalf("the answer is %s", got)
	}
	for i := range 100 {
		appendTo(t, log, fmt.Sprintf("%d\n", i+1))
	}
	eventually(t, "all lines", func() bool { return len(a.in("../logs/out/*")) >= 100 })
	a.stop()
	if n := len(a.in("../logs/out/*")) + len(a.in("out/a")); n != 101 {
		t.Errorf("%d lines, want 101", n)
	}
}

// A reload that fails after new sinks' files were left out has them looked for again.
func TestAReloadThatFailsLeavesNoFileOut(t *testing.T) {
	dir := t.TempDir()
	const before = `file_monitor: {include: ["DIR/logs/**"]}
sinks: {out: {type: local_file, path: "{data_dir}/out/a", format: raw}}
`
	for _, sub := range []string{"logs/new", "data/spool"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, filepath.Join(dir, "data/spool/new"), "in the way of a directory")
	a := startWith(t, dir, before)
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	a.configure(strings.Replace(before, "sinks: {", `sinks: {new: {type: local_file, path: "DIR/logs/new/x.log"}, `, 1))
	if got := a.reload(); !strings.Contains(got, `"error"`) {
		t.Fatalf("the answer is %s", got)
	}
	appendTo(t, filepath.Join(dir, "logs/new/a.log"), "1\n")
	eventually(t, "a line", func() bool { return slices.Equal(a.in("out/a"), []string{"1"}) })
}

func TestTheConfigurationIsWatched(t *testing.T) {
	dir := t.TempDir()
	const text = `watch_config: true
file_monitor: {include: ["DIR/*.log"]}
sinks: {out: {type: local_file, path: "{data_dir}/out/FILE", format: raw}}
`
	a := startWith(t, dir, strings.Replace(text, "FILE", "a", 1))
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	began := time.Now()
	a.configure(strings.Replace(text, "FILE", "b", 1))
	i := 0
	eventually(t, "a line at the new place", func() bool {
		appendTo(t, filepath.Join(dir, "a.log"), fmt.Sprintf("%d\n", i))
		i++
		return len(a.in("out/b")) > 0
	})
	t.Logf("in use after %v", time.Since(began))
}

// The canary goes the whole way, and can be switched on while the agent runs.
func TestTheCanaryArrives(t *testing.T) {
	const sinks = `sinks: {out: {type: local_file, path: "{data_dir}/out/{source}", format: raw}}
file_monitor: {include: ["DIR/*.log"]}
`
	a := startWith(t, t.TempDir(), sinks)
	eventually(t, "the agent", func() bool { return a.get("/ready") != "" })
	a.configure(sinks + "canary: {interval: 1s}\n")
	if got := a.reload(); got != `{"changed":["canary.enabled","canary.interval"]}`+"\n" {
		t.Fatalf("the answer is %s", got)
	}
	eventually(t, "two canaries", func() bool {
		return strings.Contains(a.get("/metrics"), `log_capturer_canary_arrived_total{sink="out"} 2`) && len(a.in("out/canary")) >= 4
	})
	if h := a.get("/health"); !strings.Contains(h, `{"name":"canary","status":"healthy"`) {
		t.Errorf("health says %s", h)
	}
}
