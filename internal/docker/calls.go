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
	Created         time.Time
}

// Details is what is kept of an inspected container. Its environment is not.
type Details struct {
	ID, Name, Image string
	Labels          map[string]string
	TTY, Running    bool
	Started         time.Time // zero if it never was
	Driver          string    // of the log, for example json-file
	LogPath         string    // of the json-file; empty until the first start
	LogOpts         map[string]string
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
		s := Summary{ID: item.ID, Image: item.Image, Labels: item.Labels, Running: running(string(item.State)), Created: time.Unix(item.Created, 0)}
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

func running(state string) bool {
	return state == "running" || state == "paused" || state == "restarting"
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
		d.Running = running(string(got.State.Status))
		// The engine writes year 1 for "never", which is Go's zero time.
		d.Started, _ = time.Parse(time.RFC3339Nano, got.State.StartedAt)
	}
	return d, nil
}

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
