package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/pool"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink/localfile"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/dockerapi"
	"github.com/logcapturer/log_capturer/internal/source/file"
	"github.com/logcapturer/log_capturer/internal/source/jsonfile"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/task"
)

// The monitors, as components.
const (
	containerMonitor = "container_monitor"
	fileMonitor      = "file_monitor"
)

// workers is how many logs one monitor reads at the same time. Reading is far faster
// than delivering; the second is there so that one slow disk read stops nobody.
const workers = 2

func (a *agent) buildMonitors(hostname string) error {
	a.reports = append(a.reports, a.reportHeld)
	if a.cfg.ContainerMonitor.Enabled {
		if err := a.buildContainers(hostname); err != nil {
			return err
		}
	}
	if a.cfg.JournalMonitor.Enabled {
		a.buildJournal(hostname)
	}
	if a.cfg.FileMonitor.Enabled {
		return a.buildFiles(hostname)
	}
	return nil
}

func (a *agent) buildContainers(hostname string) error {
	cfg := a.cfg.ContainerMonitor
	engine, err := docker.New(cfg.DockerHost)
	if err != nil {
		return fmt.Errorf("container_monitor: %w", err)
	}
	log := a.log.With("monitor", "containers")
	found := discover.NewContainers(cfg, engine, hostname, log)
	found.OnListed = a.prune
	files, streams := &jsonfile.Stats{}, &dockerapi.Stats{Aged: a.metrics.StreamAged}
	early := a.catchEarly(found, files)
	disk := newEngineDisk(a.metrics.Lost, log)
	disk.of(found)
	keeper := a.newKeeper(containerMonitor, cfg.Held.MaxBytes, disk.look)
	api := &dockerapi.Opener{
		Engine: engine, Pool: a.arena, MaxLine: int(cfg.MaxLine), Stats: streams, PollInterval: cfg.PollInterval.Std(), Log: log,
	}
	if cfg.Streams.RotationInterval > 0 {
		api.Turns = dockerapi.NewTurns(cfg.Streams.RotationInterval.Std())
	}
	p := a.newPool("containers", found.Forget, map[source.Mode]source.Opener{
		source.File: &jsonfile.Opener{
			Pool: a.arena, MaxLine: int(cfg.MaxLine), Stats: files, Early: early, Keeper: keeper.Keeper, Archives: a.archives(log),
		},
		source.Stream: api,
	})
	p.Streams, p.PollInterval = cfg.Streams.Max, cfg.PollInterval.Std()
	monitored := pool.New(p)
	a.statuses = append(a.statuses, monitored.Statuses)
	a.containerMetrics(containerParts{found, engine, monitored, files, streams, keeper, early})
	a.books.tasks = append(a.books.tasks, func(formula map[string]int) {
		if !a.books.isRunning(containerMonitor) {
			return
		}
		monitorTasks(containersScope, formula)
		formula[containersScope+"/readers/poll"] = pool.Pollers
		formula[containersScope+"/readers/stream"] = monitored.Figures().Slots
		formula[containersScope+"/keeper"] = 1
		formula[containersScope+"/discover"] += int(engine.EventStreams.Load()) // the moby client's
	})
	a.monitors = append(a.monitors, monitor{
		name: containerMonitor, owner: "containers",
		start: func(scope *task.Scope) {
			a.runMonitor(scope, found, monitored)
			scope.Go("keeper", keeper.run)
			plantContainers(scope, engine, monitored)
		},
		rest: func() {
			engine.Close()
			if early != nil {
				early.Pause()
			}
		},
		reconfigure: func() {
			cfg := a.cfg.ContainerMonitor
			keeper.SetMaxBytes(int64(cfg.Held.MaxBytes))
			monitored.SetStreams(cfg.Streams.Max)
			found.Reconfigure(cfg)
		},
		close: func() {
			monitored.Close()
			engine.Close()
			if early != nil {
				early.Close()
			}
		},
	})
	a.reports = append(a.reports, disk.report(a.board))
	a.reports = append(a.reports, func() {
		h := found.Health()
		status, reason := health.Healthy, unreadable(monitored.Figures())
		if !h.OK {
			reason = h.Reason
		}
		if reason != "" {
			status = health.Degraded
		}
		a.board.Set(h.Name, status, reason)
	})
	return nil
}

// catchEarly has json-files opened the moment they appear, for containers that are
// gone before they are announced. Without inotify there is none.
func (a *agent) catchEarly(found *discover.Containers, stats *jsonfile.Stats) *tail.Early {
	if read := a.cfg.ContainerMonitor.Read; a.watcher == nil || read == source.Stream || read == source.Poll {
		return nil
	}
	early := tail.NewEarly(a.watcher, jsonfile.LogName, &stats.Descriptors)
	found.OnRoot = func(dir string) {
		if err := early.Watch(dir); err != nil {
			a.log.Debug("containers are not watched before they are announced", "dir", dir, "error", err)
		}
		early.Sweep()
	}
	return early
}

