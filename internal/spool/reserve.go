package spool

import "github.com/logcapturer/log_capturer/internal/record"

// Reserve keeps room for appends, so that they are not refused: for last bytes, the
// batch that is to come, and for before bytes of what has to go in before it. As with
// Room the cap is asked of what comes before the last batch. Whoever reserves gives
// back with Unreserve, after the appends or instead of them; while anything is
// reserved Append does not look at the cap.
func (s *Spool) Reserve(before, last int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(before) {
		return false
	}
	s.reserved += before + last
	return true
}

// Unreserve gives back what Reserve kept.
func (s *Spool) Unreserve(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= bytes
}

// Room tells whether a batch would find room: while the segments and what is reserved
// have less than the cap, so that this does not depend on the batch and a small spool
// takes a large one.
func (s *Spool) Room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room(0)
}

func (s *Spool) room(before int64) bool {
	bytes, empty := s.usage()
	return empty && s.reserved+before == 0 || bytes+s.reserved+before < s.max.Load()
}

// What a record takes besides its lines, about: each line's entry, and the source.
const (
	entryOverhead  = 8
	sourceOverhead = 256
)

// RecordSize returns about what b takes in the spool, in bytes.
func RecordSize(b *record.Batch) int64 {
	return int64(recordHead + payloadHead + sourceOverhead + len(b.Arena) + entryOverhead*len(b.Entries))
}
