package discover

import (
	"errors"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Since says how much history is read of a source that is seen for the first time.
// The zero value means all of it.
type Since struct {
	now bool
	ago units.Duration
}

// SinceNow reads no history.
func SinceNow() Since { return Since{now: true} }

// SinceAgo reads the history of the last d; zero means all of it.
func SinceAgo(d units.Duration) Since { return Since{ago: d} }

// Time returns the moment from which on history is wanted; zero = from the start.
func (s Since) Time(now time.Time) time.Time {
	if s.now {
		return now
	}
	if s.ago == 0 {
		return time.Time{}
	}
	return now.Add(-s.ago.Std())
}

// String returns start, now or a duration.
func (s Since) String() string {
	switch {
	case s.now:
		return "now"
	case s.ago == 0:
		return "start"
	}
	return s.ago.String()
}

// MarshalText returns String.
func (s Since) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String returns.
func (s *Since) UnmarshalText(text []byte) error {
	switch string(text) {
	case "start":
		*s = Since{}
		return nil
	case "now":
		*s = SinceNow()
		return nil
	}
	d, err := units.ParseDuration(string(text))
	if err != nil || d == 0 {
		return errors.New("expected start, now or a duration such as 10m")
	}
	*s = SinceAgo(d)
	return nil
}

// JSONSchema describes the text form.
func (Since) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Title:    "start, now or a duration",
		AnyOf:    []*jsonschema.Schema{{Type: "string", Enum: []any{"start", "now"}}, units.Duration(0).JSONSchema()},
		Examples: []any{"start", "now", "10m"},
	}
}
