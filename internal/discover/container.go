package discover

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Why a present container is not captured.
const (
	skipExcluded = "excluded"
	skipDisabled = "disabled" // by its own label
	skipSelf     = "self"
	skipNone     = "log_driver_none"
)

// container is one that is known. It is changed under Containers.mu.
type container struct {
	details docker.Details
	options options
	bad     []badOption // labels to complain of
	skip    string
	target  source.Target
	gone    bool
	stale   bool // details are to be asked for again
	// presumed: the details are those of its create event, and the engine's default log
	// driver. It is inspected with the next reconcile.
	presumed bool
	// unsure: something about its run is not known, because an event is late or was lost.
	// If it still is so at the next reconcile it is inspected.
	unsure bool
	// inspected: details come from an inspect that events of the past may follow.
	inspected bool
	// blocked: its json-file cannot be read, and would be; looked is when that was tried.
	blocked bool
	looked  time.Time
	joined  joined
	crowded bool // it was told that its labels have no room
}

// newContainer makes one of what is known. It is not yet kept.
func (c *Containers) newContainer(d docker.Details) *container {
	o, bad := optionsOf(d.Labels, c.config)
	return &container{details: d, options: o, bad: bad, skip: c.skip(d, o)}
}

// keep makes a new container known, and tells of labels that say nothing.
func (c *Containers) keep(k *container) {
	c.complain(k.details.Name, k.bad)
	c.mu.Lock()
	defer c.mu.Unlock()
	k.bad = nil
	c.known[k.details.ID] = k
}

// presume takes in a container that is being created as one with a json-file, without
// asking: the engine answers an inspect only when the container has started, and one
// that lives for milliseconds would be gone by then. ok is false when it must be asked.
func (c *Containers) presume(d docker.Details) (k *container, ok bool) {
	if c.driver != jsonFile || c.root == "" {
		return nil, false
	}
	d.Driver = jsonFile
	k = c.newContainer(d)
	k.stale, k.presumed = true, true
	if k.skip == "" {
		chosen := c.mode(d, k.options, false)
		if chosen.mode != source.File {
			return nil, false
		}
		k.choose(chosen)
		c.describe(k)
	}
	c.keep(k)
	return k, true
}

// confirm replaces what was presumed of a container by its details.
func (c *Containers) confirm(k *container, d docker.Details) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := k.skip
	k.details = merge(k.details, d)
	k.presumed, k.stale, k.unsure, k.inspected = false, false, false, true
	if k.skip = c.skip(d, k.options); k.skip != "" {
		return was == "" // by what only the details tell
	}
	k.choose(c.mode(d, k.options, false))
	c.describe(k)
	return true
}

// add takes in a new container, or new details of a known one. old tells that it was
// there before the agent.
func (c *Containers) add(d docker.Details, old, gone bool) bool {
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
		return c.update(k, func(known *docker.Details) {
			*known = merge(*known, d)
			k.unsure, k.inspected = false, true
		})
	}
	k := c.newContainer(merge(docker.Details{}, d))
	k.gone, k.inspected = gone, !gone
	if k.skip == "" {
		chosen := c.mode(d, k.options, gone)
		if gone && chosen.mode != source.File {
			return false // the engine has nothing of it any more
		}
		if old {
			k.target.Since = k.options.since.Time(c.born)
		}
		k.target.Gone = gone
		c.warnOfPodman(k, chosen)
		k.choose(chosen)
		c.describe(k)
	} else if gone {
		return false
	}
	c.keep(k)
	return k.skip == ""
}

// warnOfPodman tells that what was asked for cannot be had. (A log driver of Docker's that
// keeps no json-file is chosen on purpose; on Podman there is none to choose.)
func (c *Containers) warnOfPodman(k *container, chosen choice) {
	if want, _ := c.want(k.options); want == source.File && c.engine.Podman() {
		c.log.Warn("a container is not read by file: "+chosen.reason+"; set read to auto, stream or poll", "container", k.details.Name)
	}
}

