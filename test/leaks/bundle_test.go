package leaks

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// inBundle are the files of one.
var inBundle = []string{
	"verdict.json", "snapshot.json", "goroutines.txt", "goroutines_by_stack.txt", "goroutines.pb.gz",
	"heap.pb.gz", "descriptors.txt", "config.yaml", "agent.log",
}

// checkBundle looks for one bundle, all its files, the right verdict, and no secret.
func (s *suspect) checkBundle() {
	dir := filepath.Join(s.agent.Data, "diagnostics")
	bundles, err := os.ReadDir(dir)
	if err != nil || len(bundles) != 1 {
		s.fail("%d bundles (%v)", len(bundles), err)
		return
	}
	for _, name := range inBundle {
		text, err := os.ReadFile(filepath.Join(dir, bundles[0].Name(), name))
		if err != nil || len(text) == 0 {
			s.fail("the bundle's %s is empty (%v)", name, err)
			continue
		}
		if strings.HasSuffix(name, ".gz") {
			r, err := gzip.NewReader(bytes.NewReader(text))
			if err == nil {
				text, err = io.ReadAll(r)
			}
			if err != nil {
				s.fail("the bundle's %s: %w", name, err)
			}
		}
		if bytes.Contains(text, []byte(secret)) {
			s.fail("the bundle's %s has the secret", name)
		}
		if name != "verdict.json" {
			continue
		}
		var v struct{ Component string }
		if err := json.Unmarshal(text, &v); err != nil || v.Component != s.component {
			s.fail("verdict.json names %q (%v)", v.Component, err)
		}
	}
}
