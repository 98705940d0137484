// Package deploy has no code: it tests that what is in its directories works as it stands
// there, and as its README says.
package deploy

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// read returns a file of this directory.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheReadmesLinksLeadSomewhere(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(links) < 5 {
		t.Fatalf("%d links", len(links))
	}
	for _, link := range links {
		path, _, _ := strings.Cut(link[1], "#")
		if path == "" {
			path = "README.md"
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", link[1], err)
		}
	}
}
