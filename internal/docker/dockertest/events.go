package dockertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

// remembered is how many events the engine keeps for those who ask since a time.
const remembered = 256

type event struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	Time     int64 `json:"time"`
	TimeNano int64 `json:"timeNano"`
}

// broker hands events to subscribers. It is used under the engine's mu.
type broker struct {
	ring        []event
	subscribers map[*subscriber]bool
}

type subscriber struct {
	pending []event
	wake    chan struct{} // holds one token while something is pending
}

func (b *broker) subscribe(since int64) *subscriber {
	s := &subscriber{wake: make(chan struct{}, 1)}
	for _, ev := range b.ring {
		if since != 0 && ev.TimeNano >= since {
			s.push(ev)
		}
	}
	if b.subscribers == nil {
		b.subscribers = map[*subscriber]bool{}
	}
	b.subscribers[s] = true
	return s
}

func (b *broker) publish(ev event) {
	b.ring = append(b.ring, ev)
	if n := len(b.ring) - remembered; n > 0 {
		b.ring = append(b.ring[:0:0], b.ring[n:]...)
	}
	for s := range b.subscribers {
		s.push(ev)
	}
}

func (s *subscriber) push(ev event) {
	s.pending = append(s.pending, ev)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (e *Engine) emit(c Container, action string, extra map[string]string) {
	now := time.Now()
	ev := event{Type: "container", Action: action, Time: now.Unix(), TimeNano: now.UnixNano()}
	ev.Actor.ID = c.ID
	ev.Actor.Attributes = map[string]string{}
	maps.Copy(ev.Actor.Attributes, extra)
	maps.Copy(ev.Actor.Attributes, c.Labels) // in this order: the engine does so too
	ev.Actor.Attributes["image"], ev.Actor.Attributes["name"] = c.Image, c.Name
	e.events.publish(ev)
}

func (e *Engine) subscribe(w http.ResponseWriter, r *http.Request) {
	var filters map[string]map[string]bool
	if text := r.FormValue("filters"); text != "" {
		if err := json.Unmarshal([]byte(text), &filters); err != nil {
			refuse(w, http.StatusBadRequest, "invalid filter")
			return
		}
	}
	wanted := filters["event"]
	e.mu.Lock()
	s := e.events.subscribe(stamp(r.FormValue("since")))
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.events.subscribers, s)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush(w)
	for {
		select {
		case <-s.wake:
		case <-r.Context().Done():
			return
		}
		if !e.awake(r) {
			return
		}
		e.mu.Lock()
		fresh := s.pending
		s.pending = nil
		e.mu.Unlock()
		for _, ev := range fresh {
			if len(wanted) == 0 || wanted[ev.Action] {
				_ = json.NewEncoder(w).Encode(ev) // an error is the client's
			}
		}
		flush(w)
	}
}
