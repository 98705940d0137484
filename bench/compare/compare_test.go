package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/bench/null"
	"github.com/logcapturer/log_capturer/bench/peer"
	"github.com/logcapturer/log_capturer/bench/report"
)

func TestMain(m *testing.M) {
	null.Child()
	goleak.VerifyTestMain(m)
}

// The whole way, with a small input and without peers: one file, one of a container, the
// latency, and the spool.
func TestASmallComparison(t *testing.T) {
	c := &comparison{
		ctx: t.Context(), dir: t.TempDir(), scale: 1.0 / 1024, rounds: 1, agentCore: min(1, cores()-1),
		patience: 30 * time.Second, settle: time.Millisecond, least: time.Second, done: func([]report.Run) {},
	}
	for _, a := range peer.All() {
		if a.Name == peer.Ours {
			a.Find(t.Context(), c.dir)
			c.agents = append(c.agents, a)
		}
	}
	c.agents = append(c.agents, &peer.Agent{Name: "gone", Missing: "is nowhere"})
	if err := c.run([]string{"A", "C", "E", "H"}); err != nil {
		t.Fatal(err)
	}
	if len(c.runs) != 8 {
		t.Fatalf("%d runs", len(c.runs))
	}
	for _, r := range c.runs {
		if r.Agent == "gone" {
			if r.Why == "" {
				t.Errorf("an agent that is nowhere ran: %+v", r)
			}
			continue
		}
		if !r.Counts() || r.Lines < 100 || r.Server.Lines != r.Lines || r.Seconds <= 0 || r.RSS <= 0 || r.Requests <= 0 {
			t.Errorf("%+v", r)
		}
		if r.Row == "A" && r.Limit <= 0 || r.Row == "E" && (r.P50 <= 0 || r.P99 < r.P50) || r.Row == "H" && (r.In <= 0 || r.Server.Refused == 0) {
			t.Errorf("%+v", r)
		}
	}
	left, err := os.ReadDir(c.dir)
	if err != nil || len(left) != 1 { // the agent's binary
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A planted repeat and two planted losses: three lines of five are sent, one of them twice.
func TestWhatIsLostIsFoundOut(t *testing.T) {
	c := &comparison{ctx: t.Context(), dir: t.TempDir(), agentCore: 0, patience: 300 * time.Millisecond}
	run := c.try(peer.Command("sleep", "60"), report.Run{Lines: 5}, peer.Job{}, nil, func(tr *trial) error {
		sent := strings.NewReader("id=app seq=1\nid=app seq=2\nid=app seq=4\nid=app seq=4\n")
		res, err := http.Post("http://"+tr.server.Addr+null.PathNDJSON, "text/plain", sent)
		if err != nil {
			return err
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer res.Body.Close()
		return tr.deliver()
	})
	if run.Why != "" || run.Lost != 2 || run.Server.Repeated != 1 || run.Counts() {
		t.Fatalf("%+v", run)
	}
	gone := peer.Command("sh", "-c", `echo "I cannot"; exit 3`)
	if run := c.try(gone, report.Run{Lines: 5}, peer.Job{}, nil, (*trial).deliver); !strings.Contains(run.Why, "ended by itself: I cannot") {
		t.Fatalf("%+v", run)
	}
}

func TestAnInterruptedComparisonReportsWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := &comparison{ctx: ctx, dir: t.TempDir(), scale: 1e-6, rounds: 3, agents: []*peer.Agent{{Name: "gone", Missing: "x"}}}
	c.done = func(runs []report.Run) {
		if len(runs) == 2 {
			cancel()
		}
	}
	if err := c.run([]string{"A", "B"}); err == nil || len(c.runs) != 2 {
		t.Fatalf("%d runs, %v", len(c.runs), err)
	}
}

func TestWhatIsChosen(t *testing.T) {
	o, err := parse([]string{"-rows", "f,a", "-agents", "promtail, open", "-scale", "0.5"})
	if err != nil || !slices.Equal(o.rows, []string{"F", "A"}) || len(o.agents) != 3 || o.scale != 0.5 {
		t.Fatalf("%+v, %v", o, err)
	}
	for _, wrong := range []string{"-rows=X", "-agents=nobody", "-scale=0", "-rounds=0", "more"} {
		if _, err := parse([]string{wrong}); err == nil {
			t.Errorf("%s was accepted", wrong)
		}
	}
	for _, r := range report.Rows() {
		if works[r.ID] == nil {
			t.Errorf("nothing does row %s", r.ID)
		}
	}
}

func TestTheReportIsWrittenWithItsChart(t *testing.T) {
	dir := t.TempDir()
	o, err := parse([]string{"-rows", "A", "-report", filepath.Join(dir, "sub", "b.md"), "-json", filepath.Join(dir, "b.json")})
	if err != nil {
		t.Fatal(err)
	}
	runs := []report.Run{{Row: "A", Agent: peer.Ours, Bytes: 1e6, Seconds: 1, CPU: 0.1}}
	if err := o.write(runs, nil, []string{"Told."}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		o.report: "ARGS='-rows=\"A\"'`. Told.\n\n![The agents beside each other](benchmark.svg)",
		o.json:   `"cpu_seconds": 0.1`, filepath.Join(dir, "sub", chart): "1970-01-01",
	} {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), want) || strings.Contains(string(b), dir) {
			t.Errorf("%s: %v\n%s", path, err, b)
		}
	}
}

func TestTheReportGoesBetweenTheMarksOfItsPage(t *testing.T) {
	page := []byte("# Page\n" + markBegin + "\nold\n" + markEnd + "\nrest\n")
	for range 2 { // the second time as the first
		page = within(page, "new\n")
		if want := "# Page\n" + markBegin + "\n\nnew\n\n" + markEnd + "\nrest\n"; string(page) != want {
			t.Fatalf("%q", page)
		}
	}
}
