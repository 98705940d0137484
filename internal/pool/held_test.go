package pool

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/units"
)

// tens has every line that ends with a 0 begin an entry, and the nine behind it go on.
func tens(t *testing.T) *multiline.Matcher {
	t.Helper()
	c := multiline.DefaultConfig()
	c.Start = "0$"
	m, err := multiline.New(c, units.MiB)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (n *numbered) have() (lines, entries int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lines, n.entries
}

// An entry that may go on is given out when its next line does not come, while its stream
// is waited for and between polls, and no stream is opened again for it.
func TestWhatIsHeldIsGivenOutInTime(t *testing.T) {
	for name, streams := range map[string]int{"stream": 1, "poll": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, hostOptions{containers: 1, streams: streams, poll: 10 * time.Second, multiline: tens(t)})
				id := h.ids[0]
				expect := func(when string, lines, entries int) {
					t.Helper()
					synctest.Wait()
					if l, e := h.out.have(); l != lines || e != entries {
						t.Errorf("%s: %d lines in %d entries, want %d in %d", when, l, e, lines, entries)
					}
				}
				h.log(id, 13)
				<-time.After(900 * time.Millisecond)
				expect("before the flush time", 10, 1)
				<-time.After(200 * time.Millisecond)
				expect("after it", 13, 2)
				if name == "stream" {
					h.log(id, 9) // 13 to 21
					<-time.After(500 * time.Millisecond)
					h.log(id, 3)
					<-time.After(900 * time.Millisecond)
					expect("while it goes on", 20, 3)
					<-time.After(200 * time.Millisecond)
					expect("after the flush time", 25, 4)
					if n := h.stats.Opens.Load(); n > 2 {
						t.Errorf("%d logs were opened", n)
					}
				}
				h.all()
			})
		})
	}
}

// An hour of lines at random moments, while streams are replaced and taken away from each
// other, and the engine goes away and comes back: each line comes once, and its entries are those of the lines alone as far as no
// flush tore them.
func TestAnHourOfEntriesHasEachLineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, hostOptions{containers: 6, streams: 3, poll: 2 * time.Second, rotation: 20 * time.Second, multiline: tens(t)})
		rng := rand.New(rand.NewPCG(1, 2))
		for round := range 3000 {
			switch round % 500 {
			case 100:
				h.engine.Down()
			case 105:
				h.engine.Up(t)
			case 300:
				h.engine.Freeze()
			case 305:
				h.engine.Thaw()
			}
			for _, id := range h.ids {
				if rng.IntN(3) == 0 {
					h.log(id, 1+rng.IntN(12))
				}
			}
			<-time.After(time.Duration(rng.IntN(2400)) * time.Millisecond)
		}
		<-time.After(15 * time.Second)
		h.all()
		lines, entries := h.out.have()
		if n := h.stats.Rotations.Load(); n < 100 || entries > lines/2 {
			t.Errorf("%d turns; %d lines in %d entries", n, lines, entries)
		}
		if n := h.stats.Full.Load(); n > 0 {
			t.Errorf("%d logs were searched", n)
		}
	})
}
