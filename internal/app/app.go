// Package app puts the agent together from its parts: it is the only package that
// knows all the others. It builds everything before anything runs, starts it from
// the sinks up, and stops it from the sources down.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/canary"
	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/httpapi"
	"github.com/logcapturer/log_capturer/internal/leak"
	"github.com/logcapturer/log_capturer/internal/metrics"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/systemd"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

// readShutdown bounds how long stopping the readers may take: they wait for nothing
// but their context.
const readShutdown = 2 * time.Second

// agent is everything that runs.
type agent struct {
	cfg   Config // changed by reload, which holds reloading
	info  BuildInfo
	log   *slog.Logger
	level *slog.LevelVar
	// memory is what the agent's cgroup allows; 0 = anything.
	memory units.Size
	lock   *os.File

	again     Reloads
	text      []byte // of the configuration file, at the start
	reloading sync.Mutex
	quit      context.Context
	quitting  context.CancelFunc
	// chooseFiles is file_monitor's Reconfigure; nil when it is off.
	chooseFiles func(discover.FileConfig, *discover.Shapes) <-chan struct{}
	shapes      *discover.Shapes // of the files; changed as cfg is
	reloads     reloads

	board      *health.Board
	metrics    *metrics.Metrics
	store      *position.Store
	arena      *record.Pool
	watcher    *tail.Watcher
	dispatcher *dispatch.Dispatcher
	canary     *canary.Canary
	office     *office.Office
	boxes      map[string]*office.Box // of the lanes
	servers    []*httpapi.Server
	manager    *systemd.Manager // nil when none listens
	monitors   []monitor
	switches   []*component // of the sources; lanes have their own
	token      string       // asked for by who switches components
	ready      atomic.Bool

	books     books
	leaks     *leak.Watch
	collector leak.Collector // of those who ask for a census; guarded by books.mu
	lastLines *leak.Tail
	// Filled in by the monitors as they are built; read at each scrape.
	truncated []tally
	statuses  []func() []source.Status
	reports   []func() // bring the board up to date
	keepers   []keeper

	root, sources, delivery, serving *task.Scope
}

// monitor is one kind of source: its discovery and its readers. start adds its
// goroutines to the scope, as often as that was closed; rest then frees what goes on
// without goroutines; reconfigure has it do as the agent's cfg says.
type monitor struct {
	name, owner string // as a component, and as an owner of goroutines
	start       func(scope *task.Scope)
	rest        func()
	reconfigure func()
	close       func()
}

// Run runs the agent until ctx ends. It then stops reading, delivers what it holds
// within cfg.ShutdownTimeout, and saves the positions; what could not be delivered by
// then goes to the spools, for the next start. Meanwhile it takes in new configurations
// as again says.
func Run(ctx context.Context, cfg Config, info BuildInfo, again Reloads) error {
	a := &agent{cfg: cfg, info: info, again: again, level: new(slog.LevelVar), board: &health.Board{}, metrics: metrics.New()}
	a.text, _ = os.ReadFile(again.Path) // where it cannot be read, it has changed when it can
	a.level.Set(levelOf(cfg.Log))
	a.log, a.lastLines = newLogger(cfg.Log, a.level)
	a.manager = systemd.Find(a.log)
	a.memory = memoryLimit(a.log)
	a.cfg = boundMemory(cfg, a.memory, a.log)
	a.quit, a.quitting = context.WithCancel(context.WithoutCancel(ctx))
	a.root = task.NewRoot(context.WithoutCancel(ctx), "agent", a.log)
	a.serving, a.delivery, a.sources = a.root.Child("serving"), a.root.Child("delivery"), a.root.Child("sources")
	if err := a.build(); err != nil {
		return errors.Join(err, a.close())
	}
	failed := make(chan error, len(a.servers))
	a.start(failed)
	var err error
	select {
	case <-ctx.Done():
		a.log.Info("stopping: delivering what is held", "at_most", time.Duration(cfg.ShutdownTimeout))
	case err = <-failed:
		a.log.Error("stopping", "error", err)
	}
	return errors.Join(err, a.stop())
}

func levelOf(c LogConfig) (level slog.Level) {
	_ = level.UnmarshalText([]byte(c.Level)) // was validated
	return level
}

// newLogger returns the agent's logger, and what keeps its last lines.
func newLogger(c LogConfig, level slog.Leveler) (*slog.Logger, *leak.Tail) {
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if c.Format == "json" {
		handler = slog.NewJSONHandler(os.Stderr, options)
	}
	last := leak.NewTail(handler)
	return slog.New(last), last
}

// build makes every part; nothing runs yet.
func (a *agent) build() error {
	if err := os.MkdirAll(a.cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("create data_dir: %w; set data_dir to a directory that this user may write to", err)
	}
	var err error
	if a.lock, err = lockDir(a.cfg.DataDir); err != nil {
		return err
	}
	if a.store, err = position.OpenStore(a.cfg.DataDir, a.log); err != nil {
		return err
	}
	a.arena = record.NewPool(int64(a.cfg.Dispatcher.Memory))
	a.openBooks()
	if a.watcher, err = tail.NewWatcher(); err != nil {
		a.log.Warn("no inotify; logs are looked at every few seconds instead", "error", err)
		a.watcher = nil
	}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the host's name: %w", err)
	}
	a.buildCanary(hostname)
	if err := a.buildDelivery(); err != nil {
		return err
	}
	if err := a.buildMonitors(hostname); err != nil {
		return err
	}
	a.buildSwitches()
	if a.token, err = apiToken(a.cfg.DataDir); err != nil {
		return err
	}
	a.buildLeakWatch()
	a.registerMetrics()
	a.reports = append(a.reports, func() {
		if err := a.store.Err(); err != nil {
			a.board.Set("positions", health.Degraded, err.Error())
			return
		}
		a.board.Set("positions", health.Healthy, "")
	})
	return a.listen()
}

