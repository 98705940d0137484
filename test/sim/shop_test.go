package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
)

// mood is how a shop behaves.
type mood int

const (
	well  mood = iota
	down       // refuses connections
	hangs      // takes what it is sent and says nothing
	lies       // takes it, and says that it has not
	slow       // needs seconds
	asks       // asks to come back later
	moods
)

// shop is what is at the other end of a sink. It outlives the agents, and takes
// connections (doors) of one after the other.
type shop struct {
	name string
	dice dice
	l    *ledger
	log  *trace

	mu   sync.Mutex
	mood mood
}

func (s *shop) set(m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = m
}

func (s *shop) now() mood {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mood
}

// refuses tells whether a line is one that the shop will never take.
func (s *shop) refuses(text []byte) bool {
	return s.dice.of("refuses", string(text)).chance(1. / 150)
}

// door is a sink.Sink of one agent.
type door struct {
	s    *shop
	life *life

	mu     sync.Mutex
	trying []line // of the last Send, and what is behind them in their batches
	last   []line // of the last Send that the shop took
	graved bool   // it refused some of these
	closed bool
}

var errDown = errors.New("connection refused")

// Send takes the time that a network takes, before and after the shop has it.
func (d *door) Send(ctx context.Context, views []record.View) error {
	d.try(views)
	at := d.s.dice.of("send").now()
	there, back := at.of("there").between(time.Millisecond, 40*time.Millisecond), at.of("back").between(time.Millisecond, 40*time.Millisecond)
	m := d.s.now()
	if m == slow {
		there, back = there*200, back*200
	}
	if !task.Sleep(ctx, there) {
		return ctx.Err()
	}
	d.s.log.note("%s is asked", d.s.name)
	if m = d.s.now(); m == down || m == asks || d.life.isDead() {
		err := fmt.Errorf("send: %w", errDown)
		if m == asks {
			return &sink.RetryError{After: at.of("after").between(time.Second, time.Minute), Err: err}
		}
		return err
	}
	lines, rejected := d.take(views)
	if m == hangs {
		for d.s.now() == hangs && task.Sleep(ctx, time.Second) {
		}
		m = lies
	}
	if m == lies || !task.Sleep(ctx, back) || d.life.isDead() {
		d.s.l.excuse(d.s.name, lines) // nobody was told
		return fmt.Errorf("send: the answer was lost: %w", errDown)
	}
	if len(rejected.Entries) > 0 {
		return rejected
	}
	return nil
}

func (d *door) try(views []record.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trying = d.trying[:0]
	for _, v := range views {
		for i := v.From; i < len(v.Batch.Entries); i++ {
			if id, ok := lineOf(string(v.Batch.Line(i))); ok {
				d.trying = append(d.trying, id)
			}
		}
	}
}

func (d *door) take(views []record.View) (lines []line, rejected *sink.RejectedError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.s.l.mu.Lock()
		d.s.l.problem("%s: a Send after Close", d.s.name)
		d.s.l.mu.Unlock()
	}
	rejected = &sink.RejectedError{}
	var told bytes.Buffer
	for i, v := range views {
		for e := v.From; e < v.To; e++ {
			bad := d.s.refuses(v.Batch.Line(e))
			id, ok := d.s.l.arrived(d.s.name, v.Batch, e, bad)
			if !ok {
				continue
			}
			lines = append(lines, id)
			fmt.Fprintf(&told, " %s:%d:%d", id.stream, id.n, v.Batch.Entries[e].Time)
			if bad {
				rejected.Entries = append(rejected.Entries, sink.Rejection{View: i, Entry: e, Reason: "too_old", Detail: "the shop does not want it"})
			}
		}
	}
	d.s.log.note("%s takes%s", d.s.name, told.String())
	d.last, d.graved = lines, len(rejected.Entries) > 0
	return lines, rejected
}

// Close ends the door.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

// trace is what happened, in order, with its time.
type trace struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

// detail is for who looks for the reason of a difference: it is noted with -detail alone.
func (t *trace) detail(format string, args ...any) {
	if *detailed {
		t.note(format, args...)
	}
}

func (t *trace) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf("%015d ", time.Since(t.start))+fmt.Sprintf(format, args...))
}

// sort puts what happened at the same instant in an order that does not depend on who was
// first: nobody can tell.
func (t *trace) sort() { slices.Sort(t.lines) }
