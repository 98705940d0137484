package loki

import (
	"fmt"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
)

func TestStreamsThatAreNotUsedAreForgotten(t *testing.T) {
	var s streams
	now := time.Unix(0, 0)
	s.turn(now)
	use := func(rs *record.Stream, key string) *stream {
		sh := s.shape(rs)
		if sh == nil {
			sh = &shape{stream: s.stream(key)}
			s.keep(rs, sh)
		}
		return sh.stream
	}
	busy, idle := &record.Stream{}, &record.Stream{}
	first := use(busy, "busy")
	use(idle, "idle")
	for range 3 {
		now = now.Add(forgetAfter)
		s.turn(now)
		// A second source of the same labels is the same stream, in any generation.
		if use(&record.Stream{}, "busy") != first || use(busy, "busy") != first {
			t.Fatal("a stream in use is forgotten")
		}
	}
	if s.shape(idle) != nil {
		t.Fatalf("a stream is remembered that was not used for %v", 3*forgetAfter)
	}
	for i := range 10 * maxStreams {
		use(&record.Stream{}, fmt.Sprint(i))
		s.turn(now)
		if n := len(s.recent.byRecord) + len(s.before.byRecord); n > maxStreams {
			t.Fatalf("%d streams are remembered, at most %d should be", n, maxStreams)
		}
	}
}
