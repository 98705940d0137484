package dockertest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (e *Engine) list(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []map[string]any{}
	for _, id := range e.order {
		c := e.containers[id]
		if c == nil {
			continue
		}
		out = append(out, map[string]any{
			"Id": c.ID, "Names": []string{"/" + c.Name}, "Image": c.Image, "Labels": c.Labels,
			"State": c.state(), "Created": c.Created.Unix(),
		})
	}
	answer(w, http.StatusOK, out)
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

func (e *Engine) inspect(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inspects++
	c := e.find(w, r)
	if c == nil {
		return
	}
	driver := c.Driver
	if driver == "" {
		driver = "json-file"
	}
	answer(w, http.StatusOK, map[string]any{
		"Id": c.ID, "Name": "/" + c.Name, "LogPath": c.LogPath,
		"State":      map[string]any{"Status": c.state(), "Running": c.Running, "StartedAt": c.Started.UTC().Format(time.RFC3339Nano)},
		"Config":     map[string]any{"Image": c.Image, "Labels": c.Labels, "Tty": c.TTY, "Env": []string{"SECRET=1"}},
		"HostConfig": map[string]any{"LogConfig": map[string]any{"Type": driver, "Config": map[string]string{}}},
	})
}

func (e *Engine) subscribe(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	next := len(e.events)
	if since := stamp(r.FormValue("since")); since != 0 {
		for next = 0; next < len(e.events) && e.events[next].TimeNano < since; next++ {
		}
	}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush(w)
	for {
		e.mu.Lock()
		next = min(next, len(e.events))
		fresh, changed := e.events[next:], e.changed
		next = len(e.events)
		e.mu.Unlock()
		for _, ev := range fresh {
			_ = json.NewEncoder(w).Encode(ev) // an error is the client's
		}
		flush(w)
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (e *Engine) logs(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	c := e.find(w, r)
	if c == nil {
		e.mu.Unlock()
		return
	}
	switch {
	case c.Removing:
		e.mu.Unlock()
		refuse(w, http.StatusConflict, "can not get logs from container which is dead or marked for removal")
		return
	case c.Driver == "none":
		e.mu.Unlock()
		refuse(w, http.StatusNotImplemented, "configured logging driver does not support reading")
		return
	}
	q := query{c: c, perRecord: e.PerRecord, since: stamp(r.FormValue("since")),
		stdout: r.FormValue("stdout") == "1", stderr: r.FormValue("stderr") == "1"}
	if tail, err := strconv.Atoi(r.FormValue("tail")); err == nil {
		q.next = max(0, len(c.Records)-tail)
	}
	follow := r.FormValue("follow") == "1"
	e.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	flush(w)
	for {
		e.mu.Lock()
		data := q.take()
		end, changed := !follow || !c.Running || e.containers[c.ID] != c, e.changed
		e.mu.Unlock()
		_, _ = w.Write(data) // an error is the client's
		flush(w)
		if end {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// query is what is still to be sent of a log.
type query struct {
	c              *Container
	next           int
	since          int64
	matched        bool
	perRecord      bool
	stdout, stderr bool
}

func (q *query) take() (out []byte) {
	for ; q.next < len(q.c.Records); q.next++ {
		rec := q.c.Records[q.next]
		if rec.Time < q.since && (q.perRecord || !q.matched) {
			continue
		}
		q.matched = true
		if rec.Stderr && !q.stderr || !rec.Stderr && !q.stdout {
			continue
		}
		text := time.Unix(0, rec.Time).UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + rec.Data
		if !q.c.TTY {
			kind := byte(1)
			if rec.Stderr {
				kind = 2
			}
			out = append(out, kind, 0, 0, 0)
			out = binary.BigEndian.AppendUint32(out, uint32(len(text)))
		}
		out = append(out, text...)
	}
	return out
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
