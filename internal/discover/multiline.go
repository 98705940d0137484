package discover

import (
	"reflect"
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/units"
)

// ContainerRule is which lines of some containers are one entry.
type ContainerRule struct {
	Filter `yaml:",inline"`

	Multiline multiline.Config `yaml:"multiline" jsonschema_description:"Which lines become one entry, per output."`
}

// Default implements config.Defaulter.
func (r *ContainerRule) Default() { r.Multiline = multiline.DefaultConfig() }

// Validate reports what is wrong with the settings.
func (r ContainerRule) Validate() []units.FieldError {
	if r.Filter.IsZero() {
		return []units.FieldError{units.Errorf("names", "the rule names no containers; give names, images or labels, or remove it")}
	}
	return r.Filter.Validate()
}

// multilineOf returns which lines of a container are one entry, as configured.
func (c ContainerConfig) multilineOf(d docker.Details) multiline.Config {
	if n := slices.IndexFunc(c.Rules, func(r ContainerRule) bool { return r.all(d) }); n >= 0 {
		return c.Rules[n].Multiline
	}
	return c.Multiline
}

// lines are which lines of a container are one entry, by its label.
type lines struct {
	presets []string
	start   string
}

// multilineOff is the value of the label that takes every line for an entry.
const multilineOff = "off"

// linesOf reads the label: presets, a pattern, or off. want says what would be right.
func linesOf(value string) (l *lines, want string) {
	const expected = "off, presets such as java,python (or go, ruby, dotnet, node, indented), or a pattern of first lines that begins with ^"
	value = strings.TrimSpace(value)
	l = &lines{}
	switch {
	case value == multilineOff:
		return l, ""
	case strings.HasPrefix(value, "^"):
		l.start = value
	default:
		for name := range strings.SplitSeq(value, ",") {
			l.presets = append(l.presets, strings.TrimSpace(name))
		}
	}
	config := multiline.DefaultConfig()
	config.Presets, config.Start = l.presets, l.start
	errs := config.Validate()
	switch {
	case len(errs) == 0:
		return l, ""
	case l.start != "":
		return nil, "another pattern: " + errs[0].Msg
	}
	return nil, expected
}

// joined is a Matcher and what it was made of.
type joined struct {
	config  multiline.Config
	matcher *multiline.Matcher
}

// keptMatchers is how many are kept, so that containers that say the same share one.
const keptMatchers = 64

// matcher returns which lines of a container are one entry: the same one as before if that
// did not change. The caller holds mu.
func (c *Containers) matcher(k *container) *multiline.Matcher {
	config := c.config.multilineOf(k.details)
	if l := k.options.lines; l != nil {
		config.Presets, config.Start, config.Continue = l.presets, l.start, ""
	}
	if !reflect.DeepEqual(config, k.joined.config) {
		k.joined = joined{config, c.compile(k, config)}
	}
	return k.joined.matcher
}

func (c *Containers) compile(k *container, config multiline.Config) *multiline.Matcher {
	same := func(j joined) bool { return reflect.DeepEqual(j.config, config) }
	if n := slices.IndexFunc(c.matchers, same); n >= 0 {
		return c.matchers[n].matcher
	}
	m, err := multiline.New(config, c.config.MaxLine)
	if err != nil { // not of settings that were validated
		c.log.Warn("lines of a container are not joined", "container", k.details.Name, "error", err)
	}
	if len(c.matchers) >= keptMatchers {
		c.matchers = slices.Delete(c.matchers, 0, 1)
	}
	c.matchers = append(c.matchers, joined{config, m})
	return m
}
