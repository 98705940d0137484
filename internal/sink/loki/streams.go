package loki

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
)

// What is remembered of streams is forgotten when it has not been used for between one
// and two times forgetAfter, or earlier where there are many. To forget is always safe:
// it costs one request that is not shared.
const (
	maxStreams  = 4096
	forgetAfter = 10 * time.Minute
)

// streams is what the sink remembers of streams: those that were used since the last
// turn, and those that were used in the time before it only.
type streams struct {
	recent, before generation
	turned         time.Time
}

// generation holds streams by label set and by record.Stream.
type generation struct {
	byKey    map[string]*stream
	byRecord map[*record.Stream]*shape
}

// turn forgets what was not used since the last turn, when it is time to.
func (s *streams) turn(now time.Time) {
	if s.recent.byKey == nil {
		s.recent, s.turned = newGeneration(), now
	}
	full := max(len(s.recent.byKey), len(s.recent.byRecord)) >= maxStreams/2
	if full || now.Sub(s.turned) >= forgetAfter {
		s.before, s.recent, s.turned = s.recent, newGeneration(), now
	}
}

func newGeneration() generation {
	return generation{map[string]*stream{}, map[*record.Stream]*shape{}}
}

// shape returns what a record.Stream was made into, or nil.
func (s *streams) shape(rs *record.Stream) *shape {
	if found := s.recent.byRecord[rs]; found != nil {
		return found
	}
	found := s.before.byRecord[rs]
	if found != nil {
		s.keep(rs, found)
	}
	return found
}

// stream returns the stream of a label set.
func (s *streams) stream(key string) *stream {
	if found := s.recent.byKey[key]; found != nil {
		return found
	}
	if found := s.before.byKey[key]; found != nil {
		return found
	}
	return &stream{key: key}
}

func (s *streams) keep(rs *record.Stream, sh *shape) {
	s.recent.byRecord[rs], s.recent.byKey[sh.stream.key] = sh, sh.stream
}
