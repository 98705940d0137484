package multiline

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Bounds of the settings.
const (
	minFlush    = units.Duration(10 * time.Millisecond)
	maxFlush    = units.Duration(time.Minute)
	minMaxLines = 2
	maxMaxLines = 100_000
	minMaxBytes = 1 * units.KiB
	maxMaxBytes = 64 * units.MiB
)

// Config is multiline: which lines become one entry.
type Config struct {
	Presets  []string       `yaml:"presets" jsonschema:"enum=java,enum=python,enum=go,enum=ruby,enum=dotnet,enum=node,enum=indented" jsonschema_description:"What is taken together: the stack traces of java, python, go, ruby, dotnet and node, any number of them at once, or indented (every line that begins with a space or a tab belongs to the line before it). Empty = every line is an entry, unless start or continue is given."`
	Start    string         `yaml:"start" jsonschema_description:"Regular expression for the first line of an entry, such as ^\\d{4}-\\d{2}-\\d{2}; all lines up to the next first line belong to it, or, when continue is given too, those that match continue."`
	Continue string         `yaml:"continue" jsonschema_description:"Regular expression for the lines that belong to the line before them, such as ^\\s or ^[}\\])]."`
	Flush    units.Duration `yaml:"flush" jsonschema_description:"How long an entry that may go on waits for its next line; 10ms to 1m. The last lines of a quiet log come this much later."`
	MaxLines int            `yaml:"max_lines" jsonschema:"minimum=2,maximum=100000" jsonschema_description:"The most lines that become one entry, 2 to 100000; what follows is another entry."`
	MaxBytes units.Size     `yaml:"max_bytes" jsonschema_description:"The longest entry; what follows is another entry. 1KiB to 64MiB, and never more than max_line."`
}

// DefaultConfig takes every line for an entry. Its bounds are those that Loki accepts
// as it is delivered: 256KiB for an entry.
func DefaultConfig() Config {
	return Config{Flush: units.Duration(time.Second), MaxLines: 500, MaxBytes: 256 * units.KiB}
}

// IsZero tells whether every line is an entry.
func (c Config) IsZero() bool { return len(c.Presets) == 0 && c.Start == "" && c.Continue == "" }

// Validate reports what is wrong with the settings.
func (c Config) Validate() []units.FieldError {
	errs := checkPresets(c.Presets)
	errs = append(append(errs, checkPattern("start", c.Start)...), checkPattern("continue", c.Continue)...)
	if len(c.Presets) > 0 && c.Start != "" {
		errs = append(errs, units.Errorf("start", "stands beside presets; keep one: a start pattern takes traces together too"))
	}
	if len(c.Presets) > 0 && c.Continue != "" {
		errs = append(errs, units.Errorf("continue", "stands beside presets; keep one, or give start and continue without presets"))
	}
	if c.Flush < minFlush || c.Flush > maxFlush {
		errs = append(errs, units.Errorf("flush", "%s is out of range; expected %s to %s", c.Flush, minFlush, maxFlush))
	}
	if c.MaxLines < minMaxLines || c.MaxLines > maxMaxLines {
		errs = append(errs, units.Errorf("max_lines", "%d is out of range; expected %d to %d", c.MaxLines, minMaxLines, maxMaxLines))
	}
	if c.MaxBytes < minMaxBytes || c.MaxBytes > maxMaxBytes {
		errs = append(errs, units.Errorf("max_bytes", "%s is out of range; expected %s to %s", c.MaxBytes, minMaxBytes, maxMaxBytes))
	}
	return errs
}

func checkPresets(names []string) []units.FieldError {
	var errs []units.FieldError
	for i, name := range names {
		at := fmt.Sprintf("presets[%d]", i)
		if slices.Contains(names[:i], name) {
			errs = append(errs, units.Errorf(at, "%q is given twice; keep one", name))
			continue
		}
		errs = append(errs, units.OneOf(at, name, slices.Sorted(maps.Keys(presets))...)...)
	}
	return errs
}

func checkPattern(path, pattern string) []units.FieldError {
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return []units.FieldError{units.Errorf(path, "%q is no regular expression: %s; put a backslash before a character that is meant itself", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))}
	}
	if !slices.ContainsFunc([]string{"", " ", "a", "A", "0", "["}, func(s string) bool { return !re.MatchString(s) }) {
		return []units.FieldError{units.Errorf(path, "%q matches every line; say how such a line begins, as in ^\\d{4}- or ^\\s", pattern)}
	}
	return nil
}
