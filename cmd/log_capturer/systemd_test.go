package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// notifySocket is where the agent's children find a service manager: the test.
func notifySocket(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "lc-") // t.TempDir may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// hear reads what the agent says until it says something that begins with want; signs of
// life in between are passed over. It returns the message.
func hear(t *testing.T, conn *net.UnixConn, want string) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("it does not say %q", want)
		}
		if err != nil {
			t.Fatal(err)
		}
		said := string(buffer[:n])
		if strings.HasPrefix(said, want) {
			return said
		}
		if !strings.HasPrefix(said, "WATCHDOG=1\n") {
			t.Fatalf("it says %q, want %q", said, want)
		}
	}
}

// The life of the agent as systemd hears of it, with a Loki that is down all the time: that
// is no reason for a restart.
func TestWhatSystemdHears(t *testing.T) {
	conn := notifySocket(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	nobody, err := harness.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("container_monitor: {enabled: false}\nfile_monitor: {include: ['%s/*.log']}\nsinks: {loki: {url: 'http://%s'}}\nshutdown_timeout: 1s\n", dir, nobody)
	agent := harness.StartAgent(t, config)
	if got := hear(t, conn, "READY=1\n"); !strings.Contains(got, "STATUS=") {
		t.Errorf("it says %q", got)
	}
	harness.Eventually(t, 15*time.Second, "signs of life beside a dead sink", func() (bool, string) {
		said := hear(t, conn, "WATCHDOG=1\n")
		return strings.HasSuffix(said, "\nSTATUS=degraded (sink.loki); 2 lines read, 0 of 1 sinks up"), said
	})
	code, stdout, stderr := command(t, "health", "-c", agent.ConfigPath())
	if code != exitDone || stderr != "" || !strings.HasPrefix(stdout, "degraded: sink.loki\n") {
		t.Errorf("health: exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	if agent.Metrics(t)[`log_capturer_task_goroutines{owner="agent/serving/systemd"}`] != 1 {
		t.Error("its goroutine is in no book")
	}

	if err := agent.SetConfig(config + "log: {level: debug}\n"); err != nil {
		t.Fatal(err)
	}
	if !agent.Reload(t) {
		t.Error("the reload failed")
	}
	if got := hear(t, conn, "RELOADING=1\nMONOTONIC_USEC="); !strings.Contains(got, "STATUS=reloading") {
		t.Errorf("it says %q", got)
	}
	hear(t, conn, "READY=1\nSTATUS=degraded (sink.loki)")
	if err := agent.SetConfig(config + "nonsense: 1\n"); err != nil {
		t.Fatal(err)
	}
	if agent.Reload(t) {
		t.Error("nonsense was taken in")
	}
	hear(t, conn, "RELOADING=1\n")
	hear(t, conn, "READY=1\nSTATUS=degraded (configuration, sink.loki)") // it goes on with what it had

	agent.Stop(t)
	hear(t, conn, "STOPPING=1\nEXTEND_TIMEOUT_USEC=11000000\nSTATUS=stopping")
}

func TestAnAgentThatNobodyListensToHasNoGoroutineForIt(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	agent := harness.StartAgent(t, "container_monitor: {enabled: false}\nfile_monitor: {enabled: false}\n")
	if n := agent.Metrics(t).Sum("task_goroutines", `owner="agent/serving/systemd"`); n != 0 {
		t.Errorf("there are %v", n)
	}
}