// update changes details and tells whether the target changed by it.
func (c *Containers) update(k *container, change func(*docker.Details)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := k.details
	change(&k.details)
	k.stale = k.presumed
	d := &k.details
	if d.Name == old.Name && d.Running == old.Running && d.Started.Equal(old.Started) &&
		sameExit(exitOf(*d, k.options), exitOf(old, k.options)) {
		return false
	}
	if k.skip == skipExcluded && c.skip(*d, k.options) == "" {
		// Compose makes a container under another name and renames it then. (The other way
		// round nothing changes: one that is read does not end in the middle.)
		k.skip = ""
		k.choose(c.mode(*d, k.options, false))
		c.describe(k)
	} else if k.skip == "" && d.Name != old.Name {
		c.describe(k)
	} else if k.skip == "" {
		k.target.Container = containerOf(*d, k.options)
	}
	return k.skip == ""
}

// adopt takes in a new configuration, if there is one; the set is to be applied then.
func (c *Containers) adopt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		return
	}
	c.config, c.next, c.applied = *c.next, nil, false
	c.labels.names = c.config.Labels
	c.self = selfOf(c.config, c.labels.host)
	for _, k := range c.known {
		if k.gone {
			continue // it is read to its end, as it was begun
		}
		was := k.skip
		k.options, _ = optionsOf(k.details.Labels, c.config)
		if k.skip = c.skip(k.details, k.options); k.skip != "" {
			continue
		}
		if was != "" && k.target.Source == nil {
			k.target.Since = k.options.since.Time(time.Now())
		}
		k.choose(c.mode(k.details, k.options, false))
		c.describe(k)
	}
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
	k.gone, k.details.Running, k.details.Restarting = true, false, false
	k.target.Gone, k.target.Container = true, containerOf(k.details, k.options)
	return true
}

// relook looks whether a json-file that could not be read can be read by now.
func (c *Containers) relook(k *container) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !k.blocked || k.gone || k.skip != "" || time.Since(k.looked) < c.relookAfter {
		return false
	}
	chosen := c.mode(k.details, k.options, false)
	k.looked = time.Now()
	if chosen.mode != source.File {
		return false
	}
	k.choose(chosen)
	c.describe(k)
	return true
}

// choose says how the container is read.
func (k *container) choose(chosen choice) {
	k.target.Mode, k.target.Reason, k.target.Path = chosen.mode, chosen.reason, chosen.path
	k.target.Fallback, k.target.LossMarkers = chosen.fallback, k.options.markers
	k.blocked, k.looked = chosen.blocked, time.Now()
}

// describe makes the target's source and container anew.
func (c *Containers) describe(k *container) {
	k.target.Container = containerOf(k.details, k.options)
	k.target.Multiline = c.matcher(k)
	src, leftOut := c.labels.source(k.details, k.options, k.target.Mode == source.File)
	if leftOut > 0 && !k.crowded {
		k.crowded = true
		c.log.Warn("a container asks for more labels than there is room for; the last ones are left out",
			"container", k.details.Name, "left_out", leftOut)
	}
	if !same(k.target.Source, src) {
		k.target.Source = src
	}
}

// containerOf never changes afterwards: readers keep it.
func containerOf(d docker.Details, o options) *source.Container {
	return &source.Container{
		ID: d.ID, Name: d.Name, Image: d.Image, Driver: d.Driver, Labels: d.Labels,
		TTY: d.TTY, Running: d.Running, Started: d.Started, Exit: exitOf(d, o),
	}
}

// skip returns why a container is not captured, or "".
func (c *Containers) skip(d docker.Details, o options) string {
	switch {
	case c.config.Self != SelfInclude && (c.self != "" && strings.HasPrefix(d.ID, c.self) || d.Labels[SelfLabel] == "true"):
		return skipSelf
	case o.disabled:
		return skipDisabled
	case !o.enabled && (!c.config.Include.IsZero() && !c.config.Include.all(d) || c.config.Exclude.any(d)):
		return skipExcluded
	case d.Driver == "none":
		return skipNone
	}
	return ""
}
