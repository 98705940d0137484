package files

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

const (
	// fastRotations is how often the fast log is rotated: every two seconds, whatever the rate.
	fastRotations = 5
	// fastKept is how many generations stay.
	fastKept = 3
	// fastLine is the size of its lines, in bytes.
	fastLine = 500
)

// fastRate is how many bytes a second are written: little beside other tests, and with
// LOG_CAPTURER_RATE_MB as many megabytes as it says, when nothing else runs.
func fastRate(t *testing.T) (bytes int, alone bool) {
	t.Helper()
	s := os.Getenv("LOG_CAPTURER_RATE_MB")
	if s == "" {
		return 2_000_000, false
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("LOG_CAPTURER_RATE_MB=%q: want a number of megabytes a second", s)
	}
	return n * 1_000_000, true
}

// Scenario 16: a log is written to at 50 MB/s and rotated each 100 MB, also through a symbolic
// link: no generation is missed, and none loses its end.
func TestAFastLogIsRotated(t *testing.T) {
	harness.Agent(t)
	rate, alone := fastRate(t)
	for name, link := range map[string]bool{"directly": false, "through a symbolic link": true} {
		t.Run(name, func(t *testing.T) {
			if !alone {
				t.Parallel()
			}
			h := newHost(t, harness.StartAgent)
			path := h.path("app.log")
			if link {
				path = filepath.Join(t.TempDir(), "app.log")
				h.must(os.Symlink(path, h.path("app.log")))
			}
			began := time.Now()
			for n := range fastRotations {
				h.fill(path, rate, 2*rate)
				if n < fastRotations-1 {
					h.must(shift(path))
				}
			}
			took := time.Since(began)
			if repeated := h.arrived(); repeated > 0 {
				t.Errorf("%d lines are repeated", repeated)
			}
			late := time.Since(began) - took
			if lost := h.agent.Metrics(t).Sum("lines_upstream_lost_total"); lost != 0 {
				t.Errorf("%v losses are told", lost)
			}
			t.Logf("%.1f MB/s, %d lines, %d rotations: 0 lost; all had come %v after the last", float64(fastRotations*2*rate)/1e6/took.Seconds(), h.wrote, fastRotations-1, late.Round(time.Millisecond))
		})
	}
}

// fill writes so many bytes of lines to a new file, at a rate, in bytes a second; the first at
// once, so that the end of the file before was not read yet.
func (h *host) fill(path string, rate, size int) {
	h.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	h.must(err)
	defer f.Close()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	var text []byte
	wrote := 0
	start := time.Now()
	for now := start; wrote < size; now = <-pace.C {
		due := min(size, 64<<10+int(now.Sub(start).Seconds()*float64(rate)))
		for wrote < due {
			text = text[:0]
			for len(text) < 64<<10 && wrote+len(text) < due {
				h.wrote++
				text = append(line.Append(text, line.Plain, id, h.wrote, fastLine, now), '\n')
			}
			_, err := f.Write(text)
			h.must(err)
			wrote += len(text)
		}
	}
}

