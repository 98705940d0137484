package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/test/harness"
)

// serverEnv makes the test binary a counting Loki, in a process of its own, so that
// its work is not counted as the agent's.
const serverEnv = "LOG_CAPTURER_BENCH_SERVER"

// The agent and the limit run on one core, the counting server on the other.
const agentCore, serverCore = 1, 0

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serve counts the entries that are pushed, until its input ends.
func serve() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	var lines atomic.Int64
	var body, plain []byte
	mux := http.NewServeMux()
	mux.HandleFunc("POST /loki/api/v1/push", func(w http.ResponseWriter, r *http.Request) {
		buf := bytes.NewBuffer(body[:0])
		_, err := buf.ReadFrom(r.Body)
		body = buf.Bytes()
		if err == nil {
			plain, err = s2.Decode(plain[:cap(plain)], body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		lines.Add(countEntries(plain))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /lines", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, lines.Load()) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// countEntries counts field 2 of each field 1 of a logproto.PushRequest.
func countEntries(push []byte) (n int64) {
	fields(push, func(field uint64, stream []byte) {
		if field == 1 {
			fields(stream, func(field uint64, _ []byte) {
				if field == 2 {
					n++
				}
			})
		}
	})
	return n
}

// fields calls fn with each length-delimited field of a message; others end it.
func fields(b []byte, fn func(field uint64, value []byte)) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag&7 != 2 {
			return
		}
		size, m := binary.Uvarint(b[n:])
		if m <= 0 || uint64(len(b)-n-m) < size {
			return
		}
		fn(tag>>3, b[n+m:n+m+int(size)])
		b = b[n+m+int(size):]
	}
}

// server starts a counting Loki and returns its URL and what it has counted.
func server(b *testing.B) (url string, count func() int64) {
	b.Helper()
	cmd := exec.Command("taskset", "-c", strconv.Itoa(serverCore), os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	addr := make([]byte, 64)
	n, err := out.Read(addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	url = "http://" + strings.TrimSpace(string(addr[:n]))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return url, func() int64 {
		res, err := client.Get(url + "/lines")
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			b.Fatal(err)
		}
		lines, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return lines
	}
}

// BenchmarkAgent runs the shipped agent on one core over one large file that is there
// already, with Loki's defaults, and compares it with what that core can do at best:
// read, split, copy (or unescape) and compress the same bytes, measured just before.
// share_% is by processor time, the agent's start included.
func BenchmarkAgent(b *testing.B) {
	size := Size(b)
	for _, kind := range []struct {
		name    string
		content []byte
		add     func(*limit, []byte)
	}{
		{"plain", Lines("bench", size), (*limit).copy},
		{"jsonfile", JSONFile("bench", size), (*limit).unescape},
	} {
		b.Run(kind.name, func(b *testing.B) {
			bin := harness.ShippedAgent(b)
			path := File(b, "bench-json.log", kind.content)
			lines := int64(bytes.Count(kind.content, []byte("\n")))
			mb := float64(len(kind.content)) / 1e6
			var wall, cpu, best time.Duration
			for b.Loop() {
				best += limitTime(b, path, kind.add)
				w, c := runAgent(b, bin, kind.name, path, lines)
				wall, cpu = wall+w, cpu+c
			}
			n := float64(b.N)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(n*mb/wall.Seconds(), "MB/s")
			b.ReportMetric(n*mb/cpu.Seconds(), "MB/cpu-s")
			b.ReportMetric(n*mb/best.Seconds(), "limit_MB/s")
			b.ReportMetric(100*best.Seconds()/cpu.Seconds(), "share_%")
		})
	}
}

// limitTime is how long the agent's core takes for the work that cannot be left out.
func limitTime(b *testing.B, path string, add func(*limit, []byte)) time.Duration {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	only.Set(agentCore)
	if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, &only)); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	l := newLimit(true)
	began := time.Now()
	if _, err := l.file(path, add); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// runAgent lets the agent deliver the file and returns wall and processor time.
func runAgent(b *testing.B, bin, kind, path string, lines int64) (wall, cpu time.Duration) {
	b.Helper()
	url, count := server(b)
	monitors := fmt.Sprintf("container_monitor: {enabled: false}\nfile_monitor: {include: [%q]}\n", path)
	if kind == "jsonfile" {
		engine := dockertest.New(b)
		engine.Create(dockertest.Container{ID: strings.Repeat("a", 64), Name: "bench", Image: "bench", Running: true, Created: time.Now(), LogPath: path})
		monitors = fmt.Sprintf("container_monitor: {docker_host: %q, read: file}\nfile_monitor: {enabled: false}\n", engine.Host())
	}
	dir := b.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("data_dir: %s\nserver: {listen: 127.0.0.1:0}\nlog: {level: warn}\ncanary: {enabled: false}\n%ssinks: {loki: {url: %q}}\n", dir, monitors, url)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("taskset", "-c", strconv.Itoa(agentCore), bin, "run", "-c", config)
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	harness.Eventually(b, 5*time.Minute, "all lines", func() (bool, string) {
		n := count()
		return n >= lines, fmt.Sprintf("%d of %d", n, lines)
	})
	wall = time.Since(began)
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	if n := count(); n != lines {
		b.Fatalf("%d lines counted, want %d", n, lines)
	}
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
