package sim

import (
	"bytes"
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/task"
)

// wire is the network between one agent and the engine. Each request takes a time of its
// own, so that no two containers are read at the same instant; the kernel closes what a
// killed process leaves open.
type wire struct {
	pipe *dockertest.Pipe
	dice dice
	log  *trace

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

// dial fits docker.NewWithDial.
func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := w.pipe.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		_ = c.Close() // of this end, which nobody has seen
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	w.conns[c] = true
	return &conn{c, w}, nil
}

// cut closes all connections and makes no more.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for c := range w.conns {
		_ = c.Close() // the other end sees it
	}
}

type conn struct {
	net.Conn
	w *wire
}

// Write sends, a request after a while.
func (c *conn) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("GET ")) {
		target, _, _ := bytes.Cut(b[4:], []byte("?"))
		line, _, _ := bytes.Cut(b, []byte("\r"))
		c.w.log.detail("%s", line)
		task.Sleep(context.Background(), c.w.dice.of("wire", string(target)).now().between(50*time.Microsecond, 2*time.Millisecond))
	}
	return c.Conn.Write(b)
}

// Close closes and forgets it.
func (c *conn) Close() error {
	c.w.mu.Lock()
	delete(c.w.conns, c.Conn)
	c.w.mu.Unlock()
	return c.Conn.Close()
}
