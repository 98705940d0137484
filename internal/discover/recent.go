package discover

import "github.com/logcapturer/log_capturer/internal/docker"

// recent remembers the last events, because a subscription since a time brings some of
// them again. The zero value remembers none yet.
type recent struct {
	ring [1024]eventKey // as many as the engine keeps for a subscriber
	next int
	have map[eventKey]struct{}
}

type eventKey struct {
	time       int64
	action, id string
}

// repeated tells whether the event came before, and remembers it.
func (r *recent) repeated(e docker.Event) bool {
	key := eventKey{e.Time, e.Action, e.ID}
	if _, ok := r.have[key]; ok {
		return true
	}
	if r.have == nil {
		r.have = make(map[eventKey]struct{}, len(r.ring))
	}
	delete(r.have, r.ring[r.next])
	r.ring[r.next] = key
	r.have[key] = struct{}{}
	r.next = (r.next + 1) % len(r.ring)
	return false
}
