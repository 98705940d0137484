package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
)

// engineResult is what was found of the engine and its containers.
type engineResult struct {
	checks     []Check
	containers []Container
	need       need
}

func (r *engineResult) add(name string, f Finding) {
	r.checks = append(r.checks, Check{sectionEngine, name, f})
}

// engine looks at the engine and its containers, and samples their rates.
func (h Host) engine(ctx context.Context) (r engineResult) {
	if !h.Containers.Enabled {
		r.add("containers", ok("not captured, container_monitor.enabled is false"))
		return r
	}
	client, err := docker.New(h.Containers.DockerHost)
	if err != nil {
		r.add("address", fail(err.Error(), "set container_monitor.docker_host"))
		return r
	}
	defer client.Close()
	reach, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	version, err := client.Ping(reach)
	if err != nil {
		r.add("reachable", unreachable(ctx, client.Host(), err))
		return r
	}
	list, err := client.List(reach)
	if err != nil {
		r.add("containers", fail(plain(reach, err), "restart the engine: it answers a ping, but not the list of containers"))
		return r
	}
	found := fmt.Sprintf("%s, API %s", client.Host(), version)
	if info, err := client.Info(reach); err == nil { // a proxy in front of the engine may refuse it
		found += ", log driver of new containers: " + info.LogDriver
	}
	r.add("reachable", ok(found))

	bounded, cancel := context.WithTimeout(ctx, reachTime+time.Duration(len(list))*perContainer)
	defer cancel()
	if r.containers, err = h.inspect(bounded, client, list); err != nil {
		r.add("containers", fail(plain(bounded, err), "see which container 'docker inspect' hangs for, and the engine's own log"))
		return r
	}
	sampleRates(ctx, h.Sample, r.containers)
	streams := 0
	for i := range r.containers {
		c := &r.containers[i]
		c.judge()
		r.need.add(c.need())
		if c.Captured && c.Mode == source.Stream {
			streams++
		}
	}
	if most := h.Containers.Streams.Max; streams > 0 {
		r.need.add(need{descriptors: 2 * min(streams, most)}) // two while one is replaced
		found := fmt.Sprintf("%d of at most %d (container_monitor.streams.max)", streams, most)
		if streams > most {
			found += fmt.Sprintf("; the busiest containers hold them, the others are polled every %s", h.Containers.PollInterval)
		}
		r.add("streams", ok(found))
	}
	if len(r.containers) == 0 && h.Glob != "" {
		r.add("containers", warn(fmt.Sprintf("no container's name matches %q", h.Glob), "see 'docker ps -a' for the names"))
	}
	return r
}

// inspect returns the containers, sorted by name, that the glob leaves.
func (h Host) inspect(ctx context.Context, client *docker.Client, list []docker.Summary) ([]Container, error) {
	targets, skipped, err := h.discover(ctx, client)
	if err != nil {
		return nil, err
	}
	byID := map[string]source.Target{}
	for _, t := range targets {
		byID[t.Container.ID] = t
	}
	var out []Container
	for _, s := range list {
		if h.Glob != "" && !doublestar.MatchUnvalidated(h.Glob, s.Name) {
			continue
		}
		d, err := client.Inspect(ctx, s.ID)
		if errors.Is(err, docker.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		t, captured := byID[s.ID]
		c := Container{
			Name: d.Name, ID: d.ID, Driver: d.Driver, Running: d.Running, Captured: captured,
			Mode: t.Mode, Reason: t.Reason, Rotation: rotationOf(d), Level: OK, Findings: []Finding{}, path: t.Path,
			blocked: captured && t.Mode != source.File && t.Path != "", empty: d.LogOpts["cache-disabled"] == "true",
		}
		if c.path == "" && strings.HasPrefix(client.Host(), "unix://") {
			c.path = d.LogPath // for the sample
		}
		if !captured {
			c.Reason = skipReason(d, skipped)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// discover asks the agent's own code for its first set of targets.
func (h Host) discover(ctx context.Context, client *docker.Client) (set []source.Target, skipped map[string]int, err error) {
	found := discover.NewContainers(h.Containers, client, h.Hostname, slog.New(slog.DiscardHandler))
	once, cancel := context.WithCancel(ctx)
	defer cancel()
	done := false
	_ = found.Run(once, func(targets []source.Target) { // ends with its context only
		if !done {
			set, done = targets, true
		}
		cancel()
	})
	if !done {
		return nil, nil, errors.New(found.Health().Reason)
	}
	return set, found.Skipped(), nil
}

// skipReason says why a container is not captured. reasons are those of all that are not.
func skipReason(d docker.Details, reasons map[string]int) string {
	words := map[string]string{
		"excluded":        "left out by container_monitor.include or exclude",
		"self":            "it is the agent's own (container_monitor.self)",
		"disabled":        "its label log_capturer.enable is false",
		"log_driver_none": "its log driver is none: the engine keeps nothing",
	}
	switch {
	case reasons["log_driver_none"] > 0 && d.Driver == "none":
		return words["log_driver_none"]
	case reasons["disabled"] > 0 && d.Labels["log_capturer.enable"] == "false":
		return words["disabled"]
	case reasons["self"] > 0 && d.Labels[discover.SelfLabel] == "true":
		return words["self"]
	}
	var possible []string
	for reason := range reasons {
		if reason == "log_driver_none" || reason == "disabled" {
			continue
		}
		text, known := words[reason]
		if !known {
			text = strings.ReplaceAll(reason, "_", " ")
		}
		possible = append(possible, text)
	}
	if len(possible) == 0 {
		return "it was created just now"
	}
	slices.Sort(possible)
	return strings.Join(possible, ", or ")
}

// unreachable says why an engine does not answer a ping.
func unreachable(ctx context.Context, host string, err error) Finding {
	const off = ", or set container_monitor.enabled: false"
	path, local := strings.CutPrefix(host, "unix://")
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if !local {
		if u, urlErr := url.Parse(host); urlErr == nil {
			if dialErr := dial(ctx, "tcp", u.Host); dialErr != nil {
				err = dialErr // says more
			}
		}
		return fail(host+": "+plain(ctx, err), "check container_monitor.docker_host and, for TLS, DOCKER_CERT_PATH and DOCKER_TLS_VERIFY"+off)
	}
	dialErr := dial(ctx, "unix", path)
	switch {
	case dialErr == nil:
		return fail(host+": "+plain(ctx, err), "the engine accepts connections but does not answer; see 'journalctl -u docker', or restart it"+off)
	case errors.Is(dialErr, fs.ErrNotExist):
		return fail(path+": there is no such socket", "install and start Docker (systemctl start docker); in a container mount the socket at the same path; for another engine set container_monitor.docker_host"+off)
	case errors.Is(dialErr, fs.ErrPermission):
		return fail(fmt.Sprintf("%s: permission denied for uid %d", path, os.Geteuid()), "run as root, or put the user into the group docker (usermod -aG docker USER)"+off)
	case errors.Is(dialErr, syscall.ECONNREFUSED):
		return fail(path+": the socket is there, but nobody listens", "start Docker (systemctl start docker)"+off)
	}
	return fail(host+": "+plain(ctx, dialErr), "check that Docker runs (systemctl status docker)"+off)
}

// dial tries to connect.
func dial(ctx context.Context, network, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// plain words an error that may be the end of the time allowed.
func plain(ctx context.Context, err error) string {
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return fmt.Sprintf("no answer within %s", reachTime)
	}
	return err.Error()
}
