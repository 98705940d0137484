package record

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Caps on what names and values from outside may cost. The numbers are Loki's
// default limits (limits_config: max_label_names_per_series 15, max_label_name_length
// 1024, max_label_value_length 2048), kept with room for labels that users add.
const (
	MaxLabels     = 15
	MaxLabelName  = 256
	MaxLabelValue = 2048
)

// Label is one name and its value.
type Label struct{ Name, Value string }

// Labels is a set of labels. Once cleaned it is sorted by name, without repeats.
type Labels []Label

// Clean returns a new, sorted set in which every name is a valid label name, every
// value is valid UTF-8 without control characters, both are capped in length and
// empty values are left out. Of two equal names the last one given wins.
func (l Labels) Clean() Labels {
	out := make(Labels, 0, len(l))
	for _, label := range l {
		name, value := CleanName(label.Name), CleanValue(label.Value)
		if i := slices.IndexFunc(out, func(o Label) bool { return o.Name == name }); i >= 0 {
			out = slices.Delete(out, i, i+1)
		}
		if value != "" {
			out = append(out, Label{name, value})
		}
	}
	slices.SortFunc(out, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	if len(out) > MaxLabels {
		out = out[:MaxLabels]
	}
	return out
}

// Get returns the value of a label, or "".
func (l Labels) Get(name string) string {
	for _, label := range l {
		if label.Name == name {
			return label.Value
		}
	}
	return ""
}

// String returns {a="b", c="d"}: the form in which Loki takes a stream's labels.
func (l Labels) String() string {
	b := []byte{'{'}
	for i, label := range l {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, label.Name...)
		b = append(b, '=')
		b = strconv.AppendQuote(b, label.Value)
	}
	return string(append(b, '}'))
}

// CleanName makes a valid Prometheus label name of any text: [a-zA-Z_][a-zA-Z0-9_]*.
func CleanName(name string) string {
	if name == "" {
		return "_"
	}
	if len(name) > MaxLabelName {
		name = name[:MaxLabelName]
	}
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if clean[0] >= '0' && clean[0] <= '9' {
		clean = "_" + clean
	}
	return clean
}

// CleanValue replaces control characters and invalid UTF-8 and caps the length.
func CleanValue(value string) string {
	if len(value) > MaxLabelValue {
		value = value[:MaxLabelValue]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '_'
		}
		return r
	}, value)
}
