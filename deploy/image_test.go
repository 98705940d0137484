package deploy

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/test/harness"
)

// finalStage is the Dockerfile without the stage that compiles, which takes a registry.
func finalStage(t *testing.T) (compile, final string) {
	t.Helper()
	compile, final, ok := strings.Cut(read(t, "docker/Dockerfile"), "\nFROM scratch\n")
	if !ok || strings.Contains(final, "\nFROM ") {
		t.Fatal("the Dockerfile has no last stage FROM scratch")
	}
	return compile, "FROM scratch\n" + final
}

func TestTheDockerfileCompilesWhatTheTreeAsksFor(t *testing.T) {
	compile, _ := finalStage(t)
	for line := range strings.Lines(read(t, "../go.mod")) {
		if version, ok := strings.CutPrefix(line, "go "); ok {
			minor := version[:strings.LastIndex(version, ".")]
			if !strings.Contains(compile, "\nFROM golang:"+minor+".") {
				t.Errorf("go.mod asks for Go %s", version)
			}
		}
	}
	if !strings.Contains(compile, "CGO_ENABLED=0 ") {
		t.Error("what it compiles needs a libc")
	}
	// All that it copies passes .dockerignore, which lets nothing else in.
	ignore := read(t, "../.dockerignore")
	for line := range strings.Lines(compile) {
		if from, ok := strings.CutPrefix(line, "COPY "); ok && !strings.HasPrefix(from, ". ") {
			fields := strings.Fields(from)
			for _, name := range fields[:len(fields)-1] {
				if _, err := os.Stat(filepath.Join("..", name)); err != nil || !strings.Contains(ignore, "\n!"+name+"\n") {
					t.Errorf("%s: %v, or it is ignored", name, err)
				}
			}
		}
	}
}

