package harness

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// EngineOptions are for a private engine.
type EngineOptions struct {
	// LiveRestore keeps containers running while dockerd is down.
	LiveRestore bool
	// DataSize puts all that the engine keeps on a file system of so many bytes; 0 = not.
	DataSize int64
	// Args are further arguments of dockerd.
	Args []string
}

// LabelKey is the label that every container of the harness carries.
const LabelKey = "log_capturer.harness"

// DockerEngine is an engine and the containers and image that were made in it
// through this value. Its methods are safe for concurrent use, but for those that
// start and stop dockerd.
type DockerEngine struct {
	cli    *client.Client
	run    string  // value of LabelKey
	daemon *daemon // nil when the engine was running already
	image  image
	limits []*container.Ulimit // of every container; what Podman needs
}

// Engine returns the engine that the tests of this binary share: one that is
// running, else a private one. The test fails when there is none to be had.
func Engine(t testing.TB) *DockerEngine {
	t.Helper()
	parts.mu.Lock()
	defer parts.mu.Unlock()
	if parts.engine == nil && parts.engineErr == nil {
		parts.engine, parts.engineErr = FindEngine(t.Context())
	}
	if parts.engineErr != nil {
		t.Fatal(parts.engineErr)
	}
	e := parts.engine
	t.Cleanup(func() { e.showLog(t) })
	return e
}

// PrivateEngine starts an engine for this test alone, which may be restarted,
// killed and paused; it is gone when the test ends.
func PrivateEngine(t testing.TB, o EngineOptions) *DockerEngine {
	t.Helper()
	e, err := StartEngine(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.showLog(t)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// FindEngine returns the engine that DOCKER_HOST or the default socket names when
// it answers, else a private one. The caller closes it.
func FindEngine(ctx context.Context) (*DockerEngine, error) {
	e, err := newEngine(client.FromEnv)
	if err != nil {
		return nil, err
	}
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err = e.ping(ping); err == nil {
		return e, nil
	}
	if closing := e.cli.Close(); closing != nil {
		return nil, closing
	}
	if os.Getenv("DOCKER_HOST") != "" {
		return nil, fmt.Errorf("the Docker engine of DOCKER_HOST does not answer: %w", err)
	}
	return StartEngine(ctx, EngineOptions{})
}

// StartEngine starts a private engine. The caller closes it.
func StartEngine(ctx context.Context, o EngineOptions) (*DockerEngine, error) {
	d, err := newDaemon(o)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(client.WithHost("unix://" + d.socket()))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	e.daemon = d
	if err := d.start(ctx, e.ping); err != nil {
		return nil, errors.Join(err, d.close(), e.cli.Close())
	}
	return e, nil
}

// newEngine makes a client that holds no idle connections: their goroutines would
// be taken for leaks of the tests.
func newEngine(opt client.Opt) (*DockerEngine, error) {
	plain := &http.Client{CheckRedirect: client.CheckRedirect, Transport: &http.Transport{
		DisableKeepAlives: true,
		// Without HTTP/2 the copy that the client makes gets no TLS configuration,
		// which it would take for a reason to speak TLS.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}}
	cli, err := client.New(client.WithHTTPClient(plain), client.WithHost(client.DefaultDockerHost), opt)
	if err != nil {
		return nil, fmt.Errorf("make a Docker client: %w", err)
	}
	id := make([]byte, 6)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	return &DockerEngine{cli: cli, run: hex.EncodeToString(id)}, nil
}

func (e *DockerEngine) ping(ctx context.Context) error {
	_, err := e.cli.Ping(ctx, client.PingOptions{})
	return err
}

// Host returns what DOCKER_HOST or docker_host would be set to.
func (e *DockerEngine) Host() string { return e.cli.DaemonHost() }

// DataRoot returns the directory under which the engine keeps its containers.
func (e *DockerEngine) DataRoot(t testing.TB) string {
	t.Helper()
	info, err := e.cli.Info(t.Context(), client.InfoOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info.Info.DockerRootDir
}

// Client returns the client, for calls that the harness has no method for. It is
// the engine's; do not close it.
func (e *DockerEngine) Client() *client.Client { return e.cli }

// Label returns the label that all containers made through this value carry.
func (e *DockerEngine) Label() (key, value string) { return LabelKey, e.run }

// Private tells whether the engine was started by the harness.
func (e *DockerEngine) Private() bool { return e.daemon != nil }

// Close removes the containers and the image, and stops a private engine.
func (e *DockerEngine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if e.daemon == nil || !e.daemon.proc.ended() {
		if e.daemon != nil {
			errs = append(errs, e.daemon.proc.signal(syscall.SIGCONT))
		}
		errs = append(errs, e.removeAll(ctx))
	}
	if e.daemon != nil {
		errs = append(errs, e.daemon.close())
	}
	return errors.Join(append(errs, e.cli.Close())...)
}

// removeAll removes every container that carries our label, and the image.
func (e *DockerEngine) removeAll(ctx context.Context) error {
	list, err := e.cli.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", LabelKey+"="+e.run),
	})
	if err != nil {
		return fmt.Errorf("list the harness's containers: %w", err)
	}
	var errs []error
	for _, c := range list.Items {
		errs = append(errs, e.remove(ctx, c.ID))
	}
	return errors.Join(append(errs, e.removeImage(ctx))...)
}

// Stop ends a private dockerd by SIGTERM; without live-restore its containers end too.
func (e *DockerEngine) Stop(t testing.TB) {
	t.Helper()
	if err := e.own(t).stop(); err != nil {
		t.Fatal(err)
	}
}

// Kill ends a private dockerd by SIGKILL; its containers go on without a log.
func (e *DockerEngine) Kill(t testing.TB) {
	t.Helper()
	if err := e.own(t).proc.kill(); err != nil {
		t.Fatal(err)
	}
}

// Start starts a private dockerd again, with the same data, and waits until it answers.
func (e *DockerEngine) Start(t testing.TB) {
	t.Helper()
	if err := e.own(t).start(t.Context(), e.ping); err != nil {
		t.Fatal(err)
	}
}

// Restart stops and starts a private dockerd.
func (e *DockerEngine) Restart(t testing.TB) {
	t.Helper()
	e.Stop(t)
	e.Start(t)
}

// Pause freezes a private dockerd (SIGSTOP): its sockets stay open and silent.
func (e *DockerEngine) Pause(t testing.TB) {
	t.Helper()
	if err := e.own(t).proc.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// Resume ends Pause.
func (e *DockerEngine) Resume(t testing.TB) {
	t.Helper()
	if err := e.own(t).proc.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// PID returns the process id of a private dockerd.
func (e *DockerEngine) PID(t testing.TB) int {
	t.Helper()
	return e.own(t).proc.cmd.Process.Pid
}

// ProcessID is PID for callers without a test; 0 when the engine is not private.
func (e *DockerEngine) ProcessID() int {
	if e.daemon == nil {
		return 0
	}
	return e.daemon.proc.cmd.Process.Pid
}

func (e *DockerEngine) own(t testing.TB) *daemon {
	t.Helper()
	if e.daemon == nil {
		t.Fatal("this engine is not the test's own: use PrivateEngine to stop one")
	}
	return e.daemon
}

func (e *DockerEngine) showLog(t testing.TB) {
	if t.Failed() && e.daemon != nil {
		t.Logf("the end of dockerd's log:\n%s", tail(e.daemon.log(), 20))
	}
}
