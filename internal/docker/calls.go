package docker

import (
	"context"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// Summary is one container of a list.
type Summary struct {
	ID, Name, Image string // Name without its leading slash
	Labels          map[string]string
	Running         bool // paused and restarting included: its stream may be followed
	Restarting      bool // it ended, and the engine is about to start it again
	Created         time.Time
}

// Details is what is kept of an inspected container. Its environment is not.
type Details struct {
	ID, Name, Image string
	Labels          map[string]string
	TTY, Running    bool
	Restarting      bool      // it ended, and the engine is about to start it again
	Started         time.Time // zero if it never was
	// Finished is when its last run ended, zero if none did; ExitCode and OOMKilled tell
	// how. A container that runs again keeps the first two. Of a run of milliseconds the
	// engine may note the end before the start.
	Finished  time.Time
	ExitCode  int
	OOMKilled bool
	Driver    string // of the log, for example json-file
	LogPath   string // of the json-file; empty until the first start
	LogOpts   map[string]string
}

// List returns all containers, stopped ones included.
func (c *Client) List(ctx context.Context) ([]Summary, error) {
	engine, err := c.negotiated(ctx)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := engine.ContainerList(bounded, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, c.failed(ctx, "list containers", "", err)
	}
	out := make([]Summary, 0, len(answer.Items))
	for _, item := range answer.Items {
		s := Summary{ID: item.ID, Image: item.Image, Labels: item.Labels, Created: time.Unix(item.Created, 0)}
		s.Running, s.Restarting = running(string(item.State)), item.State == restarting
		// Names also lists legacy links as /other/alias; a container's own has one slash.
		for _, name := range item.Names {
			if own := strings.TrimPrefix(name, "/"); s.Name == "" || !strings.Contains(own, "/") {
				s.Name = own
			}
		}
		out = append(out, s)
	}
	return out, nil
}

const restarting = "restarting"

func running(state string) bool {
	return state == "running" || state == "paused" || state == restarting
}

// Inspect returns the details of one container. Errors: ErrNotFound.
func (c *Client) Inspect(ctx context.Context, id string) (Details, error) {
	engine, err := c.negotiated(ctx)
	if err != nil {
		return Details{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := engine.ContainerInspect(bounded, id, client.ContainerInspectOptions{})
	if err != nil {
		return Details{}, c.failed(ctx, "inspect", id, err)
	}
	got := answer.Container
	d := Details{ID: got.ID, Name: strings.TrimPrefix(got.Name, "/"), LogPath: got.LogPath}
	if got.Config != nil {
		d.Image, d.Labels, d.TTY = got.Config.Image, got.Config.Labels, got.Config.Tty
	}
	if got.HostConfig != nil {
		d.Driver, d.LogOpts = got.HostConfig.LogConfig.Type, got.HostConfig.LogConfig.Config
	}
	if got.State != nil {
		d.Running, d.Restarting = running(string(got.State.Status)), got.State.Status == restarting
		// The engine writes year 1 for "never", which is Go's zero time.
		d.Started, _ = time.Parse(time.RFC3339Nano, got.State.StartedAt)
		d.Finished, _ = time.Parse(time.RFC3339Nano, got.State.FinishedAt)
		d.ExitCode, d.OOMKilled = got.State.ExitCode, got.State.OOMKilled
	}
	if c.Podman() && d.Driver == jsonFile { // a name for Docker's sake: the file is none
		d.Driver, d.LogPath = K8sFile, ""
	}
	return d, nil
}

const jsonFile = "json-file"

// Info is what is needed of the engine's own settings.
type Info struct {
	// RootDir is its data directory, under which the json-files lie.
	RootDir string
	// LogDriver is the one of containers that name none.
	LogDriver string
}

// Info returns the engine's settings.
func (c *Client) Info(ctx context.Context) (Info, error) {
	engine, err := c.negotiated(ctx)
	if err != nil {
		return Info{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := engine.Info(bounded, client.InfoOptions{})
	if err != nil {
		return Info{}, c.failed(ctx, "info", "", err)
	}
	return Info{RootDir: answer.Info.DockerRootDir, LogDriver: answer.Info.LoggingDriver}, nil
}
