// Package dockertest is a Docker Engine for tests: a server that speaks the part of the
// Engine API that the agent uses, and does what its test tells it, on a Unix socket, any
// other listener or in memory. A test in package docker compares it with the real engine.
//
// It costs little per container: whoever follows a log is woken by that log alone.
package dockertest

import (
	"cmp"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Container is one container of the engine.
type Container struct {
	ID, Name, Image string
	Labels          map[string]string
	TTY, Running    bool
	Created         time.Time
	Started         time.Time
	// Finished is when it last ended, ExitCode and OOM how.
	Finished time.Time
	ExitCode int
	OOM      bool
	Driver   string // json-file when empty
	LogOpts  map[string]string
	LogPath  string
	Records  []Record
	// Removing makes requests for its log a conflict.
	Removing bool
}

// Record is what the engine stores of one write: a line with its newline, or a piece.
type Record struct {
	Stderr bool
	Time   int64 // ns since the epoch
	Data   string
}

// box is a container and what wakes those who follow its log.
type box struct {
	Container
	changed chan struct{} // nil while nobody waits
}

// wake wakes who waits. The caller holds mu.
func (b *box) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// wait returns a channel that is closed at the next change. The caller holds mu.
func (b *box) wait() <-chan struct{} {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// Engine is the server. Its methods are safe for concurrent use.
type Engine struct {
	// Root is its data directory, which is the test's to fill.
	Root string
	// Driver is what it says its default log driver is.
	Driver string
	// Server is what it calls itself, as Podman does with Libpod/4.3.1; set before it is asked.
	Server string
	// PerRecord makes since a condition for each record, as in 20.10, and not only for the first.
	PerRecord bool

	host   string
	listen func() (net.Listener, error)
	server *httptest.Server

	mu         sync.Mutex
	version    string
	containers map[string]*box
	order      []string
	events     broker
	inspects   int
	followers  int
	thawed     chan struct{} // closed unless it is frozen
}

// New starts an engine on a Unix socket that ends with the test.
func New(t testing.TB) *Engine {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "docker.sock")
	return start(t, dir, "unix://"+socket, func() (net.Listener, error) { return net.Listen("unix", socket) })
}

// Serve starts an engine on a listener, which becomes the engine's, and ends it with the
// test. Only one on a *Pipe can be taken Up again after Down.
func Serve(t testing.TB, listener net.Listener) *Engine {
	t.Helper()
	return start(t, t.TempDir(), "tcp://"+listener.Addr().String(), func() (net.Listener, error) {
		if p, ok := listener.(*Pipe); ok {
			p.open()
		}
		return listener, nil
	})
}

// Listen is New for callers without a test, with its socket in dir. Down ends it.
func Listen(dir string) (*Engine, error) {
	socket := filepath.Join(dir, "docker.sock")
	e := newEngine(dir, "unix://"+socket, func() (net.Listener, error) { return net.Listen("unix", socket) })
	return e, e.up()
}

func start(t testing.TB, dir, host string, listen func() (net.Listener, error)) *Engine {
	t.Helper()
	e := newEngine(dir, host, listen)
	e.Up(t)
	t.Cleanup(e.Down)
	return e
}

func newEngine(dir, host string, listen func() (net.Listener, error)) *Engine {
	e := &Engine{
		Root: filepath.Join(dir, "root"), host: host, listen: listen,
		version: "1.41", containers: map[string]*box{}, thawed: make(chan struct{}),
	}
	close(e.thawed)
	return e
}

// Host returns its address.
func (e *Engine) Host() string { return e.host }

// SetVersion sets the API version that it announces, the newest that it understands.
func (e *Engine) SetVersion(v string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version = v
}

// Up makes the engine answer.
func (e *Engine) Up(t testing.TB) {
	t.Helper()
	if err := e.up(); err != nil {
		t.Fatal(err)
	}
}

func (e *Engine) up() error {
	listener, err := e.listen()
	if err != nil {
		return err
	}
	quiet := log.New(io.Discard, "", 0) // of clients that go away
	e.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: e.routes(), ErrorLog: quiet}}
	e.server.Start()
	return nil
}

