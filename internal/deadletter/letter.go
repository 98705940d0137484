package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter/ndjson"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

// Origin names the source of an entry; see record.Source.
type Origin struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Letter is one dead letter: an entry as the sink was given it, and what became of it.
type Letter struct {
	// Time is the entry's, in nanoseconds since the Unix epoch.
	Time             int64
	Labels, Metadata record.Labels
	Line             []byte
	Truncated        bool
	Source           Origin
	Output           record.Output
	Sink             string
	// Reason and Detail are those of sink.Rejection, of the last try.
	Reason, Detail    string
	FirstTry, LastTry time.Time
}

// Refused notes what the sink said of the letter at a moment.
func (l *Letter) Refused(reason, detail string, at time.Time) {
	l.Reason, l.Detail, l.LastTry = reason, detail[:min(len(detail), MaxDetail)], at
}

// letterOf returns an entry of a batch; it shares the batch's memory.
func letterOf(b *record.Batch, i int) Letter {
	e := &b.Entries[i]
	l := Letter{
		Time: e.Time, Line: b.Line(i), Truncated: e.Flags&record.Truncated != 0, Output: e.Output,
		Source: Origin{b.Source.ID, b.Source.Kind, b.Source.Name},
	}
	if s := b.Source.Streams[e.Output]; s != nil {
		l.Labels, l.Metadata = s.Labels, s.Metadata
	}
	return l
}

// Append appends the letter as one line of JSON, with its newline.
func (l *Letter) Append(b []byte) []byte {
	b = ndjson.AppendTime(append(b, `{"time":`...), l.Time)
	b = ndjson.AppendStream(append(b, ','), &record.Stream{Labels: l.Labels, Metadata: l.Metadata})
	flags := record.Flags(0)
	if l.Truncated {
		flags = record.Truncated
	}
	b = ndjson.AppendLine(append(b, ','), l.Line, flags)
	b = ndjson.AppendString(append(b, `,"source":{"id":`...), l.Source.ID)
	b = ndjson.AppendString(append(b, `,"kind":`...), l.Source.Kind)
	b = ndjson.AppendString(append(b, `,"name":`...), l.Source.Name)
	b = ndjson.AppendString(append(b, `},"output":`...), l.Output.String())
	b = ndjson.AppendString(append(b, `,"sink":`...), l.Sink)
	b = ndjson.AppendString(append(b, `,"reason":`...), l.Reason)
	b = ndjson.AppendString(append(b, `,"detail":`...), l.Detail)
	b = ndjson.AppendTime(append(b, `,"first_try":`...), l.FirstTry.UnixNano())
	b = ndjson.AppendTime(append(b, lastTry...), l.LastTry.UnixNano())
	return append(b, '}', '\n')
}

// lastTry begins the last member. In JSON text it cannot be part of a string, where its
// quotes would have backslashes.
const lastTry = `,"last_try":`

// form is a letter as encoding/json reads it.
type form struct {
	Time      time.Time         `json:"time"`
	Labels    map[string]string `json:"labels"`
	Metadata  map[string]string `json:"metadata"`
	Line      *string           `json:"line"`
	Base64    []byte            `json:"line_base64"`
	Truncated bool              `json:"truncated"`
	Source    Origin            `json:"source"`
	Output    string            `json:"output"`
	Sink      string            `json:"sink"`
	Reason    string            `json:"reason"`
	Detail    string            `json:"detail"`
	FirstTry  time.Time         `json:"first_try"`
	LastTry   time.Time         `json:"last_try"`
	// At is what earlier versions wrote in place of both tries.
	At time.Time `json:"at"`
}

// Parse reads what Append wrote. The letter has its own memory.
func Parse(line []byte) (Letter, error) {
	var f form
	if err := json.Unmarshal(line, &f); err != nil {
		return Letter{}, fmt.Errorf("read a dead letter: %w", err)
	}
	if f.Line == nil && f.Base64 == nil || f.Time.IsZero() {
		return Letter{}, errors.New("read a dead letter: it has no line or no time")
	}
	l := Letter{
		Time: f.Time.UnixNano(), Labels: labels(f.Labels), Metadata: labels(f.Metadata), Line: f.Base64, Truncated: f.Truncated,
		Source: f.Source, Sink: f.Sink, Reason: f.Reason, Detail: f.Detail, FirstTry: f.FirstTry, LastTry: f.LastTry,
	}
	if f.Line != nil {
		l.Line = []byte(*f.Line)
	}
	for o := record.OutputNone; o < record.Outputs; o++ {
		if o.String() == f.Output {
			l.Output = o
		}
	}
	if !f.At.IsZero() {
		l.FirstTry, l.LastTry = f.At, f.At
	}
	return l, nil
}

func labels(m map[string]string) record.Labels {
	var out record.Labels
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, record.Label{Name: name, Value: m[name]})
	}
	return out
}

// Batches puts letters together for a sink, in their order, and returns for each letter
// where it is. The entries have times, labels and metadata of the letters. streams keeps
// the sources from one call to the next; it begins empty.
func Batches(letters []Letter, streams map[string]*record.Source) ([]record.View, []sink.Rejection) {
	var views []record.View
	at := make([]sink.Rejection, len(letters))
	batches := map[*record.Source]*record.Batch{}
	for i := range letters {
		l := &letters[i]
		src := l.source(streams)
		b := batches[src]
		if b == nil {
			b = &record.Batch{Source: src}
			batches[src] = b
		}
		b.Append(l.Time, l.Output, l.Line)
		n := len(b.Entries)
		if l.Truncated {
			b.Entries[n-1].Flags = record.Truncated
		}
		if last := len(views) - 1; last >= 0 && views[last].Batch == b {
			views[last].To = n
		} else {
			views = append(views, record.View{Batch: b, From: n - 1, To: n})
		}
		at[i] = sink.Rejection{View: len(views) - 1, Entry: n - 1}
	}
	return views, at
}

// source returns the source that the letter's entry comes from, with its stream alone.
func (l *Letter) source(known map[string]*record.Source) *record.Source {
	key := (&Letter{Labels: l.Labels, Metadata: l.Metadata, Source: l.Source, Output: l.Output, FirstTry: time.Unix(0, 0), LastTry: time.Unix(0, 0)}).Append(nil)
	src := known[string(key)]
	if src == nil {
		src = &record.Source{ID: l.Source.ID, Kind: l.Source.Kind, Name: l.Source.Name, CanWait: true}
		src.Streams[l.Output] = record.NewStream(l.Labels, l.Metadata)
		known[string(key)] = src
	}
	return src
}
