package pool

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
)

// row is what is known of a job besides its target, under its lock.
type row struct {
	since        time.Time // of its mode
	lines, bytes int64
	lost         map[string]int64
	failure      string
}

// count notes what was read.
func (j *job) count(lines, bytes int) {
	j.mu.Lock()
	j.row.lines += int64(lines)
	j.row.bytes += int64(bytes)
	j.row.failure = ""
	j.mu.Unlock()
	j.p.mu.Lock()
	j.volume.add(bytes, time.Now())
	j.p.mu.Unlock()
}

// rotating and holding are what readers offer that have something to show.
type (
	rotating interface{ Rotations() int64 }
	holding  interface {
		Held() (files int, bytes int64)
	}
)

// Statuses returns how each target is being read, by name.
func (p *Pool) Statuses() []source.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	out := make([]source.Status, 0, len(p.jobs))
	for _, j := range p.jobs {
		s := j.status()
		s.Rate, s.LastRead = j.volume.at(now)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b source.Status) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (j *job) status() source.Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.target
	s := source.Status{
		ID: strings.TrimPrefix(j.id, "container:"), Name: t.Source.Name, Gone: t.Gone, Mode: j.mode, Reason: t.Reason, Since: j.row.since,
		Lines: j.row.lines, Bytes: j.row.bytes, Lost: maps.Clone(j.row.lost), Error: j.row.failure,
	}
	if c := t.Container; c != nil {
		s.Image, s.Driver, s.Running = c.Image, c.Driver, c.Running
	}
	switch {
	case j.fallen.reason != "":
		s.Reason = j.fallen.reason
	case t.Mode == source.Stream && j.mode == source.Poll && s.Running:
		s.Reason += "; polled, since streams.max others are busier"
	}
	if r, ok := j.reader.(rotating); ok {
		s.Rotations = r.Rotations()
	}
	if h, ok := j.reader.(holding); ok {
		s.Held, s.HeldBytes = h.Held()
	}
	return s
}

// Figures are the pool's, for metrics.
type Figures struct {
	// Targets are counted by how they are read now.
	Targets map[source.Mode]int
	// Slots are taken of MaxSlots.
	Slots, MaxSlots int
	// Evictions are streams that were ended for another container, by reason.
	Evictions map[string]int64
	// Fallen are containers whose file cannot be read any more.
	Fallen int
}

// Figures returns them.
func (p *Pool) Figures() Figures {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := Figures{
		Targets: map[source.Mode]int{}, Slots: len(p.slots.holders), MaxSlots: p.slots.max,
		Evictions: map[string]int64{"idle": p.slots.idle, "volume": p.slots.volume},
	}
	for _, j := range p.jobs {
		j.mu.Lock()
		f.Targets[j.mode]++
		if j.fallen.reason != "" {
			f.Fallen++
		}
		j.mu.Unlock()
	}
	return f
}
