package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// toxiproxyVersion is built once into the cache.
const toxiproxyVersion = "v2.12.0"

// Toxic is a fault of connections; see https://github.com/Shopify/toxiproxy#toxics.
type Toxic struct {
	// Type is latency, bandwidth, slow_close, timeout, reset_peer, slicer or limit_data.
	Type string `json:"type"`
	// Stream is upstream (requests) or downstream (answers).
	Stream     string           `json:"stream"`
	Attributes map[string]int64 `json:"attributes"`
}

// Toxiproxy stands before an HTTP server and spoils its connections.
type Toxiproxy struct {
	// URL is the server, through it.
	URL  string
	api  string
	http *http.Client
}

// NewToxiproxy starts one before the server at target; it ends with the test.
func NewToxiproxy(t testing.TB, target string) *Toxiproxy {
	t.Helper()
	bin, err := toxiproxyBinary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	api, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	listen, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(api, ":")
	proc, err := startProcess("toxiproxy", filepath.Join(t.TempDir(), "log"), syscall.SIGKILL, bin, "-host", "127.0.0.1", "-port", port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.kill(); err != nil {
			t.Error(err)
		}
	})
	p := &Toxiproxy{URL: "http://" + listen, api: "http://" + api, http: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}}
	Eventually(t, agentReady, "a proxy", func() (bool, string) {
		err := p.call(t.Context(), http.MethodPost, "/proxies", map[string]any{
			"name": "sink", "listen": listen, "upstream": strings.TrimPrefix(target, "http://"), "enabled": true,
		})
		return err == nil, fmt.Sprint(err)
	})
	return p
}

func toxiproxyBinary(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("build toxiproxy: %w", err)
	}
	dir := filepath.Join(cache, "log_capturer", "toxiproxy-"+toxiproxyVersion)
	bin := filepath.Join(dir, "server")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/Shopify/toxiproxy/v2/cmd/server@"+toxiproxyVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build toxiproxy: %w\n%s", err, out)
	}
	return bin, nil
}

// Spoil adds a toxic.
func (p *Toxiproxy) Spoil(t testing.TB, toxic Toxic) {
	t.Helper()
	if err := p.call(t.Context(), http.MethodPost, "/proxies/sink/toxics", toxic); err != nil {
		t.Fatal(err)
	}
}

// Refuse has connections refused, and those that there are cut.
func (p *Toxiproxy) Refuse(t testing.TB) {
	t.Helper()
	if err := p.call(t.Context(), http.MethodPost, "/proxies/sink", map[string]any{"enabled": false}); err != nil {
		t.Fatal(err)
	}
}

// Mend removes all faults.
func (p *Toxiproxy) Mend(t testing.TB) {
	t.Helper()
	if err := p.call(t.Context(), http.MethodPost, "/reset", nil); err != nil {
		t.Fatal(err)
	}
}

func (p *Toxiproxy) call(ctx context.Context, method, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("toxiproxy: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.api+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("toxiproxy: %w", err)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return fmt.Errorf("toxiproxy: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		answer, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("toxiproxy: %s %s: %s: %s", method, path, res.Status, answer)
	}
	return nil
}
