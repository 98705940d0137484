package journal

import (
	"slices"

	"github.com/logcapturer/log_capturer/internal/record"
)

// What entries can be told apart by.
const (
	LabelUnit       = "unit"
	LabelLevel      = "level"
	LabelIdentifier = "identifier"
)

const (
	// maxStreams is how many label sets there are at most; those of further units have other.
	maxStreams = 1000
	other      = "other"
	// maxKept is how many sources are remembered; what is beyond is made again.
	maxKept = 4000
)

// levels are the words for priorities.
var levels = [...]string{"emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"}

// sources makes the source of each kind of entry. They have the labels and the metadata of
// their kind, and the same ID, as they share one position.
type sources struct {
	base   *record.Source // with the labels that all have
	labels []string
	choice Choice

	made map[string]*record.Source // by key; nil: entries of that kind are left out
	key  []byte
	keys map[string]struct{} // of the streams there are
}

func newSources(base *record.Source, labels []string, choice Choice) *sources {
	return &sources{base: base, labels: labels, choice: choice, made: map[string]*record.Source{}, keys: map[string]struct{}{}}
}

// of returns the source of an entry, nil when it is left out. Nothing is allocated for a
// kind that was seen before.
func (s *sources) of(e *entry) *record.Source {
	unit := e.aboutUnit()
	k := append(append(s.key[:0], byte(e.level+1)), unit...)
	k = append(append(k, 0), e.identifier...)
	k = append(append(k, 0), e.host...)
	s.key = k
	src, known := s.made[string(k)]
	if known {
		return src
	}
	if len(s.made) >= maxKept {
		clear(s.made)
	}
	if s.choice.takes(string(unit)) {
		src = s.make(string(unit), string(e.identifier), string(e.host), e.level)
	}
	s.made[string(k)] = src
	return src
}

func (s *sources) make(unit, identifier, host string, level int8) *record.Source {
	stream := s.stream([2]string{unit, label(unit)}, [2]string{identifier, identifier}, host, level)
	if _, known := s.keys[stream.Key]; !known && len(s.keys) >= maxStreams {
		stream = s.stream([2]string{unit, other}, [2]string{identifier, other}, host, level)
	}
	s.keys[stream.Key] = struct{}{}
	src := *s.base
	src.Streams = [record.Outputs]*record.Stream{stream}
	return &src
}

// stream makes a stream. Of what may be a label with many values there are two: the name,
// and the one that is shown where it is a label.
func (s *sources) stream(unit, identifier [2]string, host string, level int8) *record.Stream {
	all := s.base.Streams[record.OutputNone]
	labels, metadata := slices.Clone(all.Labels), slices.Clone(all.Metadata)
	add := func(name string, value [2]string) {
		switch {
		case !slices.Contains(s.labels, name):
			metadata = append(metadata, record.Label{Name: name, Value: value[0]})
		case value[0] != value[1]:
			metadata = append(metadata, record.Label{Name: "full_" + name, Value: value[0]})
			fallthrough
		default:
			labels = append(labels, record.Label{Name: name, Value: value[1]})
		}
	}
	if host != "" {
		labels = append(labels, record.Label{Name: "host", Value: host}) // instead of this host's
	}
	add(LabelUnit, unit)
	add(LabelIdentifier, identifier)
	if level >= 0 {
		add(LabelLevel, [2]string{levels[level], levels[level]})
	}
	return record.NewStream(labels, metadata)
}
