package discover

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// The labels by which a container says itself how it is captured, after this prefix.
const (
	optionPrefix  = "log_capturer."
	optEnable     = "enable"
	optRead       = "read"
	optSince      = "since"
	optSelf       = "self"
	optExits      = "exit_events"
	optMarkers    = "loss_markers"
	optMultiline  = "multiline"
	optLabel      = "label"    // label.NAME
	optMetadata   = "metadata" // metadata.NAME
	maxBadOptions = 10         // that are logged, per container
)

// SelfLabel marks a container as the agent's own when its value is "true".
const SelfLabel = optionPrefix + optSelf

// options are how one container is captured, by its labels and the configuration.
type options struct {
	enabled, disabled bool
	read              source.Mode // empty = as configured
	since             Since
	exits, markers    bool
	lines             *lines        // nil = as configured
	labels, metadata  record.Labels // by name
}

// badOption is a label that says nothing that is understood.
type badOption struct {
	label, value, want string
	// stranger: it resembles none of ours, and may be meant for somebody else.
	stranger bool
}

// optionsOf reads a container's labels. What is not understood has no effect.
func optionsOf(labels map[string]string, config ContainerConfig) (o options, bad []badOption) {
	o = options{since: config.Since, exits: config.ExitEvents, markers: config.LossMarkers}
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		name, ours := strings.CutPrefix(label, optionPrefix)
		if !ours {
			continue
		}
		if want := o.set(name, labels[label]); want != "" {
			bad = append(bad, badOption{label: label, value: labels[label], want: want})
		} else if !knownOption(name) {
			near, found := nearest(name)
			bad = append(bad, badOption{label: label, value: labels[label], want: near, stranger: !found})
		}
	}
	return o, bad
}

// set takes in one option and says what would be right if the value is not.
func (o *options) set(name, value string) (want string) {
	name, key, keyed := strings.Cut(name, ".")
	if keyed != (name == optLabel || name == optMetadata) {
		if keyed {
			return "" // unknown
		}
		return fmt.Sprintf("%s%s.NAME=VALUE", optionPrefix, name)
	}
	switch name {
	case optEnable:
		return truth(value, func(yes bool) { o.enabled, o.disabled = yes, !yes })
	case optSelf:
		return truth(value, func(bool) {})
	case optExits:
		return truth(value, func(yes bool) { o.exits = yes })
	case optMarkers:
		return truth(value, func(yes bool) { o.markers = yes })
	case optRead:
		if !slices.Contains(modes(), value) {
			return "auto, file, stream or poll"
		}
		o.read = source.Mode(value)
	case optSince:
		var s Since
		if err := s.UnmarshalText([]byte(value)); err != nil {
			return "start, now or a duration such as 10m"
		}
		o.since = s
	case optMultiline:
		l, want := linesOf(value)
		if l == nil {
			return want
		}
		o.lines = l
	case optLabel:
		return attach(&o.labels, key, value)
	case optMetadata:
		return attach(&o.metadata, key, value)
	}
	return ""
}

func truth(value string, set func(bool)) (want string) {
	if value != "true" && value != "false" {
		return "true or false"
	}
	set(value == "true")
	return ""
}

// always are the names that every container's entries have.
func always() []string {
	return []string{"job", "host", "container", "stream", "container_id", "image"}
}

func attach(to *record.Labels, name, value string) (want string) {
	if name == "" {
		return "a name behind the last dot"
	}
	name = record.CleanName(name)
	if slices.Contains(always(), name) {
		return "another name: " + name + " is set by the agent"
	}
	*to = append(*to, record.Label{Name: name, Value: value})
	return ""
}

func knownOption(name string) bool {
	first, _, keyed := strings.Cut(name, ".")
	switch first {
	case optEnable, optRead, optSince, optSelf, optExits, optMarkers, optMultiline:
		return !keyed
	case optLabel, optMetadata:
		return true
	}
	return false
}

// nearest returns the label that an unknown one was meant to be; found is false when it
// resembles none, and the answer then names them all.
func nearest(name string) (want string, found bool) {
	const typo = 2 // so many letters off
	first, _, _ := strings.Cut(name, ".")
	best := typo + 1
	known := []string{optEnable, optRead, optSince, optSelf, optExits, optMarkers, optMultiline, optLabel, optMetadata}
	for _, k := range known {
		if d := distance(strings.ToLower(first), k); d < best && d < len(k)-1 {
			best, want = d, k
		}
	}
	if want == "" {
		return "one of " + optionPrefix + strings.Join(known, ", "+optionPrefix), false
	}
	if want == optLabel || want == optMetadata {
		want += ".NAME"
	}
	return optionPrefix + want, true
}

// distance counts the insertions, deletions and replacements between two words; a long
// one is far from all.
func distance(a, b string) int {
	if len(a) > 32 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, cost)
		}
	}
	return row[len(b)]
}

// complain tells of labels that are not understood, once per container.
func (c *Containers) complain(container string, bad []badOption) {
	told := 0
	for _, b := range bad {
		if b.stranger {
			c.log.Debug("a container's label is none of the agent's", "container", container, "label", b.label, "known", b.want)
			continue
		}
		if told++; told > maxBadOptions {
			c.log.Warn("more labels of this container are not understood", "container", container)
			return
		}
		c.log.Warn("a container's label is not understood and has no effect", "container", container,
			"label", b.label, "value", record.CleanValue(b.value), "expected", b.want)
	}
}
