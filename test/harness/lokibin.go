package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// lokiBinary returns the path of a Loki: on PATH, in the cache, else built into
// the cache, once, by scripts/loki (about ten minutes on two cores).
func lokiBinary(ctx context.Context) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "loki"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("no Loki: scripts/loki: %w (see its output above)", err)
	}
	return string(bytes.TrimSpace(out.Bytes())), nil
}

// LokiBinary returns the path of a Loki, for tests of its own configuration.
func LokiBinary(t testing.TB) string {
	t.Helper()
	bin, err := lokiBinary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}
