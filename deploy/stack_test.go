package deploy

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// startLoki runs the stack's Loki, with other ports and another directory, until the test
// ends.
func startLoki(t *testing.T) (url string) {
	t.Helper()
	bin, dir := harness.LokiBinary(t), t.TempDir()
	web, grpc := freePort(t), freePort(t)
	config := strings.ReplaceAll(read(t, "compose/loki.yaml"), " /loki", " "+dir)
	config = strings.Replace(config, "http_listen_port: 3100", "http_listen_address: 127.0.0.1\n  grpc_listen_address: 127.0.0.1\n  http_listen_port: "+web+"\n  grpc_listen_port: "+grpc, 1)
	config = strings.Replace(config, "common:", "frontend_worker:\n  frontend_address: 127.0.0.1:"+grpc+"\n\ncommon:", 1)
	path := filepath.Join(dir, "loki.yaml")
	write(t, path, config)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bin, "-config.file="+path) //nolint:noctx // ended below, in order
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(read(t, log.Name()))
		}
	})
	url = "http://127.0.0.1:" + web
	loki := harness.OpenLoki(url)
	harness.Eventually(t, time.Minute, "Loki to be ready", func() (bool, string) {
		err := loki.Ready(t.Context())
		return err == nil, read(t, log.Name())
	})
	// What Compose asks it.
	if out, err := exec.CommandContext(t.Context(), bin, "-health", "-health.url="+url+"/ready").CombinedOutput(); err != nil {
		t.Errorf("Loki's health check: %v: %s", err, out)
	}
	return url
}

func freePort(t *testing.T) string {
	t.Helper()
	addr, err := harness.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestLokiAcceptsItsConfiguration(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), harness.LokiBinary(t), "-verify-config", "-config.file=compose/loki.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// The agent and the Loki of the stack, as processes: with their files a line gets through.
func TestTheStackDelivers(t *testing.T) {
	url, dir := startLoki(t), t.TempDir()
	config := read(t, "compose/log_capturer.yaml")
	for _, c := range [][2]string{
		{"0.0.0.0:8001", "127.0.0.1:" + freePort(t)},
		{"http://loki:3100", url},
		{"  since: 24h", "  since: 24h\n  enabled: false"},
		{"  since: now", "  since: now\n  include: ['" + dir + "/*.log']"},
	} {
		if strings.Count(config, c[0]) != 1 {
			t.Fatalf("%q is not in the configuration once", c[0])
		}
		config = strings.Replace(config, c[0], c[1], 1)
	}
	agent := harness.StartAgent(t, config)
	file, err := os.Create(filepath.Join(dir, "app.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	loki := harness.OpenLoki(url)
	start := time.Now().Add(-time.Minute)
	harness.Eventually(t, time.Minute, "lines in Loki", func() (bool, string) {
		if _, err := file.WriteString("a line\n"); err != nil {
			return false, err.Error()
		}
		n, err := loki.Count(t.Context(), `{job="files"}`, start, time.Now().Add(time.Minute))
		return err == nil && n > 0, agent.Log()
	})
}
