package files

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/logcapturer/log_capturer/test/harness"
)

const mib = 1 << 20

// rss returns the agent's memory in bytes: now, and the most that it ever had.
func (h *host) rss() (now, peak int64) {
	h.Helper()
	now, peak, err := harness.RSS(h.agent.PID())
	h.must(err)
	return now, peak
}

// zeros is so many bytes of nothing.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Archives that hold far more than a log would, made in the place of a log that the agent
// has begun to read, cost it neither memory nor its work, and are counted.
func TestArchivesThatAreBombs(t *testing.T) {
	for name, pack := range map[string]func(w io.Writer, head []byte) error{
		"app.log.1.zst": func(w io.Writer, head []byte) error {
			z, err := zstd.NewWriter(w)
			if err != nil {
				return err
			}
			_, err = io.Copy(z, io.MultiReader(bytes.NewReader(head), zeros(256*mib)))
			return closed(z, err)
		},
		"app.log.1.gz": func(w io.Writer, head []byte) error {
			z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
			if err != nil {
				return err
			}
			_, err = io.Copy(z, io.MultiReader(bytes.NewReader(head), zeros(128*mib)))
			return closed(z, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, shipped)
			h.write("app.log", 100)
			h.arrived()
			h.agent.Stop(t)
			head, err := os.ReadFile(h.path("app.log"))
			h.must(err)
			f, err := os.Create(h.path(name))
			h.must(err)
			h.must(closed(f, pack(f, head)))
			h.must(os.Remove(h.path("app.log")))
			h.write("app.log", 100)
			h.agent.Start(t)
			base, _ := h.rss()
			h.arrived()
			if _, peak := h.rss(); peak > base+64*mib {
				t.Errorf("%d MiB of memory, %d more than before", peak/mib, (peak-base)/mib)
			}
			m := h.agent.Metrics(t)
			if h.lost("damaged")+m.Sum("file_bytes_left_out_total") == 0 {
				t.Error("nothing was counted")
			}
			t.Logf("damaged %v, bytes left out %v", h.lost("damaged"), m.Sum("file_bytes_left_out_total"))
		})
	}
}

func closed(c io.Closer, err error) error {
	if closeErr := c.Close(); err == nil {
		err = closeErr
	}
	return err
}

// An archive within an archive, made in the place of a log while the agent is down, is told in
// one line and counted; nothing of it is taken for lines, and what is before it and after it
// comes.
func TestAnArchiveWithinAnArchive(t *testing.T) {
	gz := func(w io.Writer, text []byte) error {
		z := gzip.NewWriter(w)
		_, err := z.Write(text)
		return closed(z, err)
	}
	for name, pack := range map[string]func(w io.Writer, text []byte) error{
		"app.log.1.zst": func(w io.Writer, text []byte) error { // of a gzip
			z, err := zstd.NewWriter(w)
			if err != nil {
				return err
			}
			return closed(z, gz(z, text))
		},
		"app.log.1.gz": func(w io.Writer, text []byte) error { // of a tar
			var tarred bytes.Buffer
			a := tar.NewWriter(&tarred)
			err := a.WriteHeader(&tar.Header{Name: "app.log.1", Size: int64(len(text)), Mode: 0o600})
			if err == nil {
				_, err = a.Write(text)
			}
			if err = closed(a, err); err != nil {
				return err
			}
			return gz(w, tarred.Bytes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, harness.StartAgent)
			h.write("app.log", 100)
			h.arrived()
			h.agent.Stop(t)
			h.write("app.log", 100)
			text, err := os.ReadFile(h.path("app.log"))
			h.must(err)
			older, err := os.Create(h.path("app.log.2.gz"))
			h.must(err)
			h.must(closed(older, gz(older, text)))
			nested, err := os.Create(h.path(name))
			h.must(err)
			h.must(closed(nested, pack(nested, []byte(strings.Repeat("a line of an archive\n", 100)))))
			h.must(os.Chtimes(h.path(name), time.Now(), time.Now().Add(time.Second))) // it came after the other
			h.must(os.Remove(h.path("app.log")))
			h.write("app.log", 100)
			h.agent.Start(t)
			if repeated := h.arrived(); repeated > 0 {
				t.Errorf("%d lines are repeated", repeated)
			}
			ledger := harness.NewLedger()
			ledger.Expect(id, 1, h.wrote)
			if report := h.tally.Check(ledger); report.Foreign.N > 0 {
				t.Errorf("%d entries are none of the log's: %+v", report.Foreign.N, report.Foreign)
			}
			if n := h.lost("damaged"); n != 1 {
				t.Errorf("%v archives are counted", n)
			}
			if n := strings.Count(h.agent.Log(), "it holds another archive"); n != 1 {
				t.Errorf("it is told %d times:\n%s", n, h.agent.Log())
			}
		})
	}
}

