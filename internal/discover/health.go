package discover

import (
	"fmt"
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
	// heard is when there was an answer last; patience is how long the next may take.
	heard    time.Time
	patience time.Duration
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

// answered notes a sign of life. Who is not heard of again within patience is silent.
func (s *status) answered(patience time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard, s.patience = time.Now(), patience
}

// get returns the state. What is silent is not OK, though no call may have failed yet.
func (s *status) get() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now
	if silent := time.Since(s.heard); now.OK && s.patience > 0 && silent > s.patience {
		now.OK, now.Since = false, s.heard
		now.Reason = fmt.Sprintf("the Docker Engine has not answered for %s; is it frozen, or very busy?", silent.Round(time.Second))
	}
	return now
}
