package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// short and long are the sizes of lines; the Loki of these tests refuses long ones.
const (
	short, long = 100, 2000
	limit       = 1000
)

// rig is an agent that reads log files and delivers them to a Loki.
type rig struct {
	t      *testing.T
	agent  *harness.AgentProcess
	ledger *harness.Ledger
	dir    string
	next   map[string]int64
	long   map[string]int64
}

func newRig(t *testing.T, url string) *rig {
	t.Helper()
	r := &rig{t: t, ledger: harness.NewLedger(), dir: t.TempDir(), next: map[string]int64{}, long: map[string]int64{}}
	for _, name := range []string{"a", "b"} {
		r.append(name, 0)
	}
	r.agent = harness.StartAgent(t, fmt.Sprintf(`
container_monitor: {enabled: false}
file_monitor: {include: [%s/*.log]}
dispatcher: {batch: {max_bytes: 64KiB}}
sinks: {loki: {url: %q, labels: {team: ops}}}
`, r.dir, url))
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name+".log") }

// append writes n more lines to a log file; every fifth is long.
func (r *rig) append(name string, n int64) {
	r.t.Helper()
	var b []byte
	first := r.next[name] + 1
	for seq := first; seq < first+n; seq++ {
		size := short
		if seq%5 == 0 {
			size = long
			r.long[name]++
		}
		b = append(line.Append(b, line.Plain, name, seq, size, time.Now()), '\n')
	}
	f, err := os.OpenFile(r.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		r.t.Fatal(err)
	}
	r.ledger.Expect(name, first, first+n-1)
	r.next[name] += n
}

// settled waits until the agent has accounted for all lines, with as many dead letters
// as there are long lines.
func (r *rig) settled() {
	r.t.Helper()
	want := float64(r.next["a"] + r.next["b"])
	dead := float64(r.long["a"] + r.long["b"])
	harness.Eventually(r.t, 60*time.Second, "all lines accounted for", func() (bool, string) {
		m := r.agent.Metrics(r.t)
		a, d := m.Sum("lines_acked_total"), m.Sum("lines_deadlettered_total")
		return a+d == want && d == dead, fmt.Sprintf("%v accepted and %v dead of %v", a, d, want)
	})
}

// run runs a verb of deadletter with the agent's configuration.
func (r *rig) run(code int, args ...string) (stdout string) {
	r.t.Helper()
	got, stdout, stderr := command(r.t, append([]string{"deadletter", "-c", r.agent.ConfigPath()}, args...)...)
	if got != code {
		r.t.Fatalf("%v: exit code %d, want %d; stderr %q, stdout:\n%s", args, got, code, stderr, stdout)
	}
	return stdout
}

// groups runs ls.
func (r *rig) groups(args ...string) (out []string) {
	r.t.Helper()
	var listing office.Listing
	r.decode(r.run(exitDone, append([]string{"ls", "--json"}, args...)...), &listing)
	for _, g := range listing.Groups {
		out = append(out, fmt.Sprint(g.Sink, " ", g.Reason, " ", g.Entries))
	}
	return out
}

// replay runs replay and returns the result of the one sink.
func (r *rig) replay(code int, args ...string) office.SinkReplay {
	r.t.Helper()
	var result office.Replayed
	r.decode(r.run(code, append([]string{"replay", "--json"}, args...)...), &result)
	if len(result.Sinks) != 1 {
		r.t.Fatalf("%+v", result)
	}
	return result.Sinks[0]
}

func (r *rig) decode(text string, into any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		r.t.Fatalf("%v in %s", err, text)
	}
}

// shown returns the letters by source and number.
func (r *rig) shown() map[string]deadletter.Letter {
	r.t.Helper()
	var shown office.Shown
	r.decode(r.run(exitDone, "show", "--json", "--limit", "10000"), &shown)
	out := map[string]deadletter.Letter{}
	for _, raw := range shown.Entries {
		l, err := deadletter.Parse(raw)
		if err != nil {
			r.t.Fatal(err)
		}
		out[key(r.t, l.Line)] = l
	}
	return out
}

func key(t *testing.T, text []byte) string {
	t.Helper()
	id, seq, err := line.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(id, " ", seq)
}

// check compares what arrived with what was written, and what was a letter with what it
// was before.
func (r *rig) check(streams []harness.Stream, letters map[string]deadletter.Letter) {
	r.t.Helper()
	report := r.ledger.Check(streams)
	report.OutOfOrder = harness.Finding{} // a letter arrives behind lines that are younger
	if r.t.Log(report); !report.OK() {
		r.t.Error("not every line arrived once")
	}
	found, changed := 0, 0
	for _, s := range streams {
		for _, e := range s.Entries {
			l, was := letters[key(r.t, []byte(e.Line))]
			if !was {
				continue
			}
			found++
			labels, same := fmt.Sprint(s.Labels), e.Time == l.Time
			for _, want := range append(l.Labels, record.Label{Name: "team", Value: "ops"}) {
				same = same && strings.Contains(labels, want.Value)
			}
			for _, want := range l.Metadata {
				same = same && e.Metadata[want.Name] == want.Value
			}
			if same {
				continue
			}
			if changed++; changed == 1 {
				r.t.Errorf("%s %+v arrived, the letter was %+v", labels, e, l)
			}
		}
	}
	if found != len(letters) || changed > 0 {
		r.t.Errorf("%d of %d letters arrived, %d changed", found, len(letters), changed)
	}
}

