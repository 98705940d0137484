package sim

import (
	"fmt"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
)

// talk has a container write: mostly a few lines, sometimes many, often none for long.
func (w *world) talk(b *box) {
	pause := w.between(b.rate/4+1, 20*b.rate)
	defer w.in(pause, func() { w.talk(b) })
	if !b.running {
		return
	}
	n := 1 + w.rng.IntN(8)
	if w.rng.IntN(20) == 0 {
		n = w.rng.IntN(200)
	}
	w.write(b, n)
}

func (w *world) write(b *box, n int) {
	at := max(w.now(), b.last+1)
	records := make([]dockertest.Record, n)
	for i := range records {
		o := w.rng.IntN(2)
		if at == b.lastOf[o] || w.rng.IntN(5) > 0 { // else it has the time of the other output's last one
			at += 1 + w.rng.Int64N(2000)
		}
		b.lastOf[o] = at
		id := w.ledger.wrote(b.id+"."+outputs[o], at)
		records[i] = dockertest.Record{Stderr: o == 1, Time: at, Data: id.text() + "\n"}
	}
	b.last = at
	w.engine.Append(b.id, records...)
}

// mischief draws the next fault.
func (w *world) mischief() {
	w.in(w.between(20*time.Second, 15*time.Minute), w.mischief)
	what := mischiefs[w.rng.IntN(len(mischiefs))]
	w.faults[what.name]++
	w.note("%s", what.name)
	what.do(w)
}

type trouble struct {
	name string
	do   func(*world)
}

var mischiefs = []trouble{
	{"sink down", func(w *world) { w.sulk(down) }},
	{"sink hangs", func(w *world) { w.sulk(hangs) }},
	{"sink lies", func(w *world) { w.sulk(lies) }},
	{"sink slow", func(w *world) { w.sulk(slow) }},
	{"sink asks to wait", func(w *world) { w.sulk(asks) }},
	{"sink replaced", (*world).change},
	{"fsync fails", func(w *world) { w.spoil("fsync") }},
	{"disk call fails", func(w *world) {
		calls := []string{"write", "open", "remove", "truncate", "rename", "link", "syncdir"}
		w.spoil(calls[w.rng.IntN(len(calls))])
	}},
	{"disk full", func(w *world) {
		w.disk.set(func(d *disk) { d.full = true })
		w.in(w.between(time.Second, 20*time.Minute), func() { w.disk.set(func(d *disk) { d.full = false }) })
	}},
	{"disk slow", func(w *world) {
		w.disk.set(func(d *disk) { d.slow = true })
		w.in(w.between(time.Second, 10*time.Minute), func() { w.disk.set(func(d *disk) { d.slow = false }) })
	}},
	{"kill", func(w *world) { w.doom(false) }},
	{"kill", func(w *world) { w.doom(false) }},
	{"power cut", func(w *world) { w.doom(true) }},
	{"power cut", func(w *world) { w.doom(true) }},
	{"orderly restart", func(w *world) {
		w.stopAgent()
		w.in(w.between(time.Second, 10*time.Minute), w.startAgent)
	}},
	{"engine down", func(w *world) {
		if !w.gone {
			w.engine.Down()
			w.gone = true
		}
		w.in(w.between(time.Second, 5*time.Minute), w.wakeEngine)
	}},
	{"engine frozen", func(w *world) {
		if !w.gone {
			w.engine.Freeze()
			w.frozen = true
		}
		w.in(w.between(time.Second, 2*time.Minute), w.wakeEngine)
	}},
	{"container restarts", (*world).restart},
	{"clock set ahead", func(w *world) { w.clock += time.Duration(w.rng.Int64N(int64(time.Hour))) }},
	{"clock set back", (*world).setBack},
	{"bad hour", (*world).badHour},
	{"bad hour", (*world).badHour},
	{"flood", func(w *world) { w.write(w.boxes[w.rng.IntN(len(w.boxes))], 300+w.rng.IntN(700)) }},
}

// sulk has one of the sinks misbehave for a while.
func (w *world) sulk(m mood) {
	s := w.shops[w.names[w.rng.IntN(len(w.names))]]
	s.set(m)
	w.in(w.between(time.Second, 40*time.Minute), func() { s.set(well) })
}

// now is the time by the host's clock, which the engine takes for its records.
func (w *world) now() int64 { return time.Now().Add(w.clock).UnixNano() }

