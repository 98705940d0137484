package shape

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/logcapturer/log_capturer/internal/charset"
	"github.com/logcapturer/log_capturer/internal/format/timestamp"
	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/units"
)

// The values of format.
const (
	Plain  = "plain"
	CRI    = "cri"
	Syslog = "syslog"
)

// minPartial is the least time after which a line without an end is taken for one.
const minPartial = units.Duration(100 * time.Millisecond)

// Config says how the text of a log becomes entries.
type Config struct {
	Encoding  string           `yaml:"encoding" jsonschema_description:"How the text is written where no byte order mark tells: utf-8, utf-16le, utf-16be, latin1 or windows-1252. Entries are UTF-8; bytes that are no text stand as \\xNN."`
	Format    string           `yaml:"format" jsonschema:"enum=plain,enum=cri,enum=syslog" jsonschema_description:"What stands around the text of each line: plain (nothing), cri (the logs of Kubernetes containers, whose time and output are taken and parts joined), syslog (its timestamp is taken; the line stays whole)."`
	Timestamp TimestampConfig  `yaml:"timestamp" jsonschema_description:"Where the time of an entry stands in its first line. Empty = the time at which it was read, or that of the format."`
	Multiline multiline.Config `yaml:"multiline" jsonschema_description:"Which lines become one entry."`
	Partial   units.Duration   `yaml:"partial" jsonschema_description:"After what time a last line without its newline is taken as it is, 100ms or more; what is written to it later is another entry. 0 = it waits for its newline, or for the end of its file."`
}

// TimestampConfig says what the timestamps of a log look like.
type TimestampConfig struct {
	Format string `yaml:"format" jsonschema_description:"A name (rfc3339, iso8601, common_log, syslog, unix, unix_ms and others), a strptime format such as %d/%b/%Y %H:%M:%S, or a layout of Go such as 2006-01-02 15:04:05. Empty = none is looked for."`
	After  string `yaml:"after" jsonschema_description:"Regular expression; the timestamp begins where its first match ends. Empty = at the beginning of the line."`
	Zone   string `yaml:"zone" jsonschema_description:"Time zone of timestamps that name none, such as Europe/Berlin, UTC or Local."`
}

// DefaultConfig takes every line for an entry, and the time at which it is read for its
// timestamp.
func DefaultConfig() Config {
	return Config{
		Encoding: charset.UTF8.String(), Format: Plain,
		Timestamp: TimestampConfig{Zone: "Local"}, Multiline: multiline.DefaultConfig(),
	}
}

// Validate reports what is wrong with the settings.
func (c Config) Validate() []units.FieldError {
	var errs []units.FieldError
	if _, err := charset.ByName(c.Encoding); err != nil {
		errs = append(errs, units.Errorf("encoding", "%v", err))
	}
	errs = append(errs, units.OneOf("format", c.Format, Plain, CRI, Syslog)...)
	if c.Partial != 0 && c.Partial < minPartial {
		errs = append(errs, units.Errorf("partial", "%s is too short; expected %s or more, or 0 for never", c.Partial, minPartial))
	}
	if _, err := c.Timestamp.compile(); err != nil {
		errs = append(errs, units.Errorf("timestamp", "%v", err))
	}
	if c.Format != Plain && c.Timestamp.Format != "" {
		errs = append(errs, units.Errorf("timestamp.format", "the format %s has timestamps of its own; remove one of the two", c.Format))
	}
	return errs
}

// compile returns nil when no timestamp is looked for.
func (c TimestampConfig) compile() (*timestamp.Pattern, error) {
	zone, err := time.LoadLocation(cmp.Or(c.Zone, "Local"))
	if err != nil {
		return nil, fmt.Errorf("zone %q is not known: %w; write one such as Europe/Berlin, UTC or Local", c.Zone, err)
	}
	if c.Format == "" {
		if c.After != "" {
			return nil, errors.New("after says where a timestamp stands, and format what it looks like; give format, too")
		}
		return nil, nil
	}
	return timestamp.Compile(timestamp.Options{Format: c.Format, After: c.After, Zone: zone})
}

// Shape is a Config that is ready for use, by any number of logs.
type Shape struct {
	encoding charset.Encoding
	format   string
	zone     *time.Location
	stamps   *timestamp.Pattern // nil: the time of reading
	matcher  *multiline.Matcher // nil: every line is an entry
	partial  time.Duration
	maxLine  int
}

// plain tells that every line is an entry, with the time of reading.
func (s *Shape) plain() bool { return s.format == Plain && s.stamps == nil && s.matcher == nil }

// Compile makes a Shape of valid settings. Entries are not longer than maxLine bytes.
func (c Config) Compile(maxLine units.Size) (*Shape, error) {
	s := &Shape{format: c.Format, partial: time.Duration(c.Partial), maxLine: int(maxLine)}
	var errs [4]error
	s.encoding, errs[0] = charset.ByName(c.Encoding)
	s.zone, errs[1] = time.LoadLocation(cmp.Or(c.Timestamp.Zone, "Local"))
	s.stamps, errs[2] = c.Timestamp.compile()
	s.matcher, errs[3] = multiline.New(c.Multiline, maxLine)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("compile how lines become entries: %w", err)
	}
	return s, nil
}

// Lines is the Shape of DefaultConfig: every line is an entry.
func Lines(maxLine int) *Shape { return &Shape{format: Plain, maxLine: maxLine} }
