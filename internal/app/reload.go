package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
)

// Reloads is how a running agent comes by a new configuration.
type Reloads struct {
	// Load reads it again. Without it there are no reloads.
	Load func() (Config, error)
	// Asked brings a value when it is to be read again: SIGHUP.
	Asked <-chan os.Signal
	// Path is the file that watch_config watches; "" for none.
	Path string
}

// watchInterval is how often the configuration file is looked at.
const watchInterval = 2 * time.Second

// fixed are the keys that a running agent cannot change, with all beneath them.
func fixed() []string {
	return []string{
		"data_dir", "server", "log.format", "watch_config",
		"container_monitor.enabled", "container_monitor.docker_host", "container_monitor.max_line",
		"container_monitor.poll_interval", "container_monitor.streams.rotation_interval",
		"file_monitor.enabled", "file_monitor.max_line",
		"journal_monitor",
	}
}

// reload reads the configuration again and applies what changed, whose keys it returns.
// After an error nothing has changed.
func (a *agent) reload() ([]string, error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.ready.Load() {
		a.manager.Reloading()
		defer func() { a.manager.Ready(a.statusLine()) }()
	}
	changed, err := a.tryReload()
	a.noteComponents()
	a.reloads.note(err)
	if err != nil {
		a.log.Error("the configuration was not reloaded; the agent goes on with the one it has", "error", err)
		a.board.Set(configuration, health.Degraded, "the last reload failed, and the agent goes on with the configuration of before: see the agent's log, or what log_capturer reload says")
		return nil, err
	}
	a.log.Info("configuration reloaded", "changed", changed)
	a.board.Set(configuration, health.Healthy, "")
	return changed, nil
}

// configuration is a component of the health board.
const configuration = "configuration"

func (a *agent) tryReload() ([]string, error) {
	if !a.ready.Load() {
		return nil, errors.New("reload: the agent is starting or stopping; try again when it runs")
	}
	next, err := a.again.Load()
	if err != nil {
		return nil, err
	}
	next = boundMemory(next, a.memory, a.log)
	changed := config.Diff(a.cfg, next)
	if err := a.changeable(changed, next); err != nil {
		return nil, err
	}
	if len(changed) == 0 {
		return []string{}, nil
	}
	shapes, err := next.FileMonitor.Shapes(a.shapes)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	delivery := func() error {
		c, err := a.plan(changed, next)
		if err != nil {
			return errors.Join(err, undo(c))
		}
		ctx, cancel := context.WithTimeout(a.quit, time.Duration(next.ShutdownTimeout))
		defer cancel()
		a.dispatcher.Change(ctx, c)
		return nil
	}
	a.shield(next)
	if slices.Equal(sinkNames(a.cfg.Sinks), sinkNames(next.Sinks)) {
		err = delivery()
	} else { // dead letters change hands
		err = a.office.Change(delivery, a.letterBoxes)
	}
	if err != nil {
		if a.chooseFiles != nil {
			_ = a.chooseFiles(a.fileConfig(), a.shapes) // as before
		}
		return nil, fmt.Errorf("reload: %w", err)
	}
	a.office.SetCaps(capsOf(next))
	a.cfg, a.shapes = next, shapes
	a.level.Set(levelOf(next.Log))
	a.arena.SetLimit(int64(next.Dispatcher.Memory))
	a.canary.SetSinks(sinkNames(next.Sinks))
	a.canary.Reconfigure(next.Canary)
	a.leaks.Reconfigure(next.LeakWatch)
	for _, m := range a.monitors {
		m.reconfigure()
	}
	return changed, nil
}

// shieldWait bounds the wait for a look at the log files.
const shieldWait = 5 * time.Second

// shield has the files left out that the sinks of before or of next write, before these
// do: they would be captured, and written, and captured.
func (a *agent) shield(next Config) {
	if a.chooseFiles == nil || a.isOff(fileMonitor) || slices.Equal(ownFiles(a.cfg), ownFiles(next)) {
		return
	}
	cfg := a.cfg.FileMonitor
	cfg.Exclude = slices.Concat(cfg.Exclude, ownFiles(a.cfg), ownFiles(next))
	select {
	case <-a.chooseFiles(cfg, a.shapes):
	case <-time.After(shieldWait):
		a.log.Warn("looking for log files takes long; what a new sink writes may be captured for a moment")
	case <-a.quit.Done():
	}
}

