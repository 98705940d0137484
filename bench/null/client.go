package null

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childEnv makes the program that called Start a server.
const childEnv = "LOG_CAPTURER_BENCH_SERVER"

// Child is called first thing in main, or TestMain, of a program that calls Start. It
// returns at once, unless this process is the one that Start started: then never.
func Child() {
	if os.Getenv(childEnv) == "" {
		return
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "null server:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Server is one that runs as a process of its own.
type Server struct {
	// Addr is host:port.
	Addr string
	cmd  *exec.Cmd
	in   io.Closer
	http *http.Client
}

// Start starts this program again, as a server on one core. The caller closes it.
func Start(core int) (*Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("taskset", "-c", strconv.Itoa(core), self)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the null server: %w", err)
	}
	s := &Server{cmd: cmd, in: in, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}}
	addr := make([]byte, 64)
	n, err := out.Read(addr)
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("start the null server: it said no address: %w", err)
	}
	s.Addr = strings.TrimSpace(string(addr[:n]))
	return s, nil
}

// Close ends it.
func (s *Server) Close() error {
	s.http.CloseIdleConnections()
	_ = s.in.Close()
	return s.cmd.Wait()
}

// Report returns what it has seen.
func (s *Server) Report() (r Report, err error) { return r, s.get(pathReport, &r) }

// Arrivals returns when each line came, by source and number, in ns since the epoch; 0 = not.
// It has it notice that from the first call on.
func (s *Server) Arrivals() (at map[string][]int64, err error) { return at, s.get(pathArrivals, &at) }

// SetDown makes it refuse requests with 503, or take them again.
func (s *Server) SetDown(down bool) error {
	if down {
		return s.get(pathDown, &struct{}{})
	}
	return s.get(pathUp, &struct{}{})
}

func (s *Server) get(path string, into any) error {
	res, err := s.http.Get("http://" + s.Addr + path)
	if err != nil {
		return fmt.Errorf("ask the null server: %w", err)
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}
