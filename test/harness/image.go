package harness

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// image is the log generator's, made on first use.
type image struct {
	mu  sync.Mutex
	ref string
}

// Image returns the reference of the log generator's image (test/loggen is its
// only file). It is built once for each engine and removed with it.
func (e *DockerEngine) Image(t testing.TB) string {
	t.Helper()
	ref, err := e.EnsureImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// EnsureImage is Image for callers without a test.
func (e *DockerEngine) EnsureImage(ctx context.Context) (string, error) {
	e.image.mu.Lock()
	defer e.image.mu.Unlock()
	if e.image.ref != "" {
		return e.image.ref, nil
	}
	layer, err := loggenLayer(ctx)
	if err != nil {
		return "", err
	}
	// The tag is the engine value's own: two test binaries never share one.
	ref := "log_capturer/loggen:" + e.run
	res, err := e.cli.ImageImport(ctx,
		client.ImageImportSource{Source: bytes.NewReader(layer), SourceName: "-"}, ref,
		client.ImageImportOptions{Changes: []string{`ENTRYPOINT ["/loggen"]`}})
	if err != nil {
		return "", fmt.Errorf("import the image of the log generator: %w", err)
	}
	defer res.Close()
	if _, err := io.Copy(io.Discard, res); err != nil {
		return "", fmt.Errorf("import the image of the log generator: %w", err)
	}
	e.image.ref = ref
	return ref, nil
}

func (e *DockerEngine) removeImage(ctx context.Context) error {
	e.image.mu.Lock()
	defer e.image.mu.Unlock()
	if e.image.ref == "" {
		return nil
	}
	_, err := e.cli.ImageRemove(ctx, e.image.ref, client.ImageRemoveOptions{PruneChildren: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove the image %s: %w", e.image.ref, err)
	}
	e.image.ref = ""
	return nil
}

// loggenLayer returns a tar of the static binary as /loggen.
func loggenLayer(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "lc-loggen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "loggen")
	if err := goBuild(ctx, []string{"CGO_ENABLED=0", "GOOS=linux"}, "-trimpath", "-ldflags=-s -w", "-o", bin, "./test/loggen"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: "loggen", Mode: 0o755, Size: int64(len(b))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return out.Bytes(), w.Close()
}

// goBuild runs "go build args" at the module's root with env added.
func goBuild(ctx context.Context, env []string, args ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, out)
	}
	return nil
}
