package discover

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Why a present container is not captured.
const (
	skipExcluded = "excluded"
	skipSelf     = "self"
	skipNone     = "log_driver_none"
)

// SelfLabel marks a container as the agent's own when its value is "true".
const SelfLabel = "log_capturer.self"

const jsonFile = "json-file"

// container is one that is known. It is changed under Containers.mu.
type container struct {
	details docker.Details
	skip    string
	target  source.Target
	gone    bool
	stale   bool // details are to be asked for again
	// presumed: the details are those of its create event, and the engine's default log
	// driver. It is inspected with the next reconcile.
	presumed bool
}

// presume takes in a container that is being created as one with a json-file, without
// asking: the engine answers an inspect only when the container has started, and one
// that lives for milliseconds would be gone by then. ok is false when it must be asked.
func (c *Containers) presume(d docker.Details) (k *container, ok bool) {
	if c.driver != jsonFile || c.root == "" || c.config.Read == source.Stream {
		return nil, false
	}
	d.Driver = jsonFile
	k = &container{details: d, skip: c.skip(d), stale: true, presumed: true}
	if k.skip == "" {
		k.target.Mode, k.target.Reason, k.target.Path = c.mode(d, false)
		if k.target.Mode != source.File {
			return nil, false
		}
		c.describe(k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[d.ID] = k
	return k, true
}

// confirm replaces what was presumed of a container by its details.
func (c *Containers) confirm(k *container, d docker.Details) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, was := k.target, k.skip
	k.details, k.presumed, k.stale = d, false, false
	if k.skip = c.skip(d); k.skip != "" {
		return was == "" // by what only the details tell
	}
	mode, reason, path := c.mode(d, false)
	if was == "" && mode == old.Mode && d.Name == old.Container.Name && maps.Equal(d.Labels, old.Container.Labels) {
		k.target.Container = containerOf(d)
		return true
	}
	k.target.Mode, k.target.Reason, k.target.Path = mode, reason, path
	c.describe(k)
	return true
}

// add takes in a new container, or new details of a known one.
func (c *Containers) add(d docker.Details, since time.Time, gone bool) bool {
	if d.LogPath != "" && d.Driver == jsonFile && c.root == "" {
		c.root = filepath.Dir(filepath.Dir(filepath.Dir(d.LogPath)))
	}
	if k := c.get(d.ID); k != nil {
		if gone {
			return c.vanish(d.ID, k)
		}
		if k.presumed {
			return c.confirm(k, d)
		}
		return c.update(k, func(old *docker.Details) { *old = d })
	}
	k := &container{details: d, gone: gone, skip: c.skip(d)}
	if k.skip == "" {
		k.target = source.Target{Since: since, Gone: gone}
		k.target.Mode, k.target.Reason, k.target.Path = c.mode(d, gone)
		if gone && k.target.Mode != source.File {
			return false // the engine has nothing of it any more
		}
		c.describe(k)
	} else if gone {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[d.ID] = k
	return k.skip == ""
}

// update changes details and tells whether the target changed by it.
func (c *Containers) update(k *container, change func(*docker.Details)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := k.details
	change(&k.details)
	k.stale = k.presumed
	d := &k.details
	if d.Name == old.Name && d.Running == old.Running && d.Started.Equal(old.Started) {
		return false
	}
	if k.skip == skipExcluded && c.skip(*d) == "" {
		// Compose makes a container under another name and renames it then. (The other way
		// round nothing changes: one that is read does not end in the middle.)
		k.skip = ""
		k.target.Mode, k.target.Reason, k.target.Path = c.mode(*d, false)
		c.describe(k)
	} else if k.skip == "" && d.Name != old.Name {
		c.describe(k)
	} else if k.skip == "" {
		k.target.Container = containerOf(*d)
	}
	return k.skip == ""
}

// vanish notes that a container was removed.
func (c *Containers) vanish(id string, k *container) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.skip != "" {
		delete(c.known, id)
		return false
	}
	if k.gone {
		return false
	}
	k.gone, k.details.Running = true, false
	k.target.Gone, k.target.Container = true, containerOf(k.details)
	return true
}

// describe makes the target's source and container anew.
func (c *Containers) describe(k *container) {
	k.target.Container = containerOf(k.details)
	k.target.Source = c.labels.source(k.details, k.target.Mode == source.File)
}

// containerOf never changes afterwards: readers keep it.
func containerOf(d docker.Details) *source.Container {
	return &source.Container{
		ID: d.ID, Name: d.Name, Image: d.Image, Driver: d.Driver, Labels: d.Labels,
		TTY: d.TTY, Running: d.Running, Started: d.Started,
	}
}

// skip returns why a container is not captured, or "".
func (c *Containers) skip(d docker.Details) string {
	switch {
	case c.config.Self != SelfInclude && (c.self != "" && strings.HasPrefix(d.ID, c.self) || d.Labels[SelfLabel] == "true"):
		return skipSelf
	case !c.config.Include.IsZero() && !c.config.Include.all(d) || c.config.Exclude.any(d):
		return skipExcluded
	case d.Driver == "none":
		return skipNone
	}
	return ""
}

// mode decides how a container is read. The path is that of its json-file, predicted
// while the engine does not tell it, which it does at the first start.
func (c *Containers) mode(d docker.Details, gone bool) (m source.Mode, reason, path string) {
	want := c.config.Read
	if want == source.Stream || want == source.Poll {
		return want, "container_monitor.read is " + string(want), ""
	}
	if d.Driver != jsonFile && !(gone && d.Driver == "") {
		return source.Stream, fmt.Sprintf("the log driver is %s, which is read through the Engine API", d.Driver), ""
	}
	if !strings.HasPrefix(c.engine.Host(), "unix://") {
		return source.Stream, "the Docker Engine is not on this host", ""
	}
	path = d.LogPath
	if path == "" && c.root != "" {
		path = filepath.Join(c.root, "containers", d.ID, d.ID+"-json.log")
	}
	if path == "" {
		return source.Stream, "the place of its json-file is not known", ""
	}
	if gone {
		return source.File, "it was removed already; its json-file may be readable for a moment", path
	}
	if err := readable(path); err != nil && want == source.Auto {
		return source.Stream, fmt.Sprintf("its json-file cannot be read: %v; run as root or with CAP_DAC_READ_SEARCH", err), ""
	}
	return source.File, "its json-file is readable", path
}

// readable tries to open a log file, or its directory when it is not there yet, or the
// one above when it is there no more.
func readable(path string) error {
	f, err := os.Open(path)
	for range 2 {
		if os.IsNotExist(err) {
			path = filepath.Dir(path)
			f, err = os.Open(path)
		}
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// labeller makes sources of containers.
type labeller struct {
	host  string
	names []string // container_monitor.labels
}

// aliases are short names for well-known labels of containers.
func aliases() []struct{ name, label string } {
	return []struct{ name, label string }{
		{"compose_project", "com.docker.compose.project"},
		{"compose_service", "com.docker.compose.service"},
		{"swarm_service", "com.docker.swarm.service.name"},
	}
}

func (l labeller) source(d docker.Details, canWait bool) *record.Source {
	values := map[string]string{"image": d.Image}
	for _, a := range aliases() {
		values[a.name] = d.Labels[a.label]
	}
	labels := record.Labels{{Name: "job", Value: "containers"}, {Name: "host", Value: l.host}, {Name: "container", Value: d.Name}}
	for _, name := range l.names {
		value, known := values[name]
		if !known {
			value = d.Labels[name]
		}
		delete(values, name)
		labels = append(record.Labels{{Name: name, Value: value}}, labels...) // ours win over a user's of the same name
	}
	metadata := record.Labels{{Name: "container_id", Value: docker.ShortID(d.ID)}}
	for name, value := range values {
		metadata = append(metadata, record.Label{Name: name, Value: value})
	}
	s := &record.Source{ID: "container:" + d.ID, Kind: "container", Name: d.Name, CanWait: canWait}
	for _, o := range []record.Output{record.Stdout, record.Stderr} {
		own := record.Label{Name: "stream", Value: o.String()}
		s.Streams[o] = record.NewStream(append(labels[:len(labels):len(labels)], own), metadata)
	}
	return s
}
