package observe

import (
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/logcapturer/log_capturer/test/harness"
)

const (
	rulesFile = "deploy/prometheus/rules.yml"
	testsFile = "deploy/prometheus/rules_test.yml"
	book      = "https://github.com/logcapturer/log_capturer/blob/main/"
)

// rule is an alert, or a recording rule.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var groups struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(file(t, rulesFile)), &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d rules only; was the file read right?", len(all))
	}
	return all
}

func TestEveryAlertFiresWhenItShouldAndOnlyThen(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	if said, err := harness.PromTool(t, root, "test", "rules", testsFile); err != nil {
		t.Errorf("promtool: %v\n%s", err, said)
	}
	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(file(t, testsFile)), &tests); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, c := range test.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				fires[c.Alertname] = true
			} else {
				silent[c.Alertname] = true
			}
		}
	}
	for _, r := range rules(t) {
		if r.Alert != "" && !(fires[r.Alert] && silent[r.Alert]) {
			t.Errorf("%s: %s has a case in which it fires: %v, one in which it is silent: %v; want both", testsFile, r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}

func TestAlertsSayWhatIsWrongAndLeadToTheirRunbook(t *testing.T) {
	known, names := documented(t), map[string]bool{}
	for _, r := range rules(t) {
		if strings.Contains(r.Record, ":") {
			names[r.Record] = true
		}
	}
	for _, r := range rules(t) {
		for _, name := range undocumented(r.Expr, known) {
			if !names[name] && !strings.Contains(r.Expr, name+":") {
				t.Errorf("%s%s: docs/metrics.md does not have %s", r.Alert, r.Record, name)
			}
		}
		if r.Alert == "" {
			continue
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: its severity is %q, want warning or critical", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s has no summary or no description", r.Alert)
		}
		path, heading, ok := strings.Cut(strings.TrimPrefix(r.Annotations["runbook_url"], book), "#")
		if !ok || !strings.HasPrefix(path, "docs/runbooks/") {
			t.Errorf("%s: its runbook_url is %q, want %sdocs/runbooks/FILE.md#HEADING", r.Alert, r.Annotations["runbook_url"], book)
			continue
		}
		if heading != strings.ToLower(r.Alert) || !hasHeading(file(t, path), r.Alert) {
			t.Errorf("%s: %s has no heading %s", r.Alert, path, r.Alert)
		}
	}
}

func hasHeading(text, heading string) bool {
	return regexp.MustCompile(`(?m)^##+ ` + regexp.QuoteMeta(heading) + `$`).MatchString(text)
}

// The index leads to every alert's section and to that of every component of health.
func TestTheIndexOfRunbooksIsWhole(t *testing.T) {
	index := file(t, "docs/runbooks/README.md")
	link := regexp.MustCompile(`\]\(([a-z-]+\.md)(?:#([a-z0-9-]+))?\)`)
	for _, m := range link.FindAllStringSubmatch(index, -1) {
		text := file(t, "docs/runbooks/"+m[1])
		if m[2] != "" && !slugs(text)[m[2]] {
			t.Errorf("the index links to %s#%s, which is no heading there", m[1], m[2])
		}
	}
	for _, r := range rules(t) {
		if r.Alert != "" && !strings.Contains(index, "`"+r.Alert+"`") {
			t.Errorf("the index does not have %s", r.Alert)
		}
	}
	_, table, _ := strings.Cut(file(t, "docs/metrics.md"), "The components of health:")
	table, _, _ = strings.Cut(table, "`degraded` means")
	components := regexp.MustCompile("(?m)^\\| `([a-z_.<>]+)` \\|").FindAllStringSubmatch(table, -1)
	if len(components) < 8 {
		t.Fatalf("%d components in docs/metrics.md; was its table read right?", len(components))
	}
	for _, c := range components {
		if !strings.Contains(index, "| `"+c[1]+"` |") {
			t.Errorf("the index has no row for the component %s", c[1])
		}
	}
}

// slugs are the anchors of a page's headings.
func slugs(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^##+ (.+)$`).FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return out
}
