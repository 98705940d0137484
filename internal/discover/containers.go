package discover

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/task"
)

// The backoff between attempts to reach the engine.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
)

const (
	// lookTimeout bounds the inspection of a container that is not urgent.
	lookTimeout = 250 * time.Millisecond
	// createTimeout bounds that of one that is created: the engine answers at once, or not
	// before it has been started, and other events wait meanwhile.
	createTimeout = 50 * time.Millisecond
	// relookAfter is the time between two looks at a json-file that could not be read.
	relookAfter = 30 * time.Second
	// slow is how long an answer may take before health tells of it: less than what a call
	// is given up after, since a reconcile comes only every few seconds.
	slow = 8 * time.Second
)

// Containers discovers the containers of one engine: by events, with a reconcile by
// list every so often, because the engine drops events of a slow subscriber and
// forgets them when it restarts.
//
// A container that was removed stays in the set with Gone set until Forget tells that
// its reader is done. While the engine cannot be reached, nothing is Gone.
type Containers struct {
	config ContainerConfig
	engine *docker.Client
	labels labeller
	self   string // the agent's own container, if it is in one
	born   time.Time
	log    *slog.Logger
	status status
	// OnRoot, if set, is told where a local engine keeps its containers' directories,
	// before each list.
	OnRoot func(dir string)
	// OnListed, if set, is told once in a Run, after its first complete list, the ids of
	// the containers that are present or not yet Forgotten. The map is the receiver's.
	OnListed func(present map[string]bool)

	mu    sync.Mutex
	known map[string]*container // by container id
	next  *ContainerConfig      // to be adopted
	// matchers are those that were made last.
	matchers []joined
	hurry    func() // ends the wait for events; nil while there is none

	// Used by Run alone.
	root    string // the engine's data directory, as soon as it is known
	driver  string // the log driver of containers that name none
	last    int64  // time of the newest event
	events  recent
	applied bool
	listed  bool // OnListed was told
	// relookAfter is the constant; tests shorten it.
	relookAfter time.Duration
}

// NewContainers returns a Discoverer that has not begun. hostname becomes the label host.
// The client stays the caller's.
func NewContainers(config ContainerConfig, engine *docker.Client, hostname string, log *slog.Logger) *Containers {
	c := &Containers{
		config: config, engine: engine, labels: labeller{host: hostname, names: config.Labels},
		born: time.Now(), log: log, known: map[string]*container{},
		status:      newStatus("container_monitor", "not connected to the Docker Engine yet"),
		relookAfter: relookAfter,
	}
	c.self = selfOf(config, hostname)
	return c
}

// selfOf returns the id of the container that the agent is in and leaves out, or "".
func selfOf(config ContainerConfig, hostname string) string {
	if config.Self == SelfInclude {
		return ""
	}
	return ownContainer(hostname)
}

// Health tells whether the engine can be reached. It is degraded until the first list.
func (c *Containers) Health() Health { return c.status.get() }

// Reconfigure has the containers chosen and labelled as config says, from the next
// reconcile on, which it brings about. Those that are captured go on where they are, and
// those that are left out now keep their positions. DockerHost is not looked at.
func (c *Containers) Reconfigure(config ContainerConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil && reflect.DeepEqual(config, c.config) {
		return
	}
	c.next = &config
	if c.hurry != nil {
		c.hurry()
	}
}

// Forget takes a container that is Gone out of the set: its reader is done. id is its
// source's. One that is not Gone stays.
func (c *Containers) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, k := range c.known {
		if k.gone && k.target.Source != nil && k.target.Source.ID == id {
			delete(c.known, key)
			return
		}
	}
}

// Skipped returns how many of the present containers are not captured, by reason.
func (c *Containers) Skipped() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for _, k := range c.known {
		if k.skip != "" && !k.gone {
			out[k.skip]++
		}
	}
	return out
}

