package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

func rotated(c Container, size int64, rate float64) Container {
	c.Captured, c.Driver, c.Mode, c.Reason, c.Running, c.Level = true, jsonFile, source.File, "its json-file is readable", true, OK
	c.Rotation, c.Rate = &Rotation{MaxSize: size, MaxFiles: 3}, &rate
	c.judge()
	return c
}

// example is a report with something of everything.
func example() Report {
	r := Report{Config: "a.yaml", Sample: 2, Checks: []Check{
		{sectionConfig, "file", ok("a.yaml is valid")},
		{sectionEngine, "reachable", ok("unix:///var/run/docker.sock, API 1.41")},
		{sectionSinks, "loki", fail("connection refused", "start it")},
		{sectionLimits, "descriptors", warn("limit 1024, about 900 needed", "raise it")},
	}, Containers: []Container{
		rotated(Container{Name: "api", ID: "1"}, 0, 1500),
		rotated(Container{Name: "db", ID: "2"}, 10e6, 0),
		{Name: "other", ID: "3", Reason: "left out", Level: OK},
		rotated(Container{Name: "web", ID: "4"}, 10e6, 1e4),
	}}
	r.judge()
	return r
}

func shown(t *testing.T, r Report, opts TableOptions) string {
	t.Helper()
	var out strings.Builder
	if err := WriteTable(&out, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheTable(t *testing.T) {
	want := `Configuration
  ok    file  a.yaml is valid

Docker engine
  ok    reachable  unix:///var/run/docker.sock, API 1.41

Containers: 3 captured, 1 not
        NAME  DRIVER     READ  ROTATION        RATE  LOSS WINDOW
  warn  api   json-file  file  none       1.5 kB/s  no limit (disk)
  ok    db    json-file  file  10 MB × 3     quiet  –
  ok    web   json-file  file  10 MB × 3   10 kB/s  50m

        api, db, web: read as file, its json-file is readable
        other: not captured, left out

  warn  api: its log has no max-size and grows until the disk is full
        fix: create it anew with --log-opt max-size=10m --log-opt max-file=3, or set log-opts in /etc/docker/daemon.json for containers to come

        Rates are those of the last 2s. The loss window is how long the agent may be away before the engine deletes lines that it has not read: max-size × max-file ÷ rate.

Sinks
  fail  loki  connection refused
              fix: start it

Limits
  warn  descriptors  limit 1024, about 900 needed
                     fix: raise it

Not ready: 1 failure, 2 warnings.
`
	want = strings.Replace(want, "ROTATION        RATE", "ROTATION       RATE", 1)
	if diff := cmp.Diff(want, shown(t, example(), TableOptions{})); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestTheLastLineIsTheVerdict(t *testing.T) {
	for want, checks := range map[string][]Check{
		"Ready: nothing to mend.": {{Finding: ok("")}},
		"Ready, with 1 warning.":  {{Finding: ok("")}, {Finding: warn("", "")}},
		"Not ready: 2 failures.":  {{Finding: fail("", "")}, {Finding: fail("", "")}},
	} {
		if got := shown(t, Report{Checks: checks}, TableOptions{}); got != want+"\n" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestColoursAndWidthAreForTerminals(t *testing.T) {
	if strings.Contains(shown(t, example(), TableOptions{}), "\x1b") {
		t.Error("colours without being asked for")
	}
	got := shown(t, example(), TableOptions{Color: true, Width: 80})
	for _, want := range []string{"\x1b[31mfail\x1b[0m  loki", "\x1b[33mwarn\x1b[0m", "\x1b[32mok\x1b[0m", "\x1b[36mfix: \x1b[0mstart it"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	plain := got
	for _, code := range []string{bold, dim, red, green, yellow, cyan, "0"} {
		plain = strings.ReplaceAll(plain, "\x1b["+code+"m", "")
	}
	for line := range strings.Lines(plain) {
		if width(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("a line of %d columns: %q", width(line), line)
		}
	}
}

func TestNamesCannotSteerTheTerminal(t *testing.T) {
	evil := "x\x1b[2J\x1b]0;owned\x07\r\n\u202etxt.\xff\u009b1m"
	r := example()
	r.Checks[1].Found, r.Checks[2].Fix, r.Checks[2].Name = evil, evil, evil
	r.Containers[0].Name, r.Containers[1].Driver, r.Containers[3].Reason = evil, evil, evil
	got := shown(t, r, TableOptions{})
	for _, bad := range []string{"\x1b", "\x07", "\r", "\u202e", "\xff", "\u009b"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q reaches the terminal", bad)
		}
	}
	if !strings.Contains(got, `x\x1b[2J\x1b]0;owned\a\r\n\u202etxt.\xff\u009b1m`) {
		t.Errorf("the name is not shown escaped:\n%s", got)
	}
	if units.Printable("plain, grün · 容器") != "plain, grün · 容器" {
		t.Error("plain text was changed")
	}
}

func TestALongListIsGrouped(t *testing.T) {
	var r Report
	for i := range 300 {
		r.Containers = append(r.Containers, rotated(Container{Name: fmt.Sprintf("web-%03d", i), ID: fmt.Sprint(i)}, 10e6, float64(1000+i)))
	}
	r.Containers = append(r.Containers, rotated(Container{Name: "zoo", ID: "zoo"}, 0, 5))
	got := shown(t, r, TableOptions{})
	if n := strings.Count(got, "\n"); n > 15 {
		t.Errorf("%d lines", n)
	}
	for _, want := range []string{"web-000 and 299 like it", "≤ 1.3 kB/s", "≥ 6h", "\n  warn  zoo "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	all := shown(t, r, TableOptions{All: true})
	for i := range 300 {
		if !strings.Contains(all, fmt.Sprintf("\n  ok    web-%03d ", i)) {
			t.Fatalf("--all leaves out web-%03d:\n%s", i, all)
		}
	}
}

func TestTheMachineOutputSaysTheSame(t *testing.T) {
	text, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got["verdict"] != "fail" || got["config"] != "a.yaml" {
		t.Errorf("%s", text)
	}
	web := got["containers"].([]any)[3].(map[string]any)
	want := map[string]any{
		"name": "web", "id": "4", "log_driver": "json-file", "running": true, "captured": true, "mode": "file",
		"reason":           "its json-file is readable",
		"rotation":         map[string]any{"max_size_bytes": 1e7, "max_files": 3., "compress": false, "non_blocking": false},
		"bytes_per_second": 1e4, "loss_window_seconds": 3000., "level": "ok",
	}
	delete(web, "findings")
	if diff := cmp.Diff(want, web); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
	if loki := got["checks"].([]any)[2].(map[string]any); loki["section"] != "Sinks" || loki["level"] != "fail" || loki["fix"] != "start it" {
		t.Errorf("%v", loki)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestATableThatCannotBeWrittenIsAnError(t *testing.T) {
	if err := WriteTable(fullDisk{}, example(), TableOptions{}); err == nil {
		t.Error("no error")
	}
}