// A line of a gigabyte is cut, marked and counted, and never in memory.
func TestALineOfAGigabyte(t *testing.T) {
	t.Parallel()
	h := newHost(t, shipped)
	h.write("app.log", 10)
	h.arrived()
	base, _ := h.rss()
	f, err := os.OpenFile(h.path("app.log"), os.O_APPEND|os.O_WRONLY, 0o600)
	h.must(err)
	piece := []byte(strings.Repeat("x", mib))
	for range 1024 {
		_, err := f.Write(piece)
		h.must(err)
	}
	h.must(closed(f, func() error { _, err := f.WriteString("\n"); return err }()))
	h.write("app.log", 10)
	h.arrived()
	const limit = 64 * mib // dispatcher.memory
	if _, peak := h.rss(); peak > base+2*limit {
		t.Errorf("%d MiB of memory, %d more than before", peak/mib, (peak-base)/mib)
	} else {
		t.Logf("%d MiB more than before", (peak-base)/mib)
	}
	if n := h.agent.Metrics(t).Sum("lines_truncated_total"); n != 1 {
		t.Errorf("%v lines were cut, want 1", n)
	}
}

// What is no log is refused within a second, whatever it is, and nothing waits for it.
func TestWhatIsNoLogIsRefused(t *testing.T) {
	h := newHost(t, shipped)
	h.write("app.log", 10)
	h.arrived()
	threads := h.threads()
	h.must(os.Symlink("loop.log", h.path("loop.log")))
	h.must(os.Symlink("pong.log", h.path("ping.log")))
	h.must(os.Symlink("ping.log", h.path("pong.log")))
	h.must(syscall.Mkfifo(h.path("fifo.log"), 0o600))
	h.must(os.Symlink("/dev/zero", h.path("zero.log")))
	h.must(os.Mkdir(h.path("dir.log"), 0o700))
	h.must(os.Symlink(h.dir, h.path("updir.log")))
	start := time.Now()
	h.write("new.log", 10)
	for _, name := range []string{"fifo.log", "zero.log"} {
		harness.Eventually(t, 5*time.Second, name, func() (bool, string) {
			return strings.Contains(h.agent.Log(), filepath.Join(h.dir, name)), h.agent.Log()
		})
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
	h.arrived()
	h.write("app.log", 10)
	h.arrived()
	if now := h.threads(); now > threads+4 { // the runtime makes some
		t.Errorf("%d threads, and %d before", now, threads)
	}
	harness.Eventually(t, 5*time.Second, "nobody who waits", func() (bool, string) {
		waiting := h.stuck()
		return waiting == "", waiting
	})
	fds, err := harness.FDs(h.agent.PID())
	h.must(err)
	for _, fd := range fds {
		if strings.HasSuffix(fd, "fifo.log") || fd == "/dev/zero" {
			t.Errorf("%s is open", fd)
		}
	}
}

// threads returns how many the agent has.
func (h *host) threads() int {
	h.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", h.agent.PID()))
	h.must(err)
	return len(tasks)
}

// stuck names the threads that are in a call that cannot be ended.
func (h *host) stuck() (names string) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", h.agent.PID()))
	for _, path := range tasks {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "D") {
			names += " " + string(stat)
		}
	}
	return names
}
