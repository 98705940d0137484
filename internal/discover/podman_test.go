package discover

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/source"
)

func TestContainersOfPodmanAreReadThroughItsAPIWhateverWasAskedFor(t *testing.T) {
	for read, want := range map[source.Mode]source.Mode{
		source.Auto: source.Stream, source.File: source.Stream, source.Stream: source.Stream, source.Poll: source.Poll,
	} {
		engine := dockertest.New(t)
		engine.Server = "Libpod/4.3.1 (linux)"
		engine.Create(dockertest.Container{ID: "c1", Name: "one", LogPath: "/var/lib/c1/ctr.log", Running: true})
		client, err := docker.New(engine.Host())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		config := DefaultContainerConfig()
		config.Read = read
		log := new(lockedLog)
		r := receive(t, NewContainers(config, client, "host", slog.New(slog.NewTextHandler(log, nil))))
		target := r.has(t, "one")
		if target.Mode != want || target.Path != "" || target.Container.Driver != docker.K8sFile {
			t.Errorf("read %s: %s of %q by the driver %s, want %s", read, target.Mode, target.Path, target.Container.Driver, want)
		}
		forced := read == source.File
		if told := strings.Contains(target.Reason, "Podman"); told != (forced || read == source.Auto) {
			t.Errorf("read %s: the reason is %q", read, target.Reason)
		}
		if warned := strings.Contains(log.String(), "is not read by file"); warned != forced {
			t.Errorf("read %s: warned is %v", read, warned)
		}
	}
}

// lockedLog keeps what was logged.
type lockedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
