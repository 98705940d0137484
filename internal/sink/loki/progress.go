package loki

import (
	"slices"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// progress is what a failed Send had settled, so that the next one, with the same
// views, does not send it again: that would cost Loki's rate limit, and repeat entries
// of chunks that it has flushed.
type progress struct {
	views    []mark
	done     [][]bool // by view and entry of the view
	rejected []sink.Rejection
}

// mark recognises a view; its pointers are compared and never followed. A batch's
// memory is recycled, but not with the same source and times.
type mark struct {
	view        record.View
	source      *record.Source
	first, last record.Entry
}

func markOf(v record.View) mark {
	m := mark{view: v, source: v.Batch.Source}
	if entries := v.Entries(); len(entries) > 0 {
		m.first, m.last = entries[0], entries[len(entries)-1]
	}
	return m
}

// of returns what is settled of views, or nil.
func (p *progress) of(views []record.View) [][]bool {
	if p.done == nil || !slices.EqualFunc(p.views, views, func(m mark, v record.View) bool { return m == markOf(v) }) {
		*p = progress{}
		return nil
	}
	return p.done
}

// remember keeps what the Send under way has settled.
func (s *Sink) remember() {
	if len(s.settled) == 0 {
		return // an earlier Send's progress, if there is any, still holds
	}
	if s.resume.done == nil {
		for _, v := range s.views {
			s.resume.views = append(s.resume.views, markOf(v))
			s.resume.done = append(s.resume.done, make([]bool, v.To-v.From))
		}
	}
	for _, refs := range s.settled {
		for _, r := range refs {
			s.resume.done[r.view][int(r.entry)-s.views[r.view].From] = true
		}
	}
	s.resume.rejected = s.rejected
}