// changeable refuses what only another start can change.
func (a *agent) changeable(changed []string, next Config) error {
	var keys []string
	for _, key := range changed {
		if slices.ContainsFunc(fixed(), func(f string) bool { return key == f || strings.HasPrefix(key, f+".") }) {
			keys = append(keys, key)
		}
	}
	for _, name := range sinkNames(a.cfg.Sinks) {
		if s, stays := next.Sinks[name]; stays && s.Delivery() != a.cfg.Sinks[name].Delivery() {
			keys = append(keys, "sinks."+name+".delivery")
		}
	}
	if len(keys) > 0 {
		return fmt.Errorf("reload: %s cannot change while the agent runs; restart it, or put back what was there", strings.Join(slices.Compact(keys), ", "))
	}
	return nil
}

// plan builds what is new about the delivery, all that can fail: nothing of it is in use.
func (a *agent) plan(changed []string, next Config) (c dispatch.Change, err error) {
	c = dispatch.Change{
		Config: next.Dispatcher, Memory: share(next), Sinks: map[string]sink.Sink{},
	}
	for _, name := range sinkNames(next.Sinks) {
		_, stays := a.cfg.Sinks[name]
		switch {
		case !stays:
			var lane *dispatch.Lane
			if lane, err = a.buildLane(name, next, c.Memory); err == nil {
				c.Add = append(c.Add, lane)
			}
		case touches(changed, "sinks."+name):
			var s sink.Sink
			if s, err = newSink(next.Sinks[name], a.sinkDeps(name)); err == nil {
				c.Sinks[name] = s
			}
		}
		if err != nil {
			return c, err
		}
	}
	for _, name := range sinkNames(a.cfg.Sinks) {
		if _, stays := next.Sinks[name]; !stays {
			c.Remove = append(c.Remove, name)
		}
	}
	return c, nil
}

// undo closes what was planned and is not used.
func undo(c dispatch.Change) error {
	var errs []error
	for _, l := range c.Add {
		errs = append(errs, l.Discard())
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		errs = append(errs, c.Sinks[name].Close())
	}
	return errors.Join(errs...)
}

func touches(changed []string, path string) bool {
	return slices.ContainsFunc(changed, func(key string) bool { return key == path || strings.HasPrefix(key, path+".") })
}

// awaitReloads reloads when it is asked to.
func (a *agent) awaitReloads(ctx context.Context) {
	for {
		select {
		case <-a.again.Asked:
			_, _ = a.reload() //nolint:contextcheck // new lanes live as long as the others; errors are told in the log and by health
		case <-ctx.Done():
			return
		}
	}
}

// watchConfig reloads when the file's text is another one. It is read, since a file that
// is put in place by links, as Kubernetes does, gives no other sign that is to be relied on.
func (a *agent) watchConfig(ctx context.Context) {
	was := a.text
	var seen []byte
	for task.Sleep(ctx, watchInterval) {
		is, err := os.ReadFile(a.again.Path)
		switch {
		case err != nil || bytes.Equal(is, was): // or between two files
			seen = nil
		case !bytes.Equal(is, seen):
			seen = is // it may be half of it: looked at once more
		default:
			was, seen = is, nil
			if _, err := a.reload(); errors.Is(err, office.ErrBusy) { //nolint:contextcheck // as above
				was = nil
			}
		}
	}
}

// reloads is what became of them.
type reloads struct {
	failed atomic.Bool  // the last one
	at     atomic.Int64 // when the configuration in use was taken in, in Unix nanoseconds
}

func (r *reloads) note(err error) {
	if r.failed.Store(err != nil); err == nil {
		r.at.Store(time.Now().UnixNano())
	}
}

func (a *agent) reloadMetrics() {
	a.reloads.note(nil)
	a.one(gauge, "config_last_reload_successful", "1 when the configuration in use is what its file said when it was last read, 0 after a reload that failed.", func() float64 {
		if a.reloads.failed.Load() {
			return 0
		}
		return 1
	})
	a.one(gauge, "config_last_reload_success_timestamp_seconds", "When the configuration in use was read.", func() float64 { return float64(a.reloads.at.Load()) / 1e9 })
}
