package units

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// Lengths of the units that package time does not have. A day is 24 hours.
const (
	day  = 24 * time.Hour
	week = 7 * day
)

// Duration is a length of time in nanoseconds, written as 500ms, 5m, 1h30m or 7d.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

var errDuration = errors.New("expected a duration such as 500ms, 30s, 5m, 1h30m or 7d")

// ParseDuration reads a duration that is not negative. Besides the standard library's
// units it knows d (24 hours) and w (7 days), whole and in front.
func ParseDuration(text string) (Duration, error) {
	rest, sum := text, time.Duration(0)
	for _, unit := range []struct {
		suffix string
		length time.Duration
	}{{"w", week}, {"d", day}} {
		number, after, found := strings.Cut(rest, unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || int64(n) > int64((math.MaxInt64-sum)/unit.length) {
			return 0, errDuration
		}
		sum, rest = sum+time.Duration(n)*unit.length, after
	}
	if rest == "" && text != "" {
		return Duration(sum), nil
	}
	if strings.ContainsAny(rest, "+-") {
		return 0, errDuration
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d > math.MaxInt64-sum {
		return 0, errDuration
	}
	return Duration(sum + d), nil
}

// String returns the shortest common form: 7d, 1h30m, 250ms.
func (d Duration) String() string {
	std := time.Duration(d)
	if std < 0 { // never read from a file
		return std.String()
	}
	var b strings.Builder
	if days := std / day; days > 0 {
		b.WriteString(strconv.FormatInt(int64(days), 10) + "d")
		std -= days * day
		if std == 0 {
			return b.String()
		}
	}
	s := std.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return b.String() + s
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// JSONSchema describes the text form.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type:      "string",
		Title:     "duration",
		MinLength: new(uint64(1)),
		Pattern:   `^(0|(\d+w)?(\d+d)?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)$`,
		Examples:  []any{"500ms", "30s", "5m", "1h30m", "7d"},
	}
}
