package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/internal/units"
)

// lagging is a sink that takes rate bytes a second, and notes how late each source's
// lines came at the worst.
type lagging struct {
	rate  int
	mu    sync.Mutex
	worst map[string]time.Duration
	lines map[string]int
}

func (s *lagging) answer(views []record.View) error {
	size := 0
	for _, v := range views {
		size += v.Bytes()
	}
	task.Sleep(context.Background(), time.Duration(size)*time.Second/time.Duration(s.rate))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range views {
		id := v.Batch.Source.ID
		s.lines[id] += v.To - v.From
		for _, e := range v.Entries() {
			s.worst[id] = max(s.worst[id], time.Since(time.Unix(0, e.Time)))
		}
	}
	return nil
}

// One container floods, as a stream or as a file, at four times what a sink takes; one
// more sink is dead, and a third is fast. Whoever says little is not late anywhere.
func TestAFloodAndADeadSinkDelayNobodyElse(t *testing.T) {
	for _, canWait := range []bool{false, true} {
		t.Run(fmt.Sprintf("the flood can wait: %v", canWait), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { flooded(t, canWait) })
		})
	}
}

func flooded(t *testing.T, canWait bool) {
	const seconds, rate, piece = 20, 1 << 20, 128 << 10
	f := newFixtureWith(t, 16<<20, 256<<20, func(c *Config) {
		c.Batch.Linger = units.Duration(250 * time.Millisecond)
	}, "dead", "slow", "fast")
	f.sinks["dead"].set(down)
	slow := &lagging{rate: rate, worst: map[string]time.Duration{}, lines: map[string]int{}}
	fast := &lagging{rate: 100 * rate, worst: map[string]time.Duration{}, lines: map[string]int{}}
	f.sinks["slow"].set(slow.answer)
	f.sinks["fast"].set(fast.answer)

	ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	say := func(src *record.Source, every time.Duration, line []byte) {
		wg.Go(func() {
			for task.Sleep(ctx, every) {
				b := f.pool.Force(len(line))
				b.Source = src
				b.Append(time.Now().UnixNano(), record.OutputNone, line)
				if err := f.d.Deliver(ctx, b); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		})
	}
	say(f.source("flood", canWait), time.Second*piece/(4*rate), bytes.Repeat([]byte("x"), piece))
	for i := range 5 {
		say(f.source(fmt.Sprint("quiet", i), i%2 == 0), 100*time.Millisecond, []byte("a quiet line"))
	}
	wg.Wait()
	task.Sleep(t.Context(), 5*time.Second)
	for name, s := range map[string]*lagging{"slow": slow, "fast": fast} {
		s.mu.Lock()
		for i := range 5 {
			id := fmt.Sprint("quiet", i)
			if s.lines[id] < seconds*10-2 || s.worst[id] >= 5*time.Second {
				t.Errorf("sink %s: %d lines of %s, at most %v late", name, s.lines[id], id, s.worst[id])
			}
		}
		t.Logf("sink %s: %d pieces of the flood, %v late at most; quiet0 %v", name, s.lines["flood"], s.worst["flood"], s.worst["quiet0"])
		if name == "slow" && s.lines["flood"] < seconds*rate*3/4/piece {
			t.Errorf("the slow sink got %d pieces of the flood: it idled", s.lines["flood"])
		}
		s.mu.Unlock()
	}
}