// The whole way: Loki refuses, letters are looked at, tried in vain, the cause is mended,
// and they go out through the running agent and, the rest, without it.
func TestWhatLokiRefusedArrivesWhenTheCauseIsMended(t *testing.T) {
	loki := harness.NewFakeLoki(t, limit)
	r := newRig(t, loki.URL)
	r.append("a", 1000)
	r.append("b", 500)
	r.settled()
	if diff := cmp.Diff([]string{"loki line_too_long 300"}, r.groups()); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]string{"loki line_too_long 100"}, r.groups("--source", "**/b.log", "--sink", "loki")); diff != "" {
		t.Fatal(diff)
	}
	letters := r.shown()
	if table := r.run(exitDone, "ls"); !strings.HasPrefix(table, "SINK  REASON         ENTRIES  BYTES") || !strings.Contains(table, "\nloki  line_too_long  300 ") {
		t.Errorf("got:\n%s", table)
	}
	if text := r.run(exitDone, "show", "--limit", "1"); !strings.Contains(text, "  loki  line_too_long: max entry size '1000' bytes exceeded") || !strings.Contains(text, "these are the first 1; there are more") {
		t.Errorf("got:\n%s", text)
	}

	// Nothing is mended yet.
	if got := r.replay(exitFailed); got.Matched != 300 || got.Refused != 300 || len(got.Refusals) != 1 || !strings.Contains(got.Refusals[0].Detail, "max entry size '1000'") {
		t.Errorf("%+v", got)
	}
	if table := r.run(exitFailed, "replay"); !strings.Contains(table, "loki refused 300 again, line_too_long: max entry size") {
		t.Errorf("got:\n%s", table)
	}

	// Mended: one source through the agent, beside fresh lines.
	loki.Set(1<<20, false)
	if got := r.replay(exitDone, "--source", "**/a.log", "--dry-run"); got.NotSent != 200 {
		t.Errorf("%+v", got)
	}
	loki.OnPush(func(n int) {
		if n == 1 {
			r.append("a", 500)
		}
	})
	if got := r.replay(exitDone, "--source", "**/a.log"); got.Accepted != 200 {
		t.Errorf("%+v", got)
	}
	r.long["a"] -= 100 // of those none was refused
	r.settled()
	if m := r.agent.Metrics(t); m.Sum("deadletter_replayed_total", `result="accepted"`) != 200 || m.Sum("deadletter_replayed_total", `result="refused"`) != 600 ||
		m.Sum("deadletter_lines") != 100 || m.Sum("deadletter_removed_total") != 0 {
		t.Errorf("the metrics say %v", m)
	}

	// The rest without the agent. A sink that is down costs nothing.
	r.agent.Stop(t)
	loki.Set(1<<20, true)
	if got := r.replay(exitFailed); got.NotSent != 100 || !strings.Contains(got.Error, "503") {
		t.Errorf("%+v", got)
	}
	loki.Set(1<<20, false)
	if got := r.replay(exitDone); got.Accepted != 100 {
		t.Errorf("%+v", got)
	}
	if left := r.groups(); left != nil {
		t.Errorf("left: %v", left)
	}
	r.check(loki.Streams(), letters)
}

// The agent is killed while it sends letters again, then stopped while it does.
func TestAReplayThatIsKilledLosesNoLine(t *testing.T) {
	loki := harness.NewFakeLoki(t, limit)
	r := newRig(t, loki.URL)
	r.append("a", 5000) // 1000 letters of 2.5 KB: three Sends
	r.settled()
	letters := r.shown()
	r.agent.Stop(t) // so that its positions are saved: lines of files that it reads again are repeated
	r.agent.Start(t)
	loki.Set(1<<20, false)
	for _, c := range []struct {
		push int
		end  func()
		want string
	}{
		{2, func() { r.agent.Kill(t) }, "does not answer"},
		{1, func() { r.agent.Stop(t) }, "the agent is stopping"},
	} {
		ended := make(chan struct{})
		loki.OnPush(func(n int) {
			if n == c.push {
				c.end()
				close(ended)
			}
		})
		code, stdout, stderr := command(t, "deadletter", "-c", r.agent.ConfigPath(), "replay")
		if code != exitFailed || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("exit code %d, want %q in: %s%s", code, c.want, stdout, stderr)
		}
		<-ended
		loki.OnPush(nil)
		if left := len(r.shown()); left == 0 || left == 1000 && c.push > 1 {
			t.Errorf("%d letters are left after an end at push %d", left, c.push)
		}
		r.agent.Start(t)
	}
	if got := r.replay(exitDone); got.Refused != 0 || got.Accepted == 0 {
		t.Errorf("%+v", got)
	}
	r.check(loki.Streams(), letters)
}