// Run discovers until ctx ends, whose error it returns. It may be called again then, and
// goes on as after an engine that was away. It calls apply with the full set
// after the first list and after every change. apply must be quick: events wait for it.
func (c *Containers) Run(ctx context.Context, apply func([]source.Target)) error {
	pause := firstPause
	c.listed = false
	for ctx.Err() == nil {
		err := c.session(ctx, apply, func() { pause = firstPause })
		if ctx.Err() != nil {
			break
		}
		if c.status.set(false, err.Error()) {
			c.log.Warn("lost the Docker Engine; containers go on being captured when it is back", "host", c.engine.Host(), "error", err)
		}
		task.Sleep(ctx, pause)
		pause = min(2*pause, maxPause)
	}
	return ctx.Err()
}

// session runs for as long as one subscription lasts; it returns why that ended.
func (c *Containers) session(ctx context.Context, apply func([]source.Target), connected func()) error {
	if _, err := c.engine.Ping(ctx); err != nil {
		return err
	}
	var since int64
	if c.last != 0 {
		since = c.last - int64(time.Second) // events are not strictly in order
	}
	// Subscribed before the list, so that nothing happens unseen between the two.
	events, err := c.engine.Events(ctx, since)
	if err != nil {
		return err
	}
	defer events.Close()
	if info, err := c.engine.Info(ctx); err == nil { // not necessary, and a proxy in front of the engine may refuse it
		c.root, c.driver = info.RootDir, info.LogDriver
	}
	c.mistrust()
	if err := c.reconcile(ctx, apply); err != nil {
		return err
	}
	connected()
	if c.status.set(true, "") {
		c.log.Info("connected to the Docker Engine", "host", c.engine.Host(), "containers", len(c.targets()))
	}
	next := time.Now().Add(c.config.ReconcileInterval.Std())
	for {
		until, cancel := context.WithDeadline(ctx, next)
		c.hurriedBy(cancel)
		event, err := events.Next(until)
		c.hurriedBy(nil)
		hurried := until.Err() != nil
		cancel()
		switch {
		case err == nil:
			err = c.happened(ctx, event, apply)
		case ctx.Err() == nil && hurried && errors.Is(err, until.Err()):
			err = c.reconcile(ctx, apply)
			next = time.Now().Add(c.config.ReconcileInterval.Std())
		}
		if err != nil {
			return err
		}
	}
}

// hurriedBy has Reconfigure call end, at once if there is something to adopt.
func (c *Containers) hurriedBy(end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hurry = end; end != nil && c.next != nil {
		end()
	}
}

// heard notes that the engine answered: it does so with every reconcile.
func (c *Containers) heard() { c.status.answered(c.config.ReconcileInterval.Std() + slow) }

// mistrust has the details of running containers asked for again: they may have been
// restarted while no events came.
func (c *Containers) mistrust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.known {
		k.stale = k.details.Running
	}
}

