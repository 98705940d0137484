package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// callTimeout bounds one call to the engine.
const callTimeout = 2 * time.Minute

// RunOptions describe a container of the log generator.
type RunOptions struct {
	// Name of the container; empty = a fresh one.
	Name string
	// Args of loggen. Without -id the id is the container's name.
	Args []string
	// Entrypoint replaces loggen, whose Args then are none; Binds are mounts, "from:to[:ro]".
	Entrypoint, Binds []string
	// Labels are added to the harness's own.
	Labels map[string]string
	// Driver is the log driver, json-file (k8s-file with Podman) when empty; LogOpts its options, such as max-size.
	Driver  string
	LogOpts map[string]string
	TTY     bool
	// AutoRemove is docker run --rm.
	AutoRemove bool
	// Restart is the restart policy: "", "always", "on-failure" or "unless-stopped".
	Restart string
	// Retries is how often on-failure starts it again; 0 = without end.
	Retries int
	// Memory limits it, in bytes; 0 = not.
	Memory int64
}

// Container is one that the harness made.
type Container struct {
	ID, Name string
	engine   *DockerEngine
}

// Run creates and starts a container; it is removed when the test ends.
func (e *DockerEngine) Run(t testing.TB, o RunOptions) *Container {
	t.Helper()
	c := e.Create(t, o)
	c.Start(t)
	return c
}

// Create creates a container without starting it; it is removed when the test ends.
func (e *DockerEngine) Create(t testing.TB, o RunOptions) *Container {
	t.Helper()
	c, err := e.CreateContainer(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if e.daemon != nil && e.daemon.proc.ended() {
			return // its data goes with it
		}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := e.remove(ctx, c.ID); err != nil {
			t.Error(err)
		}
	})
	return c
}

// RunContainer is Run for callers without a test or off its goroutine. The
// container is removed by Remove or the engine's Close.
func (e *DockerEngine) RunContainer(ctx context.Context, o RunOptions) (*Container, error) {
	c, err := e.CreateContainer(ctx, o)
	if err != nil {
		return nil, err
	}
	return c, c.start(ctx)
}

// CreateContainer is Create for callers without a test or off its goroutine.
func (e *DockerEngine) CreateContainer(ctx context.Context, o RunOptions) (*Container, error) {
	ref, err := e.EnsureImage(ctx)
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = "lc-" + strings.ToLower(rand.Text()[:10])
	}
	args := o.Args
	if len(o.Entrypoint) == 0 && !hasFlag(args, "id") {
		args = append([]string{"-id", o.Name}, args...)
	}
	labels := map[string]string{LabelKey: e.run}
	maps.Copy(labels, o.Labels)
	driver := o.Driver
	if driver == "" {
		driver = "json-file"
	}
	res, err := e.cli.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:   o.Name,
		Config: &container.Config{Image: ref, Entrypoint: o.Entrypoint, Cmd: args, Labels: labels, Tty: o.TTY},
		HostConfig: &container.HostConfig{
			NetworkMode:   "none",
			Binds:         o.Binds,
			AutoRemove:    o.AutoRemove,
			LogConfig:     container.LogConfig{Type: driver, Config: o.LogOpts},
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(o.Restart), MaximumRetryCount: o.Retries},
			Resources:     container.Resources{Ulimits: e.limits, Memory: o.Memory},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("create container %s: %w", o.Name, err)
	}
	return &Container{ID: res.ID, Name: o.Name, engine: e}, nil
}

func hasFlag(args []string, name string) bool {
	for _, a := range args {
		a = strings.TrimLeft(a, "-")
		if a == name || strings.HasPrefix(a, name+"=") {
			return true
		}
	}
	return false
}

func (c *Container) start(ctx context.Context) error {
	if _, err := c.engine.cli.ContainerStart(ctx, c.ID, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", c.Name, err)
	}
	return nil
}

// RemoveContainer removes one with its log, also while it runs.
func (e *DockerEngine) RemoveContainer(ctx context.Context, id string) error {
	return e.remove(ctx, id)
}

// remove removes a container by force; one that is gone, or on its way, is fine.
func (e *DockerEngine) remove(ctx context.Context, id string) error {
	_, err := e.cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || cerrdefs.IsNotFound(err) || strings.Contains(err.Error(), "already in progress") {
		return nil
	}
	return fmt.Errorf("remove container %.12s: %w", id, err)
}

