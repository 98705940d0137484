package discover

import (
	"sync"
	"time"
)

// Health is the state of a component, as /health shows it.
type Health struct {
	Name string
	// OK is false when it is degraded.
	OK bool
	// Reason says what is wrong, empty when nothing is.
	Reason string
	// Since is when it became so.
	Since time.Time
}

// status keeps a Health.
type status struct {
	mu  sync.Mutex
	now Health
	// said: the present state was told to set's caller as a change.
	said bool
}

func newStatus(name, reason string) status {
	return status{now: Health{Name: name, Reason: reason, Since: time.Now()}}
}

// set tells whether the state changed. The first one counts as a change.
func (s *status) set(ok bool, reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := !s.said || s.now.OK != ok
	if s.now.OK != ok {
		s.now.Since = time.Now()
	}
	s.said, s.now.OK, s.now.Reason = true, ok, reason
	return changed
}

func (s *status) get() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}
