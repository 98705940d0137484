// Package observe checks what is shipped for those who watch the agent: the dashboards, the
// alert rules and the runbooks, against each other, against docs/metrics.md, and against a
// real Prometheus that scrapes a real agent under load.
package observe

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// dashboard is what of a dashboard's file is looked at.
type dashboard struct {
	path, UID, Title, Description string
	Links                         []struct{ Type string }
	Templating                    struct{ List []struct{ Name string } }
	Panels                        []panel
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  *struct{ UID string }
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []any }
		}
	}
	Targets []target
}

type target struct {
	RefID      string
	Expr       string
	Datasource struct{ UID string }
}

// file returns a shipped file, by its path in the repository.
func file(t *testing.T, path string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func dashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(root, "deploy", "grafana", "dashboards", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		d := dashboard{path: "deploy/grafana/dashboards/" + filepath.Base(path)}
		if err := json.Unmarshal([]byte(file(t, d.path)), &d); err != nil {
			t.Fatalf("%s: %v", d.path, err)
		}
		all = append(all, d)
	}
	if len(all) != 5 {
		t.Errorf("%d dashboards, want 5", len(all))
	}
	return all
}

var (
	metricRow  = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:counter|gauge|histogram) ")
	metricName = regexp.MustCompile(`\b(?:log_capturer|process|go)_[a-z_]+`)
	nameRegexp = regexp.MustCompile(`__name__=~"(\w+)\(([^)]+)\)"`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
	ofSeries   = regexp.MustCompile(`_(bucket|count|sum)$`)
)

// documented are the names of docs/metrics.md, with their prefix.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, m := range metricRow.FindAllStringSubmatch(file(t, "docs/metrics.md"), -1) {
		names["log_capturer_"+m[1]] = true
	}
	if len(names) < 50 {
		t.Fatalf("docs/metrics.md has %d metrics only; was its table read right?", len(names))
	}
	return names
}

// metricsOf returns the metrics that an expression asks for.
func metricsOf(expr string) []string {
	names := map[string]bool{}
	for _, m := range nameRegexp.FindAllStringSubmatch(expr, -1) {
		for end := range strings.SplitSeq(m[2], "|") {
			names[m[1]+end] = true
		}
	}
	for _, name := range metricName.FindAllString(quoted.ReplaceAllString(expr, ""), -1) {
		names[ofSeries.ReplaceAllString(name, "")] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// undocumented returns the agent's own metrics in expr that docs/metrics.md does not have.
func undocumented(expr string, known map[string]bool) (out []string) {
	for _, name := range metricsOf(expr) {
		if strings.HasPrefix(name, "log_capturer_") && !known[name] {
			out = append(out, name)
		}
	}
	return out
}

func TestMetricsOfAnExpressionAreFound(t *testing.T) {
	got := metricsOf(`sum by (sink) ({__name__=~"log_capturer_lines_(a_total|b)",x="go_y"}) / rate(log_capturer_c_seconds_bucket{sink="log_capturer_no"}[5m]) + process_open_fds`)
	want := []string{"log_capturer_c_seconds", "log_capturer_lines_a_total", "log_capturer_lines_b", "process_open_fds"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if bad := undocumented("log_capturer_x + go_y", documented(t)); !slices.Equal(bad, []string{"log_capturer_x"}) {
		t.Errorf("undocumented: %q, want log_capturer_x alone", bad)
	}
}
