package dockertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (e *Engine) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		w.Header().Set("Api-Version", e.version)
		_, _ = w.Write([]byte("OK")) // an error is the client's
	})
	mux.HandleFunc("GET /{version}/info", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"DockerRootDir": e.Root, "LoggingDriver": e.Driver})
	})
	mux.HandleFunc("GET /{version}/containers/json", e.list)
	mux.HandleFunc("GET /{version}/containers/{id}/json", e.inspect)
	mux.HandleFunc("GET /{version}/containers/{id}/logs", e.logs)
	mux.HandleFunc("GET /{version}/events", e.subscribe)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.Server != "" {
			w.Header().Set("Server", e.Server)
		}
		if e.awake(r) && e.understands(w, r) {
			mux.ServeHTTP(w, r)
		}
	})
}

// awake waits while the engine is frozen; false = the client gave up meanwhile.
func (e *Engine) awake(r *http.Request) bool {
	e.mu.Lock()
	thawed := e.thawed
	e.mu.Unlock()
	select {
	case <-thawed:
		return true
	case <-r.Context().Done():
		return false
	}
}

// understands refuses a request of an API version that is newer than the engine's.
func (e *Engine) understands(w http.ResponseWriter, r *http.Request) bool {
	asked, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	asked, versioned := strings.CutPrefix(asked, "v")
	e.mu.Lock()
	newest := e.version
	e.mu.Unlock()
	if versioned && minor(asked) > minor(newest) {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("client version %s is too new. Maximum supported API version is %s", asked, newest))
		return false
	}
	return true
}

// minor returns the 41 of 1.41.
func minor(version string) int {
	_, text, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(text) // 0 for what is none
	return n
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // an error is the client's
}

func refuse(w http.ResponseWriter, code int, message string) {
	answer(w, code, map[string]string{"message": message})
}

func noSuch(w http.ResponseWriter, id string) {
	refuse(w, http.StatusNotFound, "No such container: "+id)
}

// item is a container in a list.
type item struct {
	ID           string `json:"Id"`
	Names        []string
	Image, State string
	Labels       map[string]string
	Created      int64
}

func (e *Engine) list(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	out := make([]item, 0, len(e.containers))
	present := e.order[:0]
	for _, id := range e.order {
		c := e.containers[id]
		if c == nil {
			continue
		}
		present = append(present, id)
		out = append(out, item{ID: c.ID, Names: []string{"/" + c.Name}, Image: c.Image, State: c.state(), Labels: c.Labels, Created: c.Created.Unix()})
	}
	e.order = present
	e.mu.Unlock()
	answer(w, http.StatusOK, out)
}

func (e *Engine) inspect(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.inspects++
	b := e.find(r.PathValue("id"))
	if b == nil {
		e.mu.Unlock()
		noSuch(w, r.PathValue("id"))
		return
	}
	c := b.Container
	e.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"Id": c.ID, "Name": "/" + c.Name, "LogPath": c.LogPath,
		"State": map[string]any{
			"Status": c.state(), "Running": c.Running, "ExitCode": c.ExitCode, "OOMKilled": c.OOM,
			"StartedAt": c.Started.UTC().Format(time.RFC3339Nano), "FinishedAt": c.Finished.UTC().Format(time.RFC3339Nano),
		},
		"Config":     map[string]any{"Image": c.Image, "Labels": c.Labels, "Tty": c.TTY, "Env": []string{"SECRET=1"}},
		"HostConfig": map[string]any{"LogConfig": map[string]any{"Type": c.driver(), "Config": c.LogOpts}},
	})
}

// stamp reads sec.nsec as the engine takes it.
func stamp(text string) int64 {
	seconds, nanos, _ := strings.Cut(text, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(fmt.Sprintf("%s000000000", nanos)[:9], 10, 64)
	return s*1e9 + n
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