// do runs one call of the engine's API and fails the test by its error.
func (c *Container) do(t testing.TB, what string, call func(context.Context) error) {
	t.Helper()
	// Not the test's context: clean-ups call this too, and that one has ended by then.
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := call(ctx); err != nil {
		t.Fatalf("%s container %s: %v", what, c.Name, err)
	}
}

// Start starts a created or stopped container.
func (c *Container) Start(t testing.TB) {
	t.Helper()
	c.do(t, "start", c.start)
}

// Stop sends SIGTERM, which loggen obeys at once, and waits for the end.
func (c *Container) Stop(t testing.TB) {
	t.Helper()
	c.do(t, "stop", func(ctx context.Context) error {
		_, err := c.engine.cli.ContainerStop(ctx, c.ID, client.ContainerStopOptions{})
		return err
	})
}

// StopContext is Stop for callers without a test.
func (c *Container) StopContext(ctx context.Context) error {
	_, err := c.engine.cli.ContainerStop(ctx, c.ID, client.ContainerStopOptions{})
	return err
}

// Kill sends SIGKILL.
func (c *Container) Kill(t testing.TB) {
	t.Helper()
	c.do(t, "kill", func(ctx context.Context) error {
		_, err := c.engine.cli.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"})
		return err
	})
}

// Open opens loggen's -gate.
func (c *Container) Open(t testing.TB) {
	t.Helper()
	c.do(t, "open the gate of", func(ctx context.Context) error {
		_, err := c.engine.cli.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "USR1"})
		return err
	})
}

// Restart stops and starts it; the id stays.
func (c *Container) Restart(t testing.TB) {
	t.Helper()
	c.do(t, "restart", func(ctx context.Context) error {
		_, err := c.engine.cli.ContainerRestart(ctx, c.ID, client.ContainerRestartOptions{})
		return err
	})
}

// Rename gives it another name.
func (c *Container) Rename(t testing.TB, name string) {
	t.Helper()
	c.do(t, "rename", func(ctx context.Context) error {
		_, err := c.engine.cli.ContainerRename(ctx, c.ID, client.ContainerRenameOptions{NewName: name})
		return err
	})
	c.Name = name
}

// Remove removes it by force.
func (c *Container) Remove(t testing.TB) {
	t.Helper()
	c.do(t, "remove", func(ctx context.Context) error { return c.engine.remove(ctx, c.ID) })
}

// Wait waits until it is not running and returns its exit code.
func (c *Container) Wait(t testing.TB) int {
	t.Helper()
	code := 0
	c.do(t, "wait for", func(ctx context.Context) (err error) {
		code, err = c.WaitContext(ctx)
		return err
	})
	return code
}

// WaitContext is Wait for callers without a test.
func (c *Container) WaitContext(ctx context.Context) (code int, err error) {
	w := c.engine.cli.ContainerWait(ctx, c.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case res := <-w.Result:
		if res.Error != nil {
			return 0, errors.New(res.Error.Message)
		}
		return int(res.StatusCode), nil
	case err := <-w.Error:
		return 0, err // ctx's, too: a select on it would strand the client's goroutine
	}
}

// Inspect returns what the engine knows of it.
func (c *Container) Inspect(t testing.TB) container.InspectResponse {
	t.Helper()
	var res client.ContainerInspectResult
	c.do(t, "inspect", func(ctx context.Context) (err error) {
		res, err = c.engine.cli.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		return err
	})
	return res.Container
}

// LogPath returns the path of its json-file.
func (c *Container) LogPath(t testing.TB) string {
	t.Helper()
	return c.Inspect(t).LogPath
}

// LogFile is LogPath for callers without a test.
func (c *Container) LogFile(ctx context.Context) (string, error) {
	res, err := c.engine.cli.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
	if err != nil {
		return "", fmt.Errorf("inspect container %s: %w", c.Name, err)
	}
	return res.Container.LogPath, nil
}

// Running tells whether it runs.
func (c *Container) Running(t testing.TB) bool {
	t.Helper()
	return c.Inspect(t).State.Running
}
