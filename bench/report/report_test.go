package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/bench/null"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMediansAndPercentiles(t *testing.T) {
	for _, c := range []struct {
		values      []float64
		median, p99 float64
	}{
		{[]float64{3}, 3, 3},
		{[]float64{5, 1, 3}, 3, 5},
		{[]float64{4, 1, 3, 2}, 2.5, 4},
	} {
		if m, p := Median(c.values), Percentile(c.values, 99); m != c.median || p != c.p99 {
			t.Errorf("%v: median %g, p99 %g", c.values, m, p)
		}
	}
	if !math.IsNaN(Median(nil)) || !math.IsNaN(Percentile(nil, 50)) {
		t.Error("nothing has a middle")
	}
	hundred := make([]float64, 0, 200)
	for i := range 200 {
		hundred = append(hundred, float64(200-i))
	}
	if p50, p99 := Percentile(hundred, 50), Percentile(hundred, 99); p50 != 100 || p99 != 198 {
		t.Errorf("p50 %g, p99 %g", p50, p99)
	}
}

// ran is a run of 100 MB that took so many CPU-seconds.
func ran(row, agent string, round int, cpu float64) Run {
	return Run{Row: row, Agent: agent, Round: round, Bytes: 100e6, Lines: 1000, Seconds: 10, CPU: cpu, Limit: 0.25, RSS: 64e6, Requests: 50}
}

// The second round is twice as slow for everybody: the ratio does not change by that.
func TestRatiosAreTakenRunByRun(t *testing.T) {
	runs := []Run{ran("A", "us", 1, 1), ran("A", "peer", 1, 4), ran("A", "us", 2, 2), ran("A", "peer", 2, 8), ran("A", "us", 3, 1), ran("A", "peer", 3, 5)}
	all := cells(Rows()[0], runs, "us")
	if len(all) != 2 || all[1].ratio != 4 || all[1].from != 4 || all[1].to != 5 || !math.IsNaN(all[0].ratio) {
		t.Fatalf("%+v", all)
	}
	// Where less is better, a peer that needs more is as much worse.
	for i := range runs {
		runs[i].Row = "D"
	}
	if got := cells(Rows()[3], runs, "us")[1].ratio; math.Abs(got-4) > 1e-9 {
		t.Fatal(got)
	}
}

func TestARunThatLostOrRepeatedDoesNotCount(t *testing.T) {
	lossy, twice := ran("A", "lossy", 1, 0.1), ran("A", "twice", 1, 0.1)
	lossy.Lost = 3
	twice.Server = null.Report{Repeated: 2}
	half := []Run{ran("A", "half", 1, 2), ran("A", "half", 2, 1)}
	half[1].Lost = 1
	runs := append([]Run{ran("A", "us", 1, 1), lossy, twice, {Row: "A", Agent: "gone", Round: 1, Why: "is not on\nPATH"}}, half...)
	table := Table(runs, "us", map[string]string{"us": "as it comes"})
	for _, want := range []string{
		"| A: one large file | us | **100** MB per CPU-second | 10.0 | 25.0 % | 1.00 | – | 64.0 | 5.00 | – | 0 / 0 | yes | as it comes |",
		"|  | lossy | – | – | – | – | – | – | – | – | 3 / 0 | yes | does not count: 3 lost, 0 repeated |",
		"|  | twice | – | – | – | – | – | – | – | – | 0 / 2 | yes | does not count: 0 lost, 2 repeated |",
		"|  | gone | – | – | – | – | – | – | – | – | – | – | is not on PATH |",
		"|  | half | **50.0** MB per CPU-second | 10.0 | 12.5 % | 2.00 | – | 64.0 | 5.00 | 2.00 × (2.00–2.00) | 1 / 0 | yes | does not count: 1 lost, 0 repeated; 1 of 2 runs count |",
	} {
		if !strings.Contains(table, want+"\n") {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if strings.Contains(table, "B: ") {
		t.Error("a row without runs is in the table")
	}
}

func TestEachRowSaysWhatItIsAbout(t *testing.T) {
	var runs []Run
	for _, r := range Rows() {
		run := ran(r.ID, "us", 1, 3)
		run.P50, run.P99, run.In, run.Out, run.Engine = 7, 8.5, 0.2, 0.3, 2
		run.Server.Disorder = 4
		runs = append(runs, run)
	}
	table := Table(runs, "us", nil)
	for _, want := range []string{
		"**33.3** MB per CPU-second", "**18.0** CPU-seconds a minute", "**7.00** p50, ms", "p99 8.50 ms",
		"**20.0** MB per CPU-second of agent and dockerd", "**200** MB/s in and out together", "500 MB/s in, 333 out", "no (4 lines)",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

func TestTheChartIsOnePictureWithABarForEachAgent(t *testing.T) {
	runs := []Run{ran("A", "us", 1, 1), ran("A", "peer & co", 1, 4), {Row: "A", Agent: "gone", Why: "is <not> there"}, ran("D", "us", 1, 1)}
	chart := Chart(runs, "us", "a machine")
	d := xml.NewDecoder(strings.NewReader(chart))
	widths := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, chart)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			for _, a := range e.Attr {
				if a.Name.Local == "width" {
					widths[a.Value]++
				}
			}
		}
	}
	// The limit of 400 is the longest, then 100, 25 and nothing; the other row has its own scale.
	for width, n := range map[string]int{"570.0": 2, "142.5": 1, "35.6": 1, "0.0": 1} {
		if widths[width] != n {
			t.Errorf("%d bars of %s, want %d: %v", widths[width], width, n, widths)
		}
	}
	for _, want := range []string{"a machine", "peer &amp; co", "is &lt;not&gt; there", "the machine's limit"} {
		if !strings.Contains(chart, want) {
			t.Errorf("no %q in\n%s", want, chart)
		}
	}
}
