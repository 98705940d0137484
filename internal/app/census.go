package app

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/ledger/census"
	"github.com/logcapturer/log_capturer/internal/metrics"
)

// Scopes and tasks of the monitors, as the ledger names them.
const (
	containersScope = "agent/sources/containers"
	filesScope      = "agent/sources/files"
	canaryOwner     = "agent/sources/canary/run"
	sinksScope      = "agent/delivery/sinks/"
)

// books is what the agent holds, and what it should hold.
type books struct {
	census.Census
	// tasks add to the formula: how many goroutines there should be of each owner now.
	tasks []func(map[string]int)
	// accounts add the accounts of a part.
	accounts []func() []census.Entry

	watching bool // the configuration file
	states   atomic.Pointer[[]ledger.ComponentState]

	mu    sync.Mutex
	last  ledger.Snapshot
	taken time.Time
}

// openBooks prepares the ledger. Parts add to it as they are built.
func (a *agent) openBooks() {
	b := &a.books
	b.Tasks, b.Started, b.DataDir = a.root, time.Now(), a.cfg.DataDir
	b.Component = componentOf
	b.BatchBytes = a.arena.Used
	b.Components = b.running
	b.watching = a.cfg.WatchConfig && a.again.Path != ""
	b.Expected = func() map[string]int {
		formula := map[string]int{}
		for _, add := range b.tasks {
			add(formula)
		}
		return formula
	}
	b.Accounts = func() (all []census.Entry) {
		for _, entries := range b.accounts {
			all = append(all, entries()...)
		}
		return all
	}
	b.tasks = append(b.tasks, a.ownTasks)
	b.accounts = append(b.accounts, a.ownAccounts)
}

// running returns the components as they were when they were last switched.
func (b *books) running() []ledger.ComponentState {
	if states := b.states.Load(); states != nil {
		return *states
	}
	return nil
}

// isRunning tells it of a source that was built: one that is not enabled may run as well,
// and do nothing.
func (b *books) isRunning(component string) bool {
	return !slices.Contains(b.running(), ledger.ComponentState{Name: component})
}

// noteComponents has the census know which components run. reloading is held.
func (a *agent) noteComponents() {
	states := a.components()
	a.books.states.Store(&states)
}

// ownTasks are those of the parts that every agent has.
func (a *agent) ownTasks(formula map[string]int) {
	for _, name := range []string{"positions", "dispatcher", "deadletters"} {
		formula["agent/delivery/"+name] = 1
	}
	for _, lane := range a.dispatcher.Lanes() {
		if !lane.Off() {
			formula[sinksScope+lane.Name()+"/lane"] = 1
		}
		formula[sinksScope+lane.Name()+"/spool"] = 1
	}
	formula[census.ServerOwner] = len(a.servers)
	if a.books.isRunning(canaryComponent) {
		formula[canaryOwner] = 1
	}
	if a.watcher != nil {
		formula["agent/sources/watcher"] = 1
	}
	if a.again.Load != nil {
		formula["agent/serving/reload"] = 1
	}
	if a.books.watching {
		formula["agent/serving/watch_config"] = 1
	}
	if a.manager != nil {
		formula["agent/serving/systemd"] = 1
	}
}

func (a *agent) ownAccounts() []census.Entry {
	all := []census.Entry{{Owner: "agent/delivery/positions", Kind: census.Ticker, Account: &a.store.Tickers, Expected: exactly(1)}}
	for _, s := range a.servers {
		all = append(all, census.Entry{Owner: census.ServerOwner, Kind: census.Connection, Account: &s.Connections, Endpoint: s.Addr()})
	}
	for _, lane := range a.dispatcher.Lanes() {
		spooled, most := lane.SpoolFiles()
		all = append(all, census.Entry{Owner: sinksScope + lane.Name() + "/spool", Kind: census.SpoolFile, Account: spooled, Expected: exactly(most)})
		letters, most := lane.Letters().Files()
		all = append(all, census.Entry{Owner: sinksScope + lane.Name() + "/deadletters", Kind: census.DeadLetterFile, Account: letters, Expected: exactly(most)})
		if s, ok := lane.Sink().(filing); ok {
			written, most := s.Files()
			all = append(all, census.Entry{Owner: sinksScope + lane.Name() + "/lane", Kind: census.SinkFile, Account: written, Expected: exactly(most)})
		}
		// One is used at a time; another may be ending.
		if s, ok := lane.Sink().(connected); ok {
			all = append(all, census.Entry{
				Owner: sinksScope + lane.Name() + "/lane", Kind: census.Connection,
				Account: s.Connections(), Expected: exactly(2), Endpoint: s.Endpoint(),
			})
		}
	}
	return all
}

