package dispatch

import "time"

// How long a batch that is not full waits, as a share of linger: that which the sink's last
// answers had of slowAnswer, and no less than one in leastShare.
const (
	slowAnswer = 30 * time.Millisecond
	leastShare = 32
)

// pace is the rhythm of a lane's requests. What comes after a pause goes out at once; when
// requests follow each other they keep a distance in which more comes together, and which
// grows with the time that the sink takes for one. So a fast sink has its lines within
// milliseconds, and a slow one, or one far away, has few requests.
type pace struct {
	last time.Time     // when the last delivery began
	took time.Duration // what one takes, the last ones more than those before
}

// sent notes a delivery.
func (p *pace) sent(began time.Time, took time.Duration) {
	p.last = began
	p.took += (min(took, slowAnswer) - p.took) / 4
}

// next returns when a batch that is not full goes out.
func (p *pace) next(linger time.Duration) time.Time {
	share := max(p.took, slowAnswer/leastShare)
	return p.last.Add(time.Duration(float64(linger) * float64(share) / float64(slowAnswer)))
}
