package pool

// wakeMost is how many files are given a turn when room was made: each may take all of it.
const wakeMost = 4

// blocked are the files that wait for room at a sink. They have pauses too, in which they
// settle, since not all room is announced.
type blocked []*job

// block notes that a job waits for room. The caller holds the pool's lock.
func (p *Pool) block(j *job) {
	if !j.blocked {
		j.blocked = true
		p.blocked = append(p.blocked, j)
	}
	p.rearm()
}

// unblock gives a few of those that have waited the longest their turn.
func (p *Pool) unblock() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := 0; n < wakeMost && len(p.blocked) > 0; {
		j := p.blocked[0]
		p.blocked[0] = nil
		p.blocked = p.blocked[1:]
		j.blocked = false
		if j.state == settling {
			p.crewOf(j).add(j)
			n++
		}
	}
}

// freed returns a channel that is closed when some room was made; nil while nobody waits.
func (p *Pool) freed() <-chan struct{} {
	p.mu.Lock()
	var first *job
	if len(p.blocked) > 0 {
		first = p.blocked[0]
	}
	p.mu.Unlock()
	if first == nil {
		return nil
	}
	freed := p.Dispatcher.Freed()
	if p.Dispatcher.Ready(first.id) { // there was room before the channel was had
		p.unblock()
	}
	return freed
}
