// Package dockertest is a Docker Engine for tests: a server on a Unix socket that speaks
// the part of the Engine API that the agent uses, and does what its test tells it. A test
// in package docker compares it with the real engine.
package dockertest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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
	Driver          string // json-file when empty
	LogPath         string
	Records         []Record
	// Removing makes requests for its log a conflict.
	Removing bool
}

// Record is what the engine stores of one write: a line with its newline, or a piece.
type Record struct {
	Stderr bool
	Time   int64 // ns since the epoch
	Data   string
}

// Engine is the server. Its methods are safe for concurrent use.
type Engine struct {
	// Root is its data directory, which is the test's to fill.
	Root string
	// PerRecord makes since a condition for each record, as in 20.10, and not only for the first.
	PerRecord bool

	socket string
	server *httptest.Server

	mu         sync.Mutex
	version    string
	containers map[string]*Container
	order      []string
	events     []event
	inspects   int
	changed    chan struct{} // closed and replaced at each change
}

type event struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	Time     int64 `json:"time"`
	TimeNano int64 `json:"timeNano"`
}

// New starts an engine that ends with the test.
func New(t testing.TB) *Engine {
	t.Helper()
	dir := t.TempDir()
	e := &Engine{
		Root: filepath.Join(dir, "root"), socket: filepath.Join(dir, "docker.sock"),
		version: "1.41", containers: map[string]*Container{}, changed: make(chan struct{}),
	}
	e.Up(t)
	t.Cleanup(e.Down)
	return e
}

// Host returns its address.
func (e *Engine) Host() string { return "unix://" + e.socket }

// SetVersion sets the API version that it announces.
func (e *Engine) SetVersion(v string) {
	e.change(func() { e.version = v })
}

// Up makes the engine answer.
func (e *Engine) Up(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	e.server = httptest.NewUnstartedServer(e.routes())
	if err := e.server.Listener.Close(); err != nil { // the one it made for itself
		t.Fatal(err)
	}
	e.server.Listener = listener
	e.server.Start()
}

// Down makes it go away: its streams break, its socket is gone, its events are forgotten.
func (e *Engine) Down() {
	if e.server == nil {
		return
	}
	_ = e.server.Listener.Close() // Close does it again and reports nothing either
	e.server.CloseClientConnections()
	e.server.Close()
	e.server = nil
	e.change(func() { e.events = nil })
}

// Inspects returns how often a container was inspected.
func (e *Engine) Inspects() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inspects
}

func (e *Engine) change(fn func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fn()
	close(e.changed)
	e.changed = make(chan struct{})
}

// Create adds a container.
func (e *Engine) Create(c Container) {
	e.change(func() {
		if c.Created.IsZero() {
			c.Created = time.Now()
		}
		e.containers[c.ID] = &c
		e.order = append(e.order, c.ID)
		e.emit(&c, "create")
	})
}

// Hidden adds or changes a container without an event.
func (e *Engine) Hidden(c Container) {
	e.change(func() {
		if e.containers[c.ID] == nil {
			e.order = append(e.order, c.ID)
		}
		e.containers[c.ID] = &c
	})
}

// Emit sends an event about a container that need not exist.
func (e *Engine) Emit(c Container, action string) {
	e.change(func() { e.emit(&c, action) })
}

// Start, Die, Rename and Destroy do what docker does, with its event.
func (e *Engine) Start(id string) {
	e.change(func() {
		c := e.containers[id]
		c.Running, c.Started = true, time.Now()
		e.emit(c, "start")
	})
}

// Die ends a container: its followers get all records and then the end.
func (e *Engine) Die(id string) {
	e.change(func() {
		e.containers[id].Running = false
		e.emit(e.containers[id], "die")
	})
}

// Rename renames a container.
func (e *Engine) Rename(id, name string) {
	e.change(func() {
		e.containers[id].Name = name
		e.emit(e.containers[id], "rename")
	})
}

// Destroy removes a container.
func (e *Engine) Destroy(id string) {
	e.change(func() {
		c := e.containers[id]
		delete(e.containers, id)
		e.emit(c, "destroy")
	})
}

// Log appends records to a container's log.
func (e *Engine) Log(id string, records ...Record) {
	e.change(func() { e.containers[id].Records = append(e.containers[id].Records, records...) })
}

func (e *Engine) emit(c *Container, action string) {
	now := time.Now()
	ev := event{Type: "container", Action: action, Time: now.Unix(), TimeNano: now.UnixNano()}
	ev.Actor.ID = c.ID
	ev.Actor.Attributes = map[string]string{"image": c.Image, "name": c.Name}
	for k, v := range c.Labels {
		ev.Actor.Attributes[k] = v
	}
	e.events = append(e.events, ev)
}

func (e *Engine) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		w.Header().Set("Api-Version", e.version)
		_, _ = w.Write([]byte("OK")) // an error is the client's
	})
	mux.HandleFunc("GET /{version}/info", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"DockerRootDir": e.Root})
	})
	mux.HandleFunc("GET /{version}/containers/json", e.list)
	mux.HandleFunc("GET /{version}/containers/{id}/json", e.inspect)
	mux.HandleFunc("GET /{version}/containers/{id}/logs", e.logs)
	mux.HandleFunc("GET /{version}/events", e.subscribe)
	return mux
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // an error is the client's
}

func refuse(w http.ResponseWriter, code int, message string) {
	answer(w, code, map[string]string{"message": message})
}

// find answers for itself when there is no such container. The caller holds mu.
func (e *Engine) find(w http.ResponseWriter, r *http.Request) *Container {
	id := r.PathValue("id")
	for _, c := range e.containers {
		if strings.HasPrefix(c.ID, id) || c.Name == id {
			return c
		}
	}
	refuse(w, http.StatusNotFound, "No such container: "+id)
	return nil
}
