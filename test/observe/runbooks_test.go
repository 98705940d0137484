package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

// What somebody is told to do at night must be there: commands with their flags, paths of
// the API, metrics, and panels.
func TestWhatRunbooksSendPeopleToExists(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(root, "docs", "runbooks", "*.md"))
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d runbooks, error %v; want more", len(paths), err)
	}
	there := places{metrics: documented(t), routes: file(t, "docs/openapi.yaml"), bin: harness.Agent(t), help: map[string]string{}}
	for _, d := range dashboards(t) {
		there.panels = append(there.panels, strings.TrimPrefix(d.Title, "log_capturer / "))
		for _, p := range d.Panels {
			there.panels = append(there.panels, p.Title)
		}
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range there.missing(string(text)) {
			t.Errorf("%s: %s", filepath.Base(path), bad)
		}
	}
	wrong := "`log_capturer nothing`, `log_capturer check --nothing`, `log_capturer_nothing`, see *Nothing*, http://127.0.0.1:8001/api/v1/nothing"
	if got := there.missing(wrong); len(got) != 5 {
		t.Errorf("of 5 mistakes these were found: %q", got)
	}
}

// places are where a runbook may send somebody.
type places struct {
	metrics map[string]bool
	panels  []string
	routes  string
	bin     string
	help    map[string]string // of each command that was asked for
}

var (
	command = regexp.MustCompile("(?m)(?:`|^)log_capturer ([a-z]+(?: (?:ls|show|replay|purge))?)([^`#\n]*)")
	flag    = regexp.MustCompile(`--[a-z-]+`)
	metric  = regexp.MustCompile("`(log_capturer_[a-z_]+)`")
	italic  = regexp.MustCompile(`(?:^|[^*])\*([A-Z][^*]+)\*`)
	route   = regexp.MustCompile(`127\.0\.0\.1:8001(/[A-Za-z0-9/_]+)`)
)

func (w places) missing(text string) (out []string) {
	for _, m := range command.FindAllStringSubmatch(text, -1) {
		help := w.helpOf(m[1])
		if !strings.Contains(help, "log_capturer "+m[1]+" ") {
			out = append(out, "there is no command log_capturer "+m[1])
			continue
		}
		for _, f := range flag.FindAllString(m[2], -1) {
			if !regexp.MustCompile(regexp.QuoteMeta(f) + `\b`).MatchString(help) {
				out = append(out, "log_capturer "+m[1]+" has no "+f)
			}
		}
	}
	for _, m := range metric.FindAllStringSubmatch(text, -1) {
		if !w.metrics[m[1]] {
			out = append(out, "docs/metrics.md does not have "+m[1])
		}
	}
	for _, m := range italic.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(w.panels, m[1]) {
			out = append(out, "there is no panel or dashboard "+m[1])
		}
	}
	for _, m := range route.FindAllStringSubmatch(text, -1) {
		path := strings.ReplaceAll(m[1], "NAME", "{name}")
		if !strings.Contains(w.routes, "\n  "+path+":") {
			out = append(out, "docs/openapi.yaml does not have "+m[1])
		}
	}
	return out
}

func (w places) helpOf(name string) string {
	if w.help[name] == "" {
		out, err := exec.Command(w.bin, append(strings.Fields(name), "--help")...).CombinedOutput()
		if err != nil {
			out = append(out, err.Error()...)
		}
		w.help[name] = string(out)
	}
	return w.help[name]
}