// Down makes it go away: its streams break, its socket is gone, its events are forgotten.
func (e *Engine) Down() {
	if e.server == nil {
		return
	}
	e.Thaw()
	_ = e.server.Listener.Close() // Close does it again and reports nothing either
	e.server.CloseClientConnections()
	e.server.Close()
	e.server = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events.ring = nil
}

// Freeze does what SIGSTOP does to dockerd: connections are accepted, and nothing is
// answered or sent until Thaw.
func (e *Engine) Freeze() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.thawed:
		e.thawed = make(chan struct{})
	default:
	}
}

// Thaw ends Freeze.
func (e *Engine) Thaw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.thawed:
	default:
		close(e.thawed)
	}
}

// Inspects returns how often a container was inspected.
func (e *Engine) Inspects() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inspects
}

// Followers returns how many log requests with follow are being served.
func (e *Engine) Followers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.followers
}

// Create adds a container.
func (e *Engine) Create(c Container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.Created.IsZero() {
		c.Created = time.Now()
	}
	e.put(c)
	e.emit(c, "create", nil)
}

// Hidden adds or changes a container without an event.
func (e *Engine) Hidden(c Container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(c)
}

func (e *Engine) put(c Container) {
	if old := e.containers[c.ID]; old != nil {
		old.wake()
	} else {
		e.order = append(e.order, c.ID)
	}
	e.containers[c.ID] = &box{Container: c}
}

// Emit sends an event about a container that need not exist. A die carries its ExitCode.
func (e *Engine) Emit(c Container, action string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var extra map[string]string
	if action == "die" {
		extra = map[string]string{"exitCode": strconv.Itoa(c.ExitCode)}
	}
	e.emit(c, action, extra)
}

// Start, Die, Rename and Destroy do what docker does, with its event.
func (e *Engine) Start(id string) {
	e.on(id, "start", nil, func(b *box) { b.Running, b.OOM, b.Started = true, false, time.Now() })
}

// Die ends a container with exit code 0: its followers get all records and then the end.
func (e *Engine) Die(id string) { e.Exit(id, 0) }

// Exit ends a container with an exit code.
func (e *Engine) Exit(id string, code int) {
	e.on(id, "die", map[string]string{"exitCode": strconv.Itoa(code)}, func(b *box) {
		b.Running, b.Finished, b.ExitCode = false, time.Now(), code
	})
}

// OOM tells that a process of a container was killed for want of memory.
func (e *Engine) OOM(id string) {
	e.on(id, "oom", nil, func(b *box) { b.OOM = true })
}

// Rename renames a container.
func (e *Engine) Rename(id, name string) {
	e.on(id, "rename", nil, func(b *box) { b.Name = name })
}

// Destroy removes a container.
func (e *Engine) Destroy(id string) {
	e.on(id, "destroy", nil, func(*box) { delete(e.containers, id) })
}

func (e *Engine) on(id, action string, extra map[string]string, change func(*box)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.containers[id]
	change(b)
	e.emit(b.Container, action, extra)
	b.wake()
}

// Append appends records to a container's log.
func (e *Engine) Append(id string, records ...Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.containers[id]
	b.Records = append(b.Records, records...)
	b.wake()
}

// find returns the container that a request names by its id, the id's beginning or its
// name, or nil. The caller holds mu.
func (e *Engine) find(ref string) *box {
	if b := e.containers[ref]; b != nil {
		return b
	}
	for _, b := range e.containers {
		if strings.HasPrefix(b.ID, ref) || b.Name == ref {
			return b
		}
	}
	return nil
}

func (c *Container) state() string {
	switch {
	case c.Running:
		return "running"
	case c.Started.IsZero():
		return "created"
	}
	return "exited"
}

func (c *Container) driver() string { return cmp.Or(c.Driver, "json-file") }