// lockDir makes sure that no other agent uses the directory: two would deliver
// everything twice.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w; set data_dir to a directory that this user may write to", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w; another log_capturer uses this data_dir, give each its own", path, err)
	}
	return f, nil
}

func (a *agent) listen() error {
	s, err := httpapi.Listen(a.cfg.Server.Listen, httpapi.Handler(httpapi.Routes{
		Registry: a.metrics.Registry, Health: a.health, Ready: a.ready.Load, Containers: a.containers,
		DeadLetters: a.office, Reload: a.reload, Resources: a.resources, Components: switchboard{a}, Token: a.token,
	}), a.log)
	if err != nil {
		return err
	}
	a.servers = append(a.servers, s)
	if a.cfg.Server.Pprof == "" {
		return nil
	}
	p, err := httpapi.Listen(a.cfg.Server.Pprof, httpapi.Pprof(), a.log)
	if err != nil {
		return err
	}
	a.servers = append(a.servers, p)
	a.log.Info("serving profiles", "url", "http://"+p.Addr()+"/debug/pprof/")
	return nil
}

// health returns the state of all components now.
func (a *agent) health() health.Report {
	for _, report := range a.reports {
		report()
	}
	return a.board.Report()
}

// start starts every part, the sinks first.
func (a *agent) start(failed chan<- error) {
	a.delivery.Go("positions", a.store.Run)
	a.delivery.Go("dispatcher", func(ctx context.Context) { a.dispatcher.Run(ctx, a.delivery) })
	a.delivery.Go("deadletters", a.office.Run)
	for _, s := range a.servers {
		a.serving.Go("http", func(ctx context.Context) {
			if err := s.Run(ctx); err != nil {
				failed <- err
			}
		})
	}
	if a.watcher != nil {
		a.sources.Go("watcher", a.watcher.Run)
	}
	for _, c := range a.switches {
		a.run(c)
	}
	a.reloading.Lock()
	a.noteComponents()
	a.reloading.Unlock()
	a.serving.Go(leakWatch, a.leaks.Run)
	if a.again.Load != nil {
		a.board.Set(configuration, health.Healthy, "")
		a.serving.Go("reload", a.awaitReloads)
	}
	if a.cfg.WatchConfig && a.again.Path != "" {
		a.serving.Go("watch_config", a.watchConfig)
	}
	a.log.Info("log_capturer is running", "version", a.info.Version, "go", runtime.Version(),
		"url", "http://"+a.servers[0].Addr(), "data_dir", a.cfg.DataDir, "sinks", sinkNames(a.cfg.Sinks))
	a.ready.Store(true)
	a.manager.Ready(a.statusLine())
	if a.manager != nil {
		a.serving.Go("systemd", a.keepAlive)
	}
}

// stop ends every part, the sources first, and returns what was not right.
func (a *agent) stop() error {
	a.ready.Store(false)
	a.quitting()         // a reload that waits for a sink does not any more
	a.reloading.Lock()   // one that is under way ends first, and no other begins
	a.reloading.Unlock() //nolint:staticcheck // an empty section: to wait is all
	a.manager.Stopping(a.stopLimit())
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), readShutdown)
	if err := a.sources.Close(ctx); err != nil {
		// To close rotated-away files of gigabytes takes the system seconds. Whether they have
		// ended is asked again at the end.
		a.log.Warn("readers take long to stop", "error", err)
	}
	cancel()

	a.dispatcher.Drain()
	ctx, cancel = context.WithTimeout(context.Background(), time.Duration(a.cfg.ShutdownTimeout))
	defer cancel()
	drained := a.dispatcher.Drained(ctx)
	left := a.undelivered()
	end, cancelEnd := context.WithTimeout(context.Background(), readShutdown)
	defer cancelEnd()
	err := a.delivery.Close(end)                 // the sinks have no user any more
	err = errors.Join(err, a.serving.Close(end)) // a replay that was ended has told so
	err = errors.Join(err, a.close())
	end, cancelEnd = context.WithTimeout(context.Background(), readShutdown)
	defer cancelEnd()
	err = errors.Join(err, a.root.Close(end))
	attrs := []any{"took", time.Since(begin).Round(time.Millisecond)}
	if !drained || left > 0 { // a sink that is switched off is not waited for
		attrs = append(attrs, "lines_kept_for_the_next_start", left)
	}
	a.log.Info("stopped", attrs...)
	return err
}

// undelivered returns the lines in memory that no sink has accepted.
func (a *agent) undelivered() (lines int64) {
	for _, l := range a.dispatcher.Lanes() {
		lines += l.Stats().MemoryLines
	}
	return lines
}

// close frees what build made, in whatever state it is, and saves the positions.
func (a *agent) close() error {
	var errs []error
	for _, m := range a.monitors {
		m.close()
	}
	if a.office != nil {
		errs = append(errs, a.office.Close())
	}
	if a.dispatcher != nil {
		errs = append(errs, a.dispatcher.Close())
	}
	if a.watcher != nil {
		_ = a.watcher.Close() // Run closes it too
	}
	for _, s := range a.servers {
		_ = s.Close() // Run closes it too
	}
	if a.store != nil {
		errs = append(errs, a.store.Save())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(errs...)
}
