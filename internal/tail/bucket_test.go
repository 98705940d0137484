package tail

import (
	"testing"
	"time"
)

func TestABucketGivesItsRate(t *testing.T) {
	b, now := NewBucket(100, 10), time.Unix(1_000_000, 0)
	taken := func(attempts int, every time.Duration) (n int) {
		for range attempts {
			if b.Take(now) {
				n++
			}
			now = now.Add(every)
		}
		return n
	}
	if n := taken(50, 0); n != 10 {
		t.Errorf("%d at once, want 10: the burst", n)
	}
	if n := taken(1000, time.Millisecond); n > 10 {
		t.Errorf("%d in a second in which ten times as many are asked for, want next to nothing", n)
	}
	now = now.Add(time.Second)
	if n := taken(1000, 11*time.Millisecond); n != 1000 {
		t.Errorf("%d of 1000 that come below the rate, want all", n)
	}
	now = now.Add(time.Hour)
	if n := taken(50, 0); n != 10 {
		t.Errorf("%d at once after an hour, want 10: no more than the burst", n)
	}
}
