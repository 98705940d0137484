package dispatch

import (
	"fmt"
	"time"
)

// patience is how long a lane may wait beside a batch that it could take: it is woken at
// once, so what lasts this long is a wake-up that was lost.
const patience = time.Minute

// Pulse tells whether the lanes move. A sink that does not take what it is given is no
// reason that they do not: its lane tries again, which is all that it is there for. A Pulse
// is for one goroutine.
type Pulse struct {
	d    *Dispatcher
	idle map[*Lane]idleness
}

// idleness is a lane that waits for a batch although there is one.
type idleness struct {
	taking int64
	since  time.Time
}

// Pulse returns a new one.
func (d *Dispatcher) Pulse() *Pulse { return &Pulse{d: d} }

// Check looks at every lane. The error names one that has stood still for a minute of
// looks; only a restart of the agent helps it. A lock that is never given back holds up
// Check as it does everybody: to be back is a sign of life too.
func (p *Pulse) Check(now time.Time) error {
	idle := map[*Lane]idleness{}
	var err error
	for _, l := range p.d.Lanes() {
		taking := l.taking.Load()
		if taking == 0 || !l.queue.Takeable() {
			continue
		}
		seen, was := p.idle[l]
		if !was || seen.taking != taking {
			seen = idleness{taking, now}
		}
		idle[l] = seen
		if still := now.Sub(seen.since); still >= patience {
			err = fmt.Errorf("the lane of sink %s has left a batch lying for %s; this is a bug in log_capturer, please report it", l.name, still.Round(time.Second))
		}
	}
	p.idle = idle
	return err
}
