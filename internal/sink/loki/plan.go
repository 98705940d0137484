package loki

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/wire"
)

// ref is one entry of the views of a Send.
type ref struct {
	view, entry int32
	shape       *shape
}

// group is what a Send holds for one of Loki's streams, in order.
type group struct {
	stream *stream
	refs   []ref
	bytes  int // of the request, before compression, at most
}

// stream is a label set as Loki knows it. It lives across Sends.
type stream struct {
	key     string // {a="b"}, with the static labels
	bare    bool   // Loki refused its structured metadata
	group   *group // in the Send under way, or nil
	sharing sharing
}

// shape is a record.Stream made ready: several may be one stream of Loki, with
// different metadata.
type shape struct {
	stream   *stream
	metadata []byte // encoded
	cut      []byte // the same for entries that were truncated
}

// plan sorts the entries of the views into groups, without those that an earlier Send
// of the same views has settled, and without those that are too old.
func (s *Sink) plan(ctx context.Context, views []record.View) {
	s.views = views
	oldest := s.age.cutoff(time.Now())
	if sink.IsAsked(ctx) {
		oldest = math.MinInt64
	}
	var old []ref
	s.streams.turn(time.Now())
	s.groups = s.groups[:0]
	done := s.resume.of(views)
	if done != nil {
		s.rejected = s.resume.rejected
	}
	for v, view := range views {
		var groups [record.Outputs]*group
		var shapes [record.Outputs]*shape
		entries := view.Entries()
		for i := range entries {
			if done != nil && done[v][i] {
				continue
			}
			e := &entries[i]
			if e.Time < oldest {
				old = append(old, ref{int32(v), int32(view.From + i), nil})
				continue
			}
			out := e.Output % record.Outputs
			if groups[out] == nil {
				shapes[out] = s.shapeOf(view.Batch.Source, out)
				groups[out] = s.groupOf(shapes[out].stream)
			}
			g := groups[out]
			g.refs = append(g.refs, ref{int32(v), int32(view.From + i), shapes[out]})
			g.bytes += int(e.Len) + len(shapes[out].metadata) + wire.EntryOverhead
		}
	}
	if len(old) > 0 {
		s.reject(old, reasonTooOld, "not sent, since Loki said of another: "+s.age.words)
	}
}

// groupOf returns the group of a stream, with the memory of an earlier Send's.
func (s *Sink) groupOf(st *stream) *group {
	if st.group != nil {
		return st.group
	}
	n := len(s.groups)
	if n < cap(s.groups) {
		s.groups = s.groups[:n+1]
	} else {
		s.groups = append(s.groups, nil)
	}
	if s.groups[n] == nil {
		s.groups[n] = &group{}
	}
	g := s.groups[n]
	st.group = g
	g.stream, g.refs, g.bytes = st, g.refs[:0], len(st.key)+16
	return g
}

func (s *Sink) shapeOf(source *record.Source, out record.Output) *shape {
	rs := source.Streams[out]
	if found := s.streams.shape(rs); found != nil {
		return found
	}
	var labels, metadata record.Labels
	if rs != nil {
		labels, metadata = rs.Labels, rs.Metadata
	}
	sh := &shape{stream: s.streams.stream(s.key(labels))}
	if s.cfg.StructuredMetadata {
		for _, label := range metadata {
			sh.metadata = wire.AppendMetadata(sh.metadata, metadataName(label.Name), label.Value)
		}
		sh.cut = wire.AppendMetadata(slices.Clone(sh.metadata), "truncated", "true")
	}
	s.streams.keep(rs, sh)
	return sh
}

// key returns Loki's form of a label set with the static labels. Loki refuses a
// stream without labels, so there is always one.
func (s *Sink) key(labels record.Labels) string {
	all := append(slices.Clone(s.static), labels...).Clean()
	if len(all) == 0 {
		all = record.Labels{{Name: "agent", Value: "log_capturer"}}
	}
	return all.String()
}

// metadataName keeps clear of names of nothing but underscores: Loki 3.7.8 answers
// them with 500 for the whole request, for ever.
func metadataName(name string) string {
	if strings.Trim(name, "_") == "" {
		return "unnamed" + name
	}
	return name
}

// encode adds a stream with the entries of refs to the request.
func (s *Sink) encode(st *stream, refs []ref) {
	s.push.Begin(st.key)
	for i := range refs {
		r := &refs[i]
		batch := s.views[r.view].Batch
		e := &batch.Entries[r.entry]
		metadata := r.shape.metadata
		if e.Flags&record.Truncated != 0 {
			metadata = r.shape.cut
		}
		if st.bare {
			metadata = nil
		}
		s.push.Entry(e.Time, batch.Line(int(r.entry)), metadata)
	}
	s.push.End()
}

// fit returns how many of refs fit into a request of limit bytes, at least one.
func (s *Sink) fit(refs []ref, limit int) int {
	size := 0
	for i, r := range refs {
		size += s.weight(r)
		if size > limit && i > 0 {
			return i
		}
	}
	return len(refs)
}

// half returns where to cut refs, of which there are two or more, into halves by bytes.
func (s *Sink) half(refs []ref) int {
	total, size := 0, 0
	for _, r := range refs {
		total += s.weight(r)
	}
	for i, r := range refs {
		size += s.weight(r)
		if size > total/2 {
			return min(max(i, 1), len(refs)-1)
		}
	}
	return 1
}

func (s *Sink) weight(r ref) int {
	return s.len(r) + len(r.shape.metadata) + wire.EntryOverhead
}

func (s *Sink) len(r ref) int    { return int(s.views[r.view].Batch.Entries[r.entry].Len) }
func (s *Sink) time(r ref) int64 { return s.views[r.view].Batch.Entries[r.entry].Time }
