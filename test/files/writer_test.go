package files

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

const (
	id = "daemon"
	// Lines a second: where figures are wanted, and where other tests run beside.
	rate, gentle = 20_000, 4_000
)

// daemon writes lines to a log, appending, and opens it again at a signal, as daemons do;
// reopened is a file that it then makes.
type daemon struct {
	path, reopened string
	rate           float64
	signals        chan os.Signal
	stop           chan struct{}
	done           sync.WaitGroup
	lines          atomic.Int64
	err            error // to be read when it is stopped
}

func startDaemon(t *testing.T, path, reopened string, reopen os.Signal, rate float64) *daemon {
	t.Helper()
	d := &daemon{path: path, reopened: reopened, rate: rate, signals: make(chan os.Signal, 1), stop: make(chan struct{})}
	signal.Notify(d.signals, reopen)
	d.done.Go(func() { d.err = d.run() })
	return d
}

// end stops it and returns how many lines it has written, numbered from 1 on.
func (d *daemon) end(t *testing.T) int64 {
	t.Helper()
	close(d.stop)
	d.done.Wait()
	signal.Stop(d.signals)
	if d.err != nil {
		t.Fatal(d.err)
	}
	return d.lines.Load()
}

func (d *daemon) run() error {
	f, err := d.open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the lines were written
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	var text []byte
	for n := int64(0); ; {
		select {
		case <-d.stop:
			return nil
		case <-d.signals:
			_ = f.Close()
			if f, err = d.open(); err != nil {
				return err
			}
			if err := os.WriteFile(d.reopened, nil, 0o600); err != nil {
				return err
			}
		case now := <-tick.C:
			for due := int64(now.Sub(start).Seconds() * d.rate); n < due; d.lines.Store(n) {
				text = text[:0]
				for range min(due-n, 10) {
					n++
					text = append(line.Append(text, line.Plain, id, n, 100+int(n%100), now), '\n')
				}
				if _, err := f.Write(text); err != nil {
					return err
				}
			}
		}
	}
}

func (d *daemon) open() (*os.File, error) {
	return os.OpenFile(d.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// left adds the whole lines that are in the log and in its copies and archives to a ledger,
// and returns how many these are, and how many copies end within a line.
func left(t *testing.T, dir string, l *harness.Ledger) (lines, torn int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		whole, half := leftIn(t, filepath.Join(dir, e.Name()), l)
		lines, torn = lines+whole, torn+half
	}
	return lines, torn
}

func leftIn(t *testing.T, path string, l *harness.Ledger) (lines, torn int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	b := bufio.NewReader(in)
	for {
		text, err := b.ReadString('\n')
		if err != nil {
			return lines, min(int64(len(text)), 1)
		}
		_, seq, err := line.Parse([]byte(strings.TrimSuffix(text, "\n")))
		if err != nil {
			t.Fatalf("%s: %v: %q", path, err, text)
		}
		l.Expect(id, seq, seq)
		lines++
	}
}
