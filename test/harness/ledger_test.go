package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

func entries(id string, seqs ...int64) []Entry {
	var out []Entry
	for _, n := range seqs {
		out = append(out, Entry{Line: string(line.Append(nil, line.Mixed, id, n, 0, time.Unix(0, n)))})
	}
	return out
}

func TestLedgerPassesWhatArrivedOnce(t *testing.T) {
	l := NewLedger()
	l.Expect("a", 1, 3)
	l.Expect("a", 4, 5)
	l.Expect("b", 10, 10)
	l.Expect("none", 1, 0)
	r := l.Check([]Stream{
		{Labels: map[string]string{"s": "stdout"}, Entries: entries("a", 1, 2, 4)},
		{Labels: map[string]string{"s": "stderr"}, Entries: append(entries("a", 3, 5), entries("b", 10)...)},
	})
	if !r.OK() || r.Expected != 6 || r.Lines != 6 {
		t.Fatal(r)
	}
}

// Each planted error must be found, counted, and be the only finding.
func TestLedgerFindsPlantedErrors(t *testing.T) {
	damaged := entries("a", 3)
	damaged[0].Line = strings.Replace(damaged[0].Line, " seq=", "X seq=", 1) + ""
	cut := entries("a", 3)
	cut[0].Line = cut[0].Line[:len(cut[0].Line)-3]
	for name, c := range map[string]struct {
		got  []Entry
		want Report
		say  string
	}{
		"lost at the end":    {entries("a", 1, 2, 3, 4), Report{Lost: Finding{N: 1}}, "lost: id=a seq=5..5 of 1..5"},
		"lost in the middle": {entries("a", 1, 5), Report{Lost: Finding{N: 3}}, "lost: id=a seq=2..4 of 1..5"},
		"all lost":           {nil, Report{Lost: Finding{N: 5}}, "lost: id=a seq=1..5 of 1..5"},
		"repeated":           {entries("a", 1, 2, 3, 4, 5, 5), Report{Repeated: Finding{N: 1}}, "repeated: {s=\"x\"}: id=a seq=5"},
		"repeated earlier":   {entries("a", 1, 2, 3, 2, 4, 5), Report{Repeated: Finding{N: 1}}, "seq=2"},
		"out of order":       {entries("a", 1, 2, 4, 3, 5), Report{OutOfOrder: Finding{N: 1}}, "id=a seq=3 after 4"},
		"not announced":      {entries("a", 1, 2, 3, 4, 5, 6), Report{Unexpected: Finding{N: 1}}, "unexpected: {s=\"x\"}: id=a seq=6"},
		"another id":         {append(entries("a", 1, 2, 3, 4, 5), entries("b", 1)...), Report{Unexpected: Finding{N: 1}}, "id=b seq=1"},
		"foreign":            {append(entries("a", 1, 2, 3, 4, 5), Entry{Line: "hello"}), Report{Foreign: Finding{N: 1}}, "foreign: {s=\"x\"}: \"hello\""},
		"flipped":            {append(entries("a", 1, 2, 4, 5), damaged...), Report{Lost: Finding{N: 1}, Damaged: Finding{N: 1}}, "damaged: "},
		"cut":                {append(entries("a", 1, 2, 4, 5), cut...), Report{Lost: Finding{N: 1}, Damaged: Finding{N: 1}}, "damaged: "},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLedger()
			l.Expect("a", 1, 5)
			r := l.Check([]Stream{{Labels: map[string]string{"s": "x"}, Entries: c.got}})
			if r.OK() {
				t.Fatal("not found")
			}
			got := [...]int64{r.Lost.N, r.Repeated.N, r.Damaged.N, r.OutOfOrder.N, r.Unexpected.N, r.Foreign.N}
			want := [...]int64{c.want.Lost.N, c.want.Repeated.N, c.want.Damaged.N, c.want.OutOfOrder.N, c.want.Unexpected.N, c.want.Foreign.N}
			if got != want {
				t.Errorf("counts %v, want %v", got, want)
			}
			if !strings.Contains(r.String(), c.say) {
				t.Errorf("the report lacks %q:\n%s", c.say, r)
			}
		})
	}
}

func TestReportStaysShort(t *testing.T) {
	l := NewLedger()
	l.Expect("a", 1, 1000)
	var odd []int64
	for n := int64(1); n < 1000; n += 2 {
		odd = append(odd, n)
	}
	r := l.Check([]Stream{{Entries: entries("a", odd...)}})
	if r.Lost.N != 500 || strings.Count(r.String(), "\n") > 10 {
		t.Fatal(r)
	}
}

func TestMetricsAreRead(t *testing.T) {
	m, err := parseMetrics("# HELP x y\nlog_capturer_goroutines 12\nlog_capturer_lines_acked_total{sink=\"loki\",status=\"a b\"} 1e3\nlog_capturer_lines_acked_total{sink=\"file\"} 5\n")
	if err != nil {
		t.Fatal(err)
	}
	if m.Sum("goroutines") != 12 || m.Sum("lines_acked_total") != 1005 || m.Sum("lines_acked_total", `sink="file"`) != 5 {
		t.Fatal(m)
	}
}

func TestAgentConfigurationIsCompleted(t *testing.T) {
	for config, want := range map[string]string{
		"server:\n  pprof: \"\"\n  listen: 127.0.0.1:99\n": "http://127.0.0.1:99",
		"server: {listen: 127.0.0.1:98}\n":                 "http://127.0.0.1:98",
	} {
		a, err := NewAgent("", t.TempDir(), config)
		if err != nil || a.URL != want {
			t.Errorf("%q: %v, %v", config, a, err)
		}
	}
	a, err := NewAgent("", t.TempDir(), "file_monitor: {enabled: false}\n")
	if err != nil || !strings.HasPrefix(a.URL, "http://127.0.0.1:") {
		t.Errorf("%+v, %v", a, err)
	}
}
