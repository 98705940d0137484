// Package leaks proves that what leaks is found, and that what does not is left alone. An
// agent that was built with the tag plantedleaks leaks one object every half second when it
// is told to, in the component whose bug it would be.
package leaks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// leak is a kind of leak, and who has it.
type leak struct {
	kind, component string
	// names is what the leak watch must say: the owner, or the function of a leak of memory.
	names string
	// owner has it in the ledger; empty: memory has no owner there.
	owner string
	// each is how long isolate looks for each component. Memory is known after a collection
	// only, so it takes longer.
	each time.Duration
}

const shortLook, longLook = 30 * time.Second, 45 * time.Second

var planted = []leak{
	{"unclosed_stream", "container_monitor", "agent/sources/containers/", "agent/sources/containers/readers", shortLook},
	{"forgotten_ticker", "file_monitor", "agent/sources/files/pool", "agent/sources/files/pool", shortLook},
	{"blocked_send", "sink.loki", "agent/delivery/sinks/loki/send", "agent/delivery/sinks/loki/send", shortLook},
	{"uncancelled_context", "canary", "canary.(*Canary).ForgetCancel", "", longLook},
	{"unclosed_body", "sink.loki", "agent/delivery/sinks/loki/lane", "agent/delivery/sinks/loki/lane", shortLook},
	{"growing_map", "file_monitor", "discover.(*Files).Hoard", "", longLook},
	{"held_descriptor", "file_monitor", "agent/sources/files/readers", "agent/sources/files/readers", shortLook},
	{"orphan", "file_monitor", "agent/sources/files/pool", "agent/sources/files/pool", shortLook},
}

// found is within what time a leak must be: two minutes, and one interval until it is looked
// at again.
const found = 2*time.Minute + 15*time.Second

// secret must be in no bundle.
const secret = "s3cr3t-0f-the-test"

// suspect is an agent that runs, and what became of it.
type suspect struct {
	leak
	agent *harness.AgentProcess
	began time.Time

	after     time.Duration
	reason    string
	diagnosed string // what diagnose said
	isolated  string // and isolate
	errs      []error
}

func (s *suspect) fail(format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf(format, args...))
}

// All leaks run at the same time, each in an agent of its own, beside one that has none.
func TestEveryPlantedLeakIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	bin, engine := harness.PlantedAgent(t), harness.Engine(t)
	engine.Run(t, harness.RunOptions{Name: "leaks-app", Args: []string{"-rate", "5"}})
	logs := writing(t)
	start := func(l leak) *suspect {
		loki := harness.NewFakeLoki(t, 1<<20)
		token := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &suspect{leak: l, began: time.Now()}
		s.agent = harness.StartPlantedAgent(t, bin, l.kind, fmt.Sprintf(`
container_monitor: {docker_host: %q, read: stream, include: {names: [leaks-app]}}
file_monitor: {include: [%q]}
canary: {enabled: true}
leak_watch: {webhook_url: "http://127.0.0.1:1/%s"}
sinks: {loki: {url: %q, auth: {bearer_token_file: %q}}}
`, engine.Host(), logs, secret, loki.URL, token))
		return s
	}
	clean := start(leak{})
	suspects := make([]*suspect, len(planted))
	for i, l := range planted {
		suspects[i] = start(l)
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	for _, s := range suspects {
		all.Go(func() { s.investigate(t.Context()) })
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		clean.staysClean(t.Context(), done)
	}()
	all.Wait()
	close(done)
	<-watched
	var table strings.Builder
	for _, s := range suspects {
		fmt.Fprintf(&table, "\n%s, after %.0f s\n\twatch: %s\n\tdiagnose: %s\n\tisolate: %s", s.kind, s.after.Seconds(), s.reason, s.diagnosed, s.isolated)
		for _, err := range s.errs {
			t.Errorf("%s: %v", s.kind, err)
		}
		s.agent.Kill(t) // what blocks for ever does not stop
	}
	for _, err := range clean.errs {
		t.Errorf("without a leak: %v", err)
	}
	t.Log(table.String())
}

// writing returns a log to which a line is written now and then until the test ends.
func writing(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer f.Close()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				fmt.Fprintln(f, "line", n)
			case <-end:
				return
			}
		}
	}()
	t.Cleanup(func() { close(end); <-ended })
	return path
}