// reconcile compares what is known with the engine's list.
func (c *Containers) reconcile(ctx context.Context, apply func([]source.Target)) error {
	if c.OnRoot != nil && c.root != "" && c.local() {
		c.OnRoot(filepath.Join(c.root, "containers"))
	}
	list, err := c.engine.List(ctx)
	if err != nil {
		return err
	}
	c.heard()
	c.adopt()
	changed := !c.applied
	present := make(map[string]bool, len(list))
	for _, s := range list {
		present[s.ID] = true
		did, err := c.present(ctx, s)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	for id, k := range c.snapshot() {
		if !present[id] && !k.gone {
			changed = c.vanish(id, k) || changed
		}
		changed = c.relook(k) || changed
	}
	if changed {
		c.applied = true
		apply(c.targets())
	}
	if !c.listed && c.OnListed != nil {
		for id := range c.snapshot() {
			present[id] = true
		}
		c.OnListed(present)
	}
	c.listed = true
	return nil
}

// present takes in one container of a list and tells whether the set changed.
func (c *Containers) present(ctx context.Context, s docker.Summary) (bool, error) {
	k := c.get(s.ID)
	switch {
	case k == nil || k.stale && !k.presumed:
		hint := docker.Details{ID: s.ID, Name: s.Name, Image: s.Image, Labels: s.Labels}
		return c.inspect(ctx, hint, s.Created.Before(c.born))
	case k.skip == "" && (k.unsure || k.presumed && s.Running):
		return c.look(ctx, s)
	}
	return c.update(k, func(d *docker.Details) {
		// If no event tells when it started or how it ended, the next reconcile asks.
		was, is := d.Running && !d.Restarting, s.Running && !s.Restarting
		k.unsure = was != is || k.presumed
		d.Name, d.Running, d.Restarting = s.Name, s.Running, s.Restarting
	}), nil
}

// look inspects a container that is known, and not for long: the engine answers late
// for one that is just being started or removed, and others are created meanwhile.
func (c *Containers) look(ctx context.Context, s docker.Summary) (bool, error) {
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	d, err := c.engine.Inspect(bounded, s.ID)
	if err != nil {
		return false, ctx.Err() // the next reconcile tries again
	}
	return c.add(d, false, false), nil
}

// happened takes in an event.
func (c *Containers) happened(ctx context.Context, e docker.Event, apply func([]source.Target)) error {
	c.last = max(c.last, e.Time)
	if c.events.repeated(e) {
		return nil
	}
	changed, err := c.event(ctx, e)
	if changed {
		apply(c.targets())
	}
	return err
}

func (c *Containers) event(ctx context.Context, e docker.Event) (bool, error) {
	k := c.get(e.ID)
	switch {
	case k != nil && k.gone:
		return e.Action == "die" && c.ran(k, e), nil
	case k == nil && e.Action == "destroy":
		return false, nil
	case k == nil:
		return c.appeared(ctx, e)
	case e.Action == "start" && k.presumed && k.skip == "":
		_, err := os.Stat(k.target.Path)
		_, dirErr := os.Stat(filepath.Dir(k.target.Path))
		if err != nil && dirErr == nil { // it has another log driver
			return c.inspect(ctx, k.details, false)
		}
	}
	switch e.Action {
	case "start", "oom", "die":
		return c.ran(k, e), nil
	case "rename":
		return c.update(k, func(d *docker.Details) { d.Name = e.Name }), nil
	case "destroy":
		return c.vanish(e.ID, k), nil
	}
	return false, nil
}

// appeared takes in the first event of a container.
func (c *Containers) appeared(ctx context.Context, e docker.Event) (bool, error) {
	d := docker.Details{ID: e.ID, Name: e.Name, Image: e.Image, Labels: e.Labels}
	if e.Action == "create" {
		if k, ok := c.presume(d); ok {
			return k.skip == "", nil
		}
		bounded, cancel := context.WithTimeout(ctx, createTimeout)
		defer cancel()
		changed, err := c.inspect(bounded, d, false)
		if err != nil && bounded.Err() != nil && ctx.Err() == nil {
			return false, nil // it is being started, and its start event asks again
		}
		return changed, err
	}
	return c.inspect(ctx, d, false)
}

// inspect asks for a container's details and takes it in. hint is what is known of it
// otherwise: all there is of one that was removed meanwhile. old tells that it was there
// before the agent.
func (c *Containers) inspect(ctx context.Context, hint docker.Details, old bool) (bool, error) {
	d, err := c.engine.Inspect(ctx, hint.ID)
	switch {
	case err == nil:
		c.heard()
		return c.add(d, old, false), nil
	case errors.Is(err, docker.ErrNotFound):
		return c.add(hint, old, true), nil
	case errors.Is(err, docker.ErrUnreachable) || ctx.Err() != nil:
		return false, err
	}
	c.log.Warn("cannot inspect a container; it is tried again with the next reconcile", "container", hint.Name, "error", err)
	return false, nil
}

// targets returns the full set, by container id.
func (c *Containers) targets() []source.Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]source.Target, 0, len(c.known))
	for _, id := range slices.Sorted(maps.Keys(c.known)) {
		if k := c.known[id]; k.skip == "" {
			out = append(out, k.target)
		}
	}
	return out
}

func (c *Containers) get(id string) *container {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[id]
}

func (c *Containers) snapshot() map[string]*container {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.known)
}