// The same with a real Loki, which is mended by a restart with another limit.
func TestReplayToARealLoki(t *testing.T) {
	loki := harness.PrivateLoki(t, harness.LokiOptions{Config: fmt.Sprintf("limits_config: {max_line_size: %d}\n", limit)})
	r := newRig(t, loki.URL)
	start := time.Now().Add(-time.Minute)
	r.append("a", 1000)
	r.append("b", 500)
	r.settled()
	letters := r.shown()
	if got := r.replay(exitFailed, "--source", "**/a.log"); got.Refused != 200 || !strings.Contains(got.Refusals[0].Detail, "max entry size") {
		t.Errorf("%+v", got)
	}
	loki.Reconfigure(t, harness.LokiOptions{})
	if got := r.replay(exitDone, "--source", "**/a.log"); got.Accepted != 200 {
		t.Errorf("%+v", got)
	}
	r.agent.Stop(t)
	if got := r.replay(exitDone); got.Accepted != 100 {
		t.Errorf("%+v", got)
	}
	var streams []harness.Stream
	harness.Eventually(t, 30*time.Second, "all lines in Loki", func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var err error
		if streams, err = loki.Query(ctx, `{team="ops"}`, start, time.Now().Add(time.Minute)); err != nil {
			return false, err.Error()
		}
		n := 0
		for _, s := range streams {
			n += len(s.Entries)
		}
		return n >= 1500, fmt.Sprint(n)
	})
	r.check(streams, letters)
}

// bury makes letters in a data directory as an agent leaves them.
func bury(t *testing.T, data, name string, lines ...string) {
	t.Helper()
	w, err := deadletter.Open(data, name, 1<<20, deadletter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src := &record.Source{ID: "container:1", Kind: "container", Name: "web\x1b[2J"}
	src.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "app", Value: "web"}}, nil)
	b := &record.Batch{Source: src}
	var refused []sink.Rejection
	for i, text := range lines {
		b.Append(int64(i)+1, record.Stdout, []byte(text))
		refused = append(refused, sink.Rejection{Entry: i, Reason: "too_old", Detail: "says \x1b[31mLoki\u009b1m"})
	}
	err = w.Write([]record.View{record.Whole(b)}, refused, time.Now())
	if err := errors.Join(err, w.Close(), os.WriteFile(filepath.Join(data, "lock"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestLettersDoNotCommandTheTerminal(t *testing.T) {
	dir := t.TempDir()
	bury(t, filepath.Join(dir, "data"), "old", "evil \x1b]0;owned\x07\t\u202e\xff")
	_, stdout, stderr := command(t, "deadletter", "-c", configure(t, dir, ""), "show")
	for _, bad := range []string{"\x1b", "\x07", "\u009b", "\u202e", "\xff", "\t"} {
		if strings.Contains(stdout, bad) {
			t.Errorf("%q is in %q", bad, stdout)
		}
	}
	if want := `evil \x1b]0;owned\a\t\u202e\xff`; !strings.Contains(stdout, want) || stderr != "" {
		t.Errorf("stderr %q, no %q in:\n%s", stderr, want, stdout)
	}
	_, stdout, _ = command(t, "deadletter", "-c", configure(t, dir, ""), "show", "--json")
	if !bytes.Contains([]byte(stdout), []byte(`"line_base64": "`)) {
		t.Errorf("--json has not the exact bytes:\n%s", stdout)
	}
}

func TestPurgeWantsToBeConfirmed(t *testing.T) {
	dir := t.TempDir()
	bury(t, filepath.Join(dir, "data"), "old", "one", "two")
	path := configure(t, dir, "")
	code, stdout, stderr := command(t, "deadletter", "-c", path, "purge", "--reason", "too_old")
	if code != exitUsage || !strings.Contains(stdout, "old   too_old  2 ") || stderr != "error: nothing was removed; give --yes to remove them\n" {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	if code, stdout, stderr = command(t, "deadletter", "-c", path, "purge", "--yes"); code != exitDone || stderr != "" || !strings.HasPrefix(stdout, "removed:\nSINK") {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	for _, verb := range []string{"ls", "show", "replay", "purge"} {
		if code, stdout, stderr = command(t, "deadletter", "-c", path, verb); code != exitDone || stdout != "no dead letters\n" || stderr != "" {
			t.Errorf("%s: exit code %d, stderr %q, stdout:\n%s", verb, code, stderr, stdout)
		}
	}
}

func TestADirectoryThatNoAgentUsedIsAClearError(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := command(t, "deadletter", "-c", configure(t, dir, ""), "ls")
	if code != exitFailed || !strings.Contains(stderr, "no agent has ever run on data_dir "+dir+"/data") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "data", "*")); err != nil || len(names) != 0 {
		t.Errorf("it left %v, %v", names, err)
	}
}
