package queue

import "time"

// pace holds the spool to a rate. The queue's mu guards it.
type pace struct {
	at    time.Time   // not before this it gives out anything more
	timer *time.Timer // that ends the wait
}

// gave notes that size bytes were given out.
func (p *pace) gave(size int, rate int64) {
	if now := time.Now(); p.at.Before(now) {
		p.at = now
	}
	p.at = p.at.Add(time.Duration(float64(size) / float64(rate) * float64(time.Second)))
}

func (p *pace) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// spoolTurn gives the spool a turn with what was read of it, now or when its pace allows
// it. mu is held.
func (q *Queue) spoolTurn() {
	if q.disk == nil {
		signal(q.ready) // to read what comes next
		return
	}
	wait := time.Until(q.pace.at)
	if q.draining || q.o.SpoolRate == 0 || wait <= 0 {
		q.flows.queue(&q.flows.spool)
		signal(q.ready)
		return
	}
	q.pace.stop()
	q.pace.timer = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.spoolTurn()
	})
}
