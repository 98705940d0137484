// Package soak runs the agent as it is shipped for hours among real containers that come
// and go, while sinks, the network and dockerd fail and the configuration changes, counts
// every line, and looks for what stays behind.
//
// Its test takes three minutes; make soak has it take hours and write docs/soak.md.
package soak

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// options are how one soak runs.
type options struct {
	during   time.Duration
	streams  int           // containers that are read as streams
	others   int           // read as files, and as many by polls
	rate     int           // lines a second of each
	pace     time.Duration // of the churn
	round    time.Duration // of the faults
	every    time.Duration // samples
	restarts int           // dockerd is restarted in each so-manieth round, in the second first
}

// rotation is streams.rotation_interval.
const rotation = 5 * time.Second

// rig is what one soak runs on.
type rig struct {
	o      options
	engine *harness.DockerEngine
	loki   *harness.LokiServer
	proxy  *harness.Toxiproxy
	// calm is a sink that nothing happens to; stormy is behind the proxy.
	calm, stormy *harness.Tally
	agent        *harness.AgentProcess
	logs, more   string // directories: of log files that are read, and of a sink that comes and goes
	run          string // the label of this run's entries in Loki
	start        time.Time
	dockerd      atomic.Int64 // process id; 0 while it is down

	up sync.Mutex // held by who needs dockerd, and by who stops it

	mu     sync.Mutex
	ledger *harness.Ledger
	fleet  []*member // the oldest first
	did    counts
	marks  []mark
}

// counts are what the test has done.
type counts struct {
	created, removed, restarted, stopped, brief int
	outages, reloads, refused, engineRestarts   int
	engineLost                                  int64 // lines that dockerd read and did not write to its log
	files                                       int64 // lines in log files
}

// mark is something that happened, from..to, to be seen in the plot.
type mark struct {
	from, to time.Time
	kind     string // outage, reload, restart
	what     string
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{
		o: o, engine: harness.PrivateEngine(t, harness.EngineOptions{LiveRestore: true}),
		loki: harness.PrivateLoki(t, harness.LokiOptions{}), calm: harness.NewTally(t), stormy: harness.NewTally(t),
		logs: t.TempDir(), more: t.TempDir(), run: fmt.Sprint("soak-", time.Now().UnixNano()),
		start: time.Now(), ledger: harness.NewLedger(),
	}
	r.proxy = harness.NewToxiproxy(t, r.stormy.URL)
	r.engine.Image(t)
	r.engine.Restart(t) // as it will be later
	r.dockerd.Store(int64(r.engine.PID(t)))
	r.agent = harness.StartShippedAgent(t, r.config(variant{}))
	return r
}

// variant is what reloads change.
type variant struct {
	more   bool // a sink more
	limits bool // other limits
	wrong  bool
}

func (r *rig) config(v variant) string {
	memory, timeout, most := "4MiB", "10s", r.o.streams+20
	if v.limits {
		memory, timeout, most = "6MiB", "9s", r.o.streams+25
	}
	if v.wrong {
		memory = "little"
	}
	config := fmt.Sprintf(`
dispatcher: {memory: %s, batch: {max_bytes: 128KiB}, retry: {max: 2s}}
container_monitor:
  docker_host: %q
  read: stream
  streams: {max: %d, rotation_interval: %s}
  poll_interval: 1s
  exit_events: false
file_monitor:
  include: ["%s/*.log"]
sinks:
  calm: {type: loki, url: %q}
  stormy: {type: loki, url: %q, timeout: 2s}
  loki: {url: %q, timeout: %s, labels: {run: %q}}
`, memory, r.engine.Host(), most, rotation, r.logs, r.calm.URL, r.proxy.URL, r.loki.URL, timeout, r.run)
	if v.more {
		config += fmt.Sprintf("  more: {type: local_file, path: \"%s/more.log\", rotate: {max_bytes: 1MiB, keep: 1m}}\n", r.more)
	}
	return config
}

// warm has a line of a container captured that is gone afterwards, and one of a log file:
// what is opened for the first, and stays, is there then.
func (r *rig) warm(t *testing.T) {
	t.Helper()
	c := r.engine.Run(t, harness.RunOptions{Args: []string{"-n", "1", "-hold"}})
	f := &logFile{path: filepath.Join(r.logs, "warm.log")}
	if err := f.write(1); err != nil {
		t.Fatal(err)
	}
	r.ledger.Expect(c.Name, 1, 1)
	r.ledger.Expect(f.id(), 1, 1)
	harness.Eventually(t, 30*time.Second, "the first lines", func() (bool, string) {
		return r.calm.Check(r.ledger).Lost.N == 0 && r.stormy.Check(r.ledger).Lost.N == 0, ""
	})
	c.Remove(t)
	if err := f.remove(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "nothing that is read", r.idle)
}

// idle tells whether the agent reads nothing but the engine's events.
func (r *rig) idle() (bool, string) {
	m, err := r.agent.Scrape()
	if err != nil {
		return false, err.Error()
	}
	n, open := m.Sum("containers_monitored"), m.Open()
	return n == 0 && open <= 1, fmt.Sprintf("%.0f containers, %d descriptors", n, open)
}

// delivered waits until a sink has n lines of a source.
func (r *rig) delivered(ctx context.Context, sink *harness.Tally, id string, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for sink.Of(id) < n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d lines of %s were delivered within a minute, want %d", sink.Of(id), id, n)
		}
	}
	return nil
}

func (r *rig) marked(kind, what string, from time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks = append(r.marks, mark{from, time.Now(), kind, what})
}

// balance is what is wrong in the agent's books: what was read is not what was delivered,
// waits, or was given up.
func (r *rig) balance(m harness.Metrics) string {
	var wrong strings.Builder
	read := m.Sum("lines_read_total")
	for _, sink := range []string{"calm", "stormy", "loki"} {
		of := fmt.Sprintf("sink=%q", sink)
		acked := m.Sum("lines_acked_total", of)
		if acked != read {
			fmt.Fprintf(&wrong, "sink %s: %.0f lines read, %.0f accepted; ", sink, read, acked)
		}
	}
	return wrong.String()
}