// buildImage builds the last stage on what the first would have left, and returns its tag.
func buildImage(t *testing.T, e *harness.DockerEngine) (ref string) {
	t.Helper()
	binary, err := os.ReadFile(harness.ShippedAgent(t))
	if err != nil {
		t.Fatal(err)
	}
	_, final := finalStage(t)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range []struct {
		name string
		mode int64
		kind byte
		text []byte
	}{
		{"Dockerfile", 0o644, tar.TypeReg, []byte("FROM scratch AS build\nCOPY image/ /image/\n\n" + final)},
		{"image/log_capturer", 0o755, tar.TypeReg, binary},
		{"image/etc/ssl/certs/ca-certificates.crt", 0o644, tar.TypeReg, []byte("none here\n")},
		{"image/var/lib/log_capturer/", 0o750, tar.TypeDir, nil},
	} {
		err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Typeflag: f.kind, Size: int64(len(f.text))})
		if err == nil {
			_, err = w.Write(f.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ref = "log_capturer/test:" + strings.ToLower(rand.Text()[:10])
	version := "v1.2.3"
	res, err := e.Client().ImageBuild(t.Context(), &archive, client.ImageBuildOptions{
		Tags: []string{ref}, Remove: true, ForceRemove: true, Version: build.BuilderV1, BuildArgs: map[string]*string{"VERSION": &version},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	t.Cleanup(func() {
		_, err := e.Client().ImageRemove(context.WithoutCancel(t.Context()), ref, client.ImageRemoveOptions{Force: true, PruneChildren: true})
		if err != nil {
			t.Error(err)
		}
	})
	for messages := json.NewDecoder(res.Body); ; {
		var m struct {
			Error string `json:"error"`
		}
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			return ref
		} else if err != nil || m.Error != "" {
			t.Fatalf("build the image: %v %s", err, m.Error)
		}
	}
}

// socket is the engine's, on this host.
func socket(e *harness.DockerEngine) string { return strings.TrimPrefix(e.Host(), "unix://") }

// runImage runs the agent's image as the README says, with a health check each second.
// change makes of that what the test is about.
func runImage(t *testing.T, e *harness.DockerEngine, config string, change func(*client.ContainerCreateOptions)) (id string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log_capturer.yaml")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil { //nolint:gosec // other users are to read it
		t.Fatal(err)
	}
	containers := filepath.Join(e.DataRoot(t), "containers")
	key, value := e.Label()
	options := client.ContainerCreateOptions{
		Config: &container.Config{
			Image: buildImage(t, e), Labels: map[string]string{key: value},
			Healthcheck: &container.HealthConfig{Interval: time.Second, StartPeriod: time.Millisecond, Retries: 2},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"}, CapAdd: []string{"DAC_READ_SEARCH"},
			SecurityOpt: []string{"no-new-privileges"},
			Binds: []string{
				path + ":/etc/log_capturer/log_capturer.yaml:ro",
				socket(e) + ":/var/run/docker.sock:ro",
				containers + ":" + containers + ":ro",
			},
		},
	}
	change(&options)
	res, err := e.Client().ContainerCreate(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := e.Client().ContainerRemove(context.WithoutCancel(t.Context()), res.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil {
			t.Error(err)
		}
	})
	if _, err := e.Client().ContainerStart(t.Context(), res.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	return res.ID
}

func state(t *testing.T, e *harness.DockerEngine, id string) *container.State {
	t.Helper()
	res, err := e.Client().ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return res.Container.State
}

// becomes waits for what the health check says, and returns the first line of its last output.
func becomes(t *testing.T, e *harness.DockerEngine, id string, want container.HealthStatus) (first string) {
	t.Helper()
	harness.Eventually(t, time.Minute, "the container to be "+string(want), func() (bool, string) {
		s := state(t, e, id)
		if s.Health == nil || len(s.Health.Log) == 0 {
			return false, "no check yet; it is " + string(s.Status)
		}
		output := s.Health.Log[len(s.Health.Log)-1].Output
		first, _, _ = strings.Cut(output, "\n")
		return s.Health.Status == want, string(s.Health.Status) + ": " + output
	})
	return first
}

// captures waits until the agent has captured three lines of a new container.
func captures(t *testing.T, e *harness.DockerEngine, id, dir string) {
	t.Helper()
	c := e.Run(t, harness.RunOptions{Args: []string{"-n", "3", "-hold"}})
	harness.Eventually(t, time.Minute, "the other container's lines", func() (bool, string) {
		all := ""
		for name, text := range captured(t, e, id, dir) {
			if strings.Contains(name, c.Name) {
				all += text
			}
		}
		return strings.Count(all, "\n") == 3, all
	})
}

// captured returns the names and texts of the files that the agent wrote in its data_dir.
func captured(t *testing.T, e *harness.DockerEngine, id, dir string) map[string]string {
	t.Helper()
	res, err := e.Client().CopyFromContainer(t.Context(), id, client.CopyFromContainerOptions{SourcePath: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Content.Close()
	files := map[string]string{}
	for archive := tar.NewReader(res.Content); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, "/logs/") && h.Typeflag == tar.TypeReg {
			files[h.Name] = string(text)
		}
	}
}

// The image on a real engine: Docker takes it for healthy, it captures another container's
// json-file with the one capability that it is given, leaves itself out, and stops cleanly.
func TestTheImageBecomesHealthy(t *testing.T) {
	e := harness.Engine(t)
	id := runImage(t, e, "file_monitor: {enabled: false}\ncontainer_monitor: {read: file}\n", func(*client.ContainerCreateOptions) {})
	if first := becomes(t, e, id, container.Healthy); !strings.HasPrefix(first, "healthy: all ") {
		t.Errorf("the check says %q", first)
	}
	captures(t, e, id, "/var/lib/log_capturer")
	res, err := e.Client().ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name := range captured(t, e, id, "/var/lib/log_capturer") {
		if strings.Contains(name, strings.TrimPrefix(res.Container.Name, "/")) {
			t.Errorf("it has captured itself: %s", name)
		}
	}
	labels := res.Container.Config.Labels
	if labels["log_capturer.self"] != "true" || labels["org.opencontainers.image.version"] != "v1.2.3" {
		t.Errorf("labels: %v", labels)
	}
	if _, err := e.Client().ContainerStop(t.Context(), id, client.ContainerStopOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := state(t, e, id); s.ExitCode != 0 || s.OOMKilled {
		t.Errorf("it stopped with %d", s.ExitCode)
	}
}

func TestTheImageBecomesUnhealthy(t *testing.T) {
	e := harness.Engine(t)
	id := runImage(t, e, "server: {listen: '127.0.0.1:8002'}\n", func(o *client.ContainerCreateOptions) {
		o.Config.Cmd = []string{"run", "--config", "/dev/null"} // which listens on 8001
	})
	if first := becomes(t, e, id, container.Unhealthy); !strings.HasPrefix(first, "error: no agent answers at http://127.0.0.1:8002") {
		t.Errorf("the check says %q", first)
	}
}

// A user of the socket's group, without any capability, as the README has it.
func TestTheImageWithoutRoot(t *testing.T) {
	e := harness.Engine(t)
	info, err := os.Stat(socket(e))
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("the socket has no group")
	}
	data := t.TempDir()
	if err := os.Chmod(data, 0o777); err != nil { //nolint:gosec // the container's user is to write there
		t.Fatal(err)
	}
	id := runImage(t, e, "data_dir: /data\nfile_monitor: {enabled: false}\n", func(o *client.ContainerCreateOptions) {
		o.Config.User = fmt.Sprintf("65534:%d", stat.Gid)
		o.HostConfig.CapAdd = nil
		o.HostConfig.Binds = append(o.HostConfig.Binds, data+":/data")
	})
	if first := becomes(t, e, id, container.Healthy); !strings.HasPrefix(first, "healthy: all ") {
		t.Errorf("the check says %q", first)
	}
	captures(t, e, id, "/data")
}