// investigate does what a person would: look at health, at the bundle and the metrics, ask
// diagnose, and have it isolate.
func (s *suspect) investigate(ctx context.Context) {
	diagnosed := make(chan struct{})
	var verdict verdict
	var told error
	go func() {
		defer close(diagnosed)
		verdict, told = s.diagnose(ctx, "--for", "1m")
	}()
	s.awaitAlarm(ctx)
	<-diagnosed
	s.diagnosed = verdict.Text
	if told != nil || verdict.Component != s.component {
		s.fail("diagnose names %q: %s (%v)", verdict.Component, verdict.Text, told)
	}
	if s.reason == "" {
		return
	}
	s.checkBundle()
	s.checkLedger()
	isolated, err := s.diagnose(ctx, "--isolate", "--yes", "--for", s.each.String())
	s.isolated = isolated.Text
	if err != nil || isolated.Component != s.component {
		s.fail("isolate names %q: %s (%v)", isolated.Component, isolated.Text, err)
	}
	census, err := s.agent.Resources()
	if err != nil {
		s.fail("%w", err)
	}
	for _, c := range census.Components {
		if !c.Running {
			s.fail("%s was left off", c.Name)
		}
	}
	if len(census.Components) != 4 {
		s.fail("the components are %v", census.Components)
	}
}

// awaitAlarm waits until health has the leak, which must name who has it.
func (s *suspect) awaitAlarm(ctx context.Context) {
	status := ""
	for status != "degraded" {
		h, err := s.agent.AskHealth()
		if err != nil {
			s.fail("%w", err)
			return
		}
		if status, s.reason = h.Of("leak_watch"); time.Since(s.began) > found {
			s.fail("not found within %s: %s %s", found, status, s.reason)
			s.reason = ""
			return
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
	s.after = time.Since(s.began)
	first, _, _ := strings.Cut(s.reason, "; also: ")
	if !strings.Contains(first, s.names) {
		s.fail("the reason does not name %s: %s", s.names, s.reason)
	}
	m, err := s.agent.Scrape()
	if err != nil {
		s.fail("%w", err)
		return
	}
	if n := m.Sum("leak_alarms_total", `component="`+s.component+`"`); n < 1 {
		s.fail("leak_alarms_total of %s is %v: %v", s.component, n, alarms(m))
	}
	if n := m.Sum("leak_alarms_total"); n != 1 {
		s.fail("others have an alarm too: %v", alarms(m))
	}
}

func alarms(m harness.Metrics) map[string]float64 {
	out := map[string]float64{}
	for series, n := range m {
		if strings.Contains(series, "leak_alarms_total") && n > 0 {
			out[series] = n
		}
	}
	return out
}

// checkLedger has the ledger's own test fail, or memory grow.
func (s *suspect) checkLedger() {
	census, err := s.agent.Resources()
	if err != nil {
		s.fail("%w", err)
		return
	}
	if wrong := exact(census); s.owner != "" && wrong[s.owner] == nil {
		s.fail("the ledger does not see it: %v", wrong)
	}
	if s.owner == "" && census.Heap.LiveBytes-census.Heap.BatchBytes < 64<<20 {
		s.fail("%d bytes live only", census.Heap.LiveBytes)
	}
}

// verdict is that of diagnose.
type verdict struct{ Finding, Component, Text string }

// diagnose runs it against the agent. It must find a leak, or suspect one.
func (s *suspect) diagnose(ctx context.Context, args ...string) (verdict, error) {
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, s.agent.Bin(), append([]string{"diagnose", "-c", s.agent.ConfigPath(), "--json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return verdict{}, err
	}
	var report struct{ Verdict verdict }
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil {
		return verdict{}, fmt.Errorf("exit code %d: %w: %s%s", code, err, out.String(), errs.String())
	}
	want := 1
	if s.kind == "" {
		want = 0
	}
	if code != want {
		return report.Verdict, fmt.Errorf("exit code %d: %s", code, errs.String())
	}
	return report.Verdict, nil
}

// staysClean looks at an agent without a leak until done is closed.
func (s *suspect) staysClean(ctx context.Context, done <-chan struct{}) {
	if v, err := s.diagnose(ctx, "--for", "1m"); err != nil {
		s.fail("diagnose: %w: %s", err, v.Text)
	}
	for over := false; !over; {
		h, err := s.agent.AskHealth()
		if status, reason := h.Of("leak_watch"); err != nil || status != "healthy" {
			s.fail("%s %s (%v)", status, reason, err)
			return
		}
		select {
		case <-time.After(time.Second):
		case <-done:
			over = true
		}
	}
	var wrong map[string]error
	for range 50 { // what is ending may be in one census
		census, err := s.agent.Resources()
		if wrong = exact(census); err == nil && len(wrong) == 0 {
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	m, err := s.agent.Scrape()
	if err != nil || len(wrong) > 0 || m.Sum("leak_alarms_total") != 0 {
		s.fail("the ledger is not exact: %v; alarms %v (%v)", wrong, alarms(m), err)
	}
	if dirs, _ := os.ReadDir(filepath.Join(s.agent.Data, "diagnostics")); len(dirs) > 0 {
		s.fail("there is a bundle: %v", dirs)
	}
}
