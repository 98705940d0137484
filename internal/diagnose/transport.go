package diagnose

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Endpoint is what is open to one place.
type Endpoint struct {
	Endpoint  string `json:"endpoint"`
	Component string `json:"component"`
	// Open connections; Streaming of them carry a stream or an answer that is still
	// read, Idle ones nothing.
	Open      int `json:"open"`
	Streaming int `json:"streaming"`
	Idle      int `json:"idle"`
	// Oldest is when the oldest connection or stream was opened.
	Oldest time.Time `json:"oldest,omitzero"`
	// Unclosed were given up without being closed, since the agent started.
	Unclosed int64 `json:"unclosed"`
}

// Transports lists the HTTP connections of the agent, by endpoint: those that it has
// opened and, of component server, those that others have opened to it. Streams
// and answers whose endpoint is not told count for their component's only endpoint.
func Transports(s Snapshot) []Endpoint {
	type place struct{ endpoint, component string }
	all := map[place]*Endpoint{}
	only := map[string]string{}
	several := map[string]bool{}
	for _, h := range s.Held {
		if h.Kind != connection || h.Endpoint == "" {
			continue
		}
		if was, seen := only[h.Component]; seen && was != h.Endpoint {
			several[h.Component] = true
		}
		only[h.Component] = h.Endpoint
	}
	for _, h := range s.Held {
		if h.Kind != connection && h.Kind != engineStream && h.Kind != responseBody {
			continue
		}
		endpoint := h.Endpoint
		if endpoint == "" && !several[h.Component] {
			endpoint = only[h.Component]
		}
		at := place{endpoint, h.Component}
		e := all[at]
		if e == nil {
			e = &Endpoint{Endpoint: endpoint, Component: h.Component}
			all[at] = e
		}
		if h.Kind == connection {
			e.Open += h.Count
		} else {
			e.Streaming += h.Count
		}
		e.Unclosed += h.Unclosed
		if e.Oldest.IsZero() || !h.Oldest.IsZero() && h.Oldest.Before(e.Oldest) {
			e.Oldest = h.Oldest
		}
	}
	out := make([]Endpoint, 0, len(all))
	for _, e := range all {
		e.Idle = max(0, e.Open-e.Streaming)
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Component, b.Component))
	})
	return out
}

// Transports writes the connections; now is when the census was taken.
func (p *Printer) Transports(all []Endpoint, now time.Time) {
	if len(all) == 0 {
		p.line("no HTTP connections are open")
		return
	}
	var rows [][]string
	for _, e := range all {
		endpoint := e.Endpoint
		switch {
		case endpoint == "":
			endpoint = "(not told)"
		case e.Component == "server":
			endpoint += " (others to the agent)"
		}
		rows = append(rows, []string{units.Printable(endpoint), component(e.Component), strconv.Itoa(e.Open), strconv.Itoa(e.Streaming), strconv.Itoa(e.Idle), age(e.Oldest, now), strconv.FormatInt(e.Unclosed, 10)})
	}
	p.section("HTTP connections", []string{"ENDPOINT", "COMPONENT", ">OPEN", ">STREAMING", ">IDLE", ">OLDEST", ">GIVEN UP UNCLOSED"}, rows)
	p.line("")
	p.line("A connection that the agent has opened costs two goroutines and a descriptor. Streaming means")
	p.line("that its answer has not been read to its end: a log that is followed, or one that nobody closed.")
}

func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return units.Duration(max(0, now.Sub(since)).Round(time.Second)).String()
}