func (a *agent) buildFiles(hostname string) error {
	cfg := a.fileConfig()
	log := a.log.With("monitor", "files")
	var err error
	if a.shapes, err = cfg.Shapes(nil); err != nil {
		return err
	}
	found := discover.NewFiles(cfg, a.shapes, hostname, log)
	stats := &file.Stats{}
	keeper := a.newKeeper(fileMonitor, cfg.Held.MaxBytes, func() {})
	opener := &file.Opener{
		Pool: a.arena, MaxLine: int(cfg.MaxLine), Stats: stats, Archives: a.archives(log), Keeper: keeper.Keeper,
	}
	opener.Restore(a.store.All())
	a.chooseFiles = found.Reconfigure
	deps := a.newPool("files", found.Forget, map[source.Mode]source.Opener{source.File: opener})
	deps.MaxOpen = cfg.MaxOpen
	p := pool.New(deps)
	a.fileMetrics(p, stats, keeper)
	a.books.tasks = append(a.books.tasks, func(formula map[string]int) {
		if a.books.isRunning(fileMonitor) {
			monitorTasks(filesScope, formula)
			formula[filesScope+"/keeper"] = 1
		}
	})
	a.monitors = append(a.monitors, monitor{
		name: fileMonitor, owner: "files",
		start: func(scope *task.Scope) {
			a.runMonitor(scope, hinted{found, a.watcher}, p)
			scope.Go("keeper", keeper.run)
			plantFiles(scope, found, p, stats)
		},
		rest: func() {},
		reconfigure: func() {
			cfg := a.fileConfig()
			keeper.SetMaxBytes(int64(cfg.Held.MaxBytes))
			p.SetMaxOpen(cfg.MaxOpen)
			_ = found.Reconfigure(cfg, a.shapes)
		},
		close: p.Close,
	})
	a.reports = append(a.reports, func() {
		status, reason := health.Healthy, unreadable(p.Figures())
		if n := found.Overflow(); n > 0 {
			reason = fmt.Sprintf("%d log files are left out, there are too many; narrow file_monitor.include", n)
		}
		if reason != "" {
			status = health.Degraded
		}
		a.board.Set(fileMonitor, status, reason)
	})
	return nil
}

// fileConfig is file_monitor, without what the agent writes itself.
func (a *agent) fileConfig() discover.FileConfig {
	cfg := a.cfg.FileMonitor
	cfg.Exclude = append(cfg.Exclude[:len(cfg.Exclude):len(cfg.Exclude)], ownFiles(a.cfg)...)
	return cfg
}

// archives says how generations are read that were compressed meanwhile.
func (a *agent) archives(log *slog.Logger) *tail.Archives {
	return &tail.Archives{Dir: a.cfg.DataDir, Refused: func(err error) {
		log.Warn("a log that was compressed while it was not read cannot be read, or not to its end; what it had is lost", "error", err)
	}}
}

// unreadable says which logs cannot be read, if any.
func unreadable(f pool.Figures) string {
	total := 0
	for _, n := range f.Targets {
		total += n
	}
	if f.Failing == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d logs cannot be read; one of them is %s", f.Failing, total, f.Failure)
}

// hinted looks for files as soon as a name appears in one of their directories.
type hinted struct {
	*discover.Files
	watcher *tail.Watcher // may be nil
}

// Run implements discover.Discoverer.
func (h hinted) Run(ctx context.Context, apply func([]source.Target)) error {
	if h.watcher == nil {
		return h.Files.Run(ctx, apply)
	}
	watch := func(dir string) {
		_ = h.watcher.WatchDir(dir, "files", func(string) { h.Hint() }) // one that is not there yet: looking finds its files
	}
	return h.Files.Run(ctx, func(targets []source.Target) {
		apply(targets)
		for _, dir := range h.Bases() {
			watch(dir)
		}
		for i := range targets {
			watch(filepath.Dir(targets[i].Path))
		}
	})
}

// ownFiles are globs of what the agent writes itself: capturing that would never end.
func ownFiles(cfg Config) (globs []string) {
	data, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		data = cfg.DataDir
	}
	if data != "/" {
		globs = append(globs, filepath.ToSlash(data)+"/**")
	}
	for _, name := range sinkNames(cfg.Sinks) {
		if c, ok := cfg.Sinks[name].Settings.(*localfile.Config); ok {
			globs = append(globs, localfile.Globs(c.Path, data)...)
		}
	}
	return globs
}

func (a *agent) newPool(name string, forget func(id string), openers map[source.Mode]source.Opener) pool.Deps {
	return pool.Deps{
		Name: name, Openers: openers, Store: a.store, Dispatcher: a.dispatcher, Arena: a.arena,
		Watcher: a.watcher, Workers: workers, Forget: forget,
		Read: func(src *record.Source, lines, bytes int) { a.metrics.Read(src.Name, lines, bytes) },
		Lost: a.metrics.Lost,
		Log:  a.log.With("monitor", name),
	}
}

// prune forgets the positions of containers that the engine no longer has: they were
// removed while the agent was down.
func (a *agent) prune(present map[string]bool) {
	for id := range a.store.All() {
		if container, ok := strings.CutPrefix(id, "container:"); ok && !present[container] {
			a.store.Remove(id)
		}
	}
}

// runMonitor starts a monitor's discovery and its readers.
func (a *agent) runMonitor(scope *task.Scope, found discover.Discoverer, p *pool.Pool) {
	p.Ready(scope)
	scope.Go("pool", p.Run)
	scope.Go("discover", func(ctx context.Context) {
		_ = found.Run(ctx, p.Apply) // ends with ctx only
	})
	a.log.Debug("monitor started", "monitor", scope.Name())
}