// shift renames a log and those that were rotated before, and removes the oldest.
func shift(path string) error {
	for n := fastKept; n >= 0; n-- {
		from := fmt.Sprintf("%s.%d", path, n)
		if n == 0 {
			from = path
		}
		var err error
		if n == fastKept {
			err = os.Remove(from)
		} else {
			err = os.Rename(from, fmt.Sprintf("%s.%d", path, n+1))
		}
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// Scenario 17: a log that begins with the same kilobyte each time is copied and cut: what is
// written then is read from the start, and the cut is told.
func TestALogWithTheSameHeadIsCopiedAndCut(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		h := newHost(t, harness.StartAgent)
		head := ""
		for n := range 20 {
			head += fmt.Sprintf("# %02d a head that every generation of this log has, alike to the byte\n", n)
		}
		begin := func() { h.must(os.WriteFile(h.path("app.log"), []byte(head), 0o600)) }
		begin()
		h.write("app.log", 100)
		h.arrived()
		h.saved()
		if down {
			h.agent.Stop(t)
		}
		text, err := os.ReadFile(h.path("app.log"))
		h.must(err)
		h.must(os.WriteFile(h.path("app.log.1"), text, 0o600))
		begin() // cuts it, in place
		h.write("app.log", 100)
		if down {
			h.agent.Start(t)
		}
		if repeated := h.arrived(); repeated > 0 {
			t.Errorf("%d lines are repeated", repeated)
		}
		if n := h.tally.Check(harness.NewLedger()).Foreign.N; n != 40 {
			t.Errorf("%d lines of heads came, want 40", n)
		}
		if n := h.lost("file_cut"); n != 1 {
			t.Errorf("%v cuts are told, want 1", n)
		}
	}
}

// Scenario 20: nobody takes what is read while a log is rotated and its old generations are
// removed: the disk space that the agent keeps is bounded, and what it let go is counted to
// the line.
func TestWhatIsHeldForABlockedSinkIsBounded(t *testing.T) {
	t.Parallel()
	const held, size, generations = 2 << 20, 1 << 20, 12
	h := &host{T: t, dir: t.TempDir(), tally: harness.NewTally(t)}
	gate := newGate(t, h.tally)
	h.agent = harness.StartAgent(t, fmt.Sprintf(`
container_monitor: {enabled: false}
file_monitor: {include: [%q], held: {max_bytes: %d}}
dispatcher: {memory: 1MiB, batch: {max_bytes: 64KiB}}
sinks:
  loki: {url: %s}
`, filepath.Join(h.dir, "*.log"), held, gate.URL))
	most := int64(0)
	for n := range generations {
		h.fill(h.path("app.log"), 100*size, size)
		seen := n + 1
		harness.Eventually(t, 20*time.Second, "the generation to be seen", func() (bool, string) {
			most = max(most, h.removedBytes())
			fds, err := harness.FDs(h.agent.PID())
			h.must(err)
			for _, fd := range fds {
				if fd == h.path("app.log") {
					return true, ""
				}
			}
			return false, fmt.Sprint(seen, fds)
		})
		if n < generations-1 {
			h.must(os.Rename(h.path("app.log"), h.path("app.log.1")))
			h.must(os.Remove(h.path("app.log.1")))
		}
	}
	harness.Eventually(t, 20*time.Second, "what is held to be bounded", func() (bool, string) {
		now := h.removedBytes()
		most = max(most, now)
		return now <= held, fmt.Sprint(now)
	})
	gate.open()
	var lost int64
	harness.Eventually(t, 30*time.Second, "all lines, or their count", func() (bool, string) {
		came := h.tally.Of(id)
		lost = int64(h.lost("held_too_much"))
		return came+lost >= h.wrote, fmt.Sprintf("%d came and %d are lost, of %d", came, lost, h.wrote)
	})
	ledger := harness.NewLedger()
	ledger.Expect(id, 1, h.wrote)
	if report := h.tally.Check(ledger); lost == 0 || report.Lost.N != lost || report.Repeated.N != 0 {
		t.Errorf("%d are told as lost: %+v", lost, report)
	}
	// The generation that is being rotated is not held yet, nor the next one looked at.
	if most > held+2*size {
		t.Errorf("%d bytes of removed files were held, want %d at most, and what is on its way", most, held)
	}
	t.Logf("%d of %d lines are lost and told; at most %.1f MiB were held", lost, h.wrote, float64(most)/mib)
}

// removedBytes are of files without a name that the agent has open.
func (h *host) removedBytes() (sum int64) {
	dir := fmt.Sprintf("/proc/%d/fd", h.agent.PID())
	entries, err := os.ReadDir(dir)
	h.must(err)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		target, err := os.Readlink(path)
		if err != nil || target != h.path("app.log.1")+" (deleted)" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			sum += info.Size()
		} else if !os.IsNotExist(err) {
			h.Fatal(err)
		}
	}
	return sum
}

// gate is a Loki that answers nobody until it is opened.
type gate struct {
	URL    string
	opened chan struct{}
	open   func()
}

func newGate(t *testing.T, behind http.Handler) *gate {
	t.Helper()
	g := &gate{opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-g.opened:
			behind.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { g.open(); server.Close() })
	g.URL = server.URL
	return g
}