// filing is a sink that writes files.
type filing interface {
	Files() (open *ledger.Account, most int)
}

// connected is a sink that speaks HTTP.
type connected interface {
	Connections() *ledger.Account
	// Endpoint is the URL without secrets.
	Endpoint() string
}

func exactly(n int) func() int { return func() int { return n } }

// componentOf tells to which component an owner belongs, or a function of ours by its full
// name.
func componentOf(owner string) string {
	owner = strings.TrimPrefix(owner, "github.com/logcapturer/log_capturer/")
	if name, ok := strings.CutPrefix(owner, sinksScope); ok {
		name, _, _ = strings.Cut(name, "/")
		return "sink." + name
	}
	for _, of := range []struct{ prefix, component string }{
		{containersScope, containerMonitor}, {filesScope, fileMonitor}, {journalScope, journalMonitor},
		{canaryOwner, canaryComponent}, {"agent/serving", "server"},
		{"internal/discover.(*Files)", fileMonitor},
		{"internal/docker", containerMonitor}, {"internal/discover", containerMonitor},
		{"internal/source/dockerapi", containerMonitor}, {"internal/source/jsonfile", containerMonitor},
		{"github.com/moby/", containerMonitor}, {"internal/source/file", fileMonitor}, {"internal/source/journal", journalMonitor},
		{"internal/canary", "canary"}, {"internal/httpapi", "server"}, {"internal/sink", "sinks"},
	} {
		if strings.HasPrefix(owner, of.prefix) {
			return of.component
		}
	}
	return "agent"
}

// censusAge is for how long the metrics use the same census: those of one scrape do, and
// those of the next do not.
const censusAge = 100 * time.Millisecond

// recent returns a census that is at most censusAge old.
func (b *books) recent() ledger.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.taken) > censusAge {
		b.last, _ = b.Take() // what could not be counted is not told
		b.taken = time.Now()
	}
	return b.last
}

func (a *agent) ledgerMetrics() {
	a.one(gauge, "goroutines_expected", "Goroutines that there should be: the formula of docs/architecture.md, and those of open connections.", func() float64 {
		_, expected := a.books.Goroutines()
		return float64(expected)
	})
	perOwner := func(kind prometheus.ValueType, name, help string, labels []string, values func(ledger.Snapshot, map[[2]string]float64)) {
		a.metrics.Func(kind, name, help, labels, func() (out []metrics.Sample) {
			sums := map[[2]string]float64{}
			values(a.books.recent(), sums)
			for key, sum := range sums {
				out = append(out, metrics.Sample{Labels: key[:len(labels)], Value: sum})
			}
			return out
		})
	}
	perOwner(gauge, "owner_goroutines", "All goroutines by who started them, those of libraries too.", []string{"owner"}, func(s ledger.Snapshot, sums map[[2]string]float64) {
		for _, o := range s.Goroutines.Owners {
			sums[[2]string{o.Owner}] += float64(o.Count)
		}
	})
	perOwner(gauge, "held", "What is open, by who holds it and kind.", []string{"owner", "kind"}, func(s ledger.Snapshot, sums map[[2]string]float64) {
		for _, h := range s.Held {
			sums[[2]string{h.Owner, h.Kind}] += float64(h.Count)
		}
	})
	perOwner(counter, "unclosed_total", "What was collected by the garbage collector without having been closed; each is a bug.", []string{"kind"}, func(s ledger.Snapshot, sums map[[2]string]float64) {
		for _, h := range s.Held {
			sums[[2]string{h.Kind}] += float64(h.Unclosed)
		}
	})
	perOwner(gauge, "descriptors", "Descriptors by kind.", []string{"kind"}, func(s ledger.Snapshot, sums map[[2]string]float64) {
		for kind, n := range s.Descriptors.Kinds {
			sums[[2]string{kind}] += float64(n)
		}
	})
	a.one(gauge, "heap_live_bytes", "Heap that was reachable when the last collection ended.", func() float64 { return float64(a.books.recent().Heap.LiveBytes) })
}

// monitorTasks adds what every monitor runs to the formula.
func monitorTasks(scope string, formula map[string]int) {
	maps.Copy(formula, map[string]int{scope + "/discover": 1, scope + "/pool": 1, scope + "/readers/file": workers})
}