// setBack sets the clock back, by less than replay.Slack: what the engine logs then while
// nobody reads could not be asked for if it were more. Containers write just before it and
// behind it, and meanwhile the engine goes.
func (w *world) setBack() {
	by := time.Duration(w.rng.Int64N(int64(9 * time.Second)))
	speak := func() {
		for i, b := range w.boxes { // one after the other, or chance would decide who is read first
			w.in(time.Duration(i)*50*time.Millisecond, func() {
				if b.running {
					w.write(b, 1+w.rng.IntN(4))
				}
			})
		}
	}
	speak()
	w.in(time.Second, func() {
		if !w.gone {
			w.engine.Down()
			w.gone = true
		}
		w.in(5*time.Second, w.wakeEngine)
		w.shaken = true
		w.ledger.shake(w.now(), by)
		w.clock -= by
		for _, b := range w.boxes {
			b.last, b.lastOf = 0, [2]int64{}
		}
		speak()
	})
}

// folders are the directories of the agent.
func (w *world) folder() string {
	all := []string{"positions"}
	for _, name := range w.names {
		all = append(all, "spool/"+name, "spool/"+name, "dead/"+name)
	}
	return all[w.rng.IntN(len(all))]
}

// spoil has calls of a kind fail, in one directory, for a while.
func (w *world) spoil(call string) {
	dir := w.folder()
	f := fault{call, []float64{0.05, 0.3, 1}[w.rng.IntN(3)]}
	w.disk.set(func(d *disk) { d.failing[dir] = f })
	w.in(w.between(time.Second, 3*time.Minute), func() { w.disk.set(func(d *disk) { delete(d.failing, dir) }) })
}

// badHour is what seldom comes together by chance: a sink is down, so that its spool
// fills; some of its fsyncs fail; and then the power is cut.
func (w *world) badHour() {
	name := w.names[w.rng.IntN(len(w.names))]
	dir, s := "spool/"+name, w.shops[name]
	s.set(down)
	for range 4 {
		w.in(time.Duration(w.rng.Int64N(int64(10*time.Minute))), func() { w.write(w.boxes[w.rng.IntN(len(w.boxes))], 50+w.rng.IntN(150)) })
	}
	w.disk.set(func(d *disk) { d.failing[dir] = fault{"fsync", 0.2} })
	w.in(w.between(5*time.Minute, 30*time.Minute), func() {
		w.disk.set(func(d *disk) { delete(d.failing, dir) })
		s.set(well)
		if w.agent != nil {
			w.agent.life.power = true
			w.killed()
		}
	})
}

// doom kills the agent, now or before one of its next calls of the disk.
func (w *world) doom(power bool) {
	if w.agent == nil {
		return
	}
	l := w.agent.life
	if l.doomed != "" {
		return
	}
	l.power = power
	if w.rng.IntN(4) == 0 {
		w.killed()
		return
	}
	dir, after, n, patience := "positions", "", w.rng.IntN(30), time.Minute
	if w.rng.IntN(3) > 0 { // just behind something that the spool does
		calls := []string{"remove", "remove", "fsync", "syncdir", "write", "open"}
		dir, after, n, patience = "spool/"+w.names[w.rng.IntN(len(w.names))], calls[w.rng.IntN(len(calls))], w.rng.IntN(3), 10*time.Minute
	}
	w.in(patience, func() { // perhaps there was nothing to do
		if w.agent != nil && w.agent.life == l {
			w.killed()
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doomed, l.after, l.doom = dir, after, n
}

func (l *life) spare() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doomed = ""
}

func (w *world) restart() {
	b := w.boxes[w.rng.IntN(len(w.boxes))]
	if !b.running {
		return
	}
	w.write(b, w.rng.IntN(5))
	w.engine.Die(b.id)
	b.running = false
	w.apply()
	w.in(w.between(time.Second, 10*time.Minute), func() {
		w.engine.Start(b.id)
		b.running, b.started = true, time.Now()
		w.apply()
	})
}

func (w *world) apply() {
	if w.agent != nil {
		w.agent.pool.Apply(w.targets())
	}
}

func (w *world) wakeEngine() {
	if w.gone {
		w.engine.Up(w.t)
	}
	if w.frozen {
		w.engine.Thaw()
	}
	w.gone, w.frozen = false, false
}

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// mend ends all faults.
func (d *disk) mend() {
	d.set(func(d *disk) {
		d.full, d.slow = false, false
		clear(d.failing)
	})
}

// digest is the content of every file.
func (d *disk) digest() (out string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dirs := map[string]*inode{}
	for name := range d.dirs {
		dirs[name] = nil
	}
	for _, dir := range sorted(dirs) {
		for _, name := range sorted(d.dirs[dir].now) {
			out += fmt.Sprintf("%s/%s %x\n", dir, name, d.dirs[dir].now[name].now)
		}
	}
	return out
}
