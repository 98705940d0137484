package dockertest

import (
	"encoding/binary"
	"net/http"
	"strconv"
	"time"
)

func (e *Engine) logs(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	b := e.find(r.PathValue("id"))
	switch {
	case b == nil:
		e.mu.Unlock()
		noSuch(w, r.PathValue("id"))
		return
	case b.Removing:
		e.mu.Unlock()
		refuse(w, http.StatusConflict, "can not get logs from container which is dead or marked for removal")
		return
	case b.Driver == "none":
		e.mu.Unlock()
		refuse(w, http.StatusNotImplemented, "configured logging driver does not support reading")
		return
	}
	q := query{
		b: b, perRecord: e.PerRecord, since: stamp(r.FormValue("since")), until: stamp(r.FormValue("until")),
		stdout: r.FormValue("stdout") == "1", stderr: r.FormValue("stderr") == "1",
	}
	if tail, err := strconv.Atoi(r.FormValue("tail")); err == nil && tail >= 0 {
		q.next = max(0, len(b.Records)-tail)
	}
	follow := r.FormValue("follow") == "1"
	if follow {
		e.followers++
		defer func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.followers--
		}()
	}
	e.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	flush(w)
	for {
		e.mu.Lock()
		data := q.take()
		more := !q.ended && q.next < len(b.Records)
		end := !more && (q.ended || !follow || !b.Running || e.containers[b.ID] != b)
		var changed <-chan struct{}
		if !end && !more {
			changed = b.wait()
		}
		e.mu.Unlock()
		if len(data) > 0 {
			if _, err := w.Write(data); err != nil {
				return // the client is gone
			}
			flush(w)
		}
		if end {
			return
		}
		if more {
			continue
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
		if !e.awake(r) {
			return
		}
	}
}

// query is what is still to be sent of a log.
type query struct {
	b              *box
	next           int
	since, until   int64
	matched        bool
	ended          bool // a record beyond until was met
	perRecord      bool
	stdout, stderr bool
}

// chunk is how much is made and written at once, in bytes.
const chunk = 64 << 10

// take returns the next records that are there, as the engine sends them. The caller
// holds mu.
func (q *query) take() (out []byte) {
	for ; q.next < len(q.b.Records) && len(out) < chunk; q.next++ {
		rec := &q.b.Records[q.next]
		if rec.Time < q.since && (q.perRecord || !q.matched) {
			continue
		}
		q.matched = true
		if q.until != 0 && rec.Time > q.until {
			q.ended = true
			return out
		}
		if rec.Stderr && !q.stderr || !rec.Stderr && !q.stdout {
			continue
		}
		out = q.append(out, rec)
	}
	return out
}

func (q *query) append(out []byte, rec *Record) []byte {
	const layout = "2006-01-02T15:04:05.000000000Z07:00 "
	if !q.b.TTY {
		kind := byte(1)
		if rec.Stderr {
			kind = 2
		}
		out = append(out, kind, 0, 0, 0)
		out = binary.BigEndian.AppendUint32(out, uint32(len("2006-01-02T15:04:05.000000000Z ")+len(rec.Data)))
	}
	out = time.Unix(0, rec.Time).UTC().AppendFormat(out, layout)
	return append(out, rec.Data...)
}
