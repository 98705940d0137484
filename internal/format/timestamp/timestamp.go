// Package timestamp finds and reads the timestamp of a log line.
//
// A Pattern is compiled once from a format and from where the timestamp stands, and then
// reads lines without allocating. The format is one of the names of Names, a strptime
// format ("%d/%b/%Y %H:%M:%S") or a layout of Go's package time ("02/Jan/2006 15:04:05").
// The usual formats have routines of their own; all others run as a list of small steps.
//
// Nothing is guessed: a date that does not exist, a zone by an abbreviation that several
// countries use, or milliseconds where seconds were announced are errors, and the line's
// timestamp is then for the caller to choose. Two things that timestamps leave out are
// resolved, both by one rule: of the moments that the text can mean, it is the latest one
// that is not in the future.
//
//   - A missing year: a December line that is read in January is last year's, "Feb 29" is
//     that of the last leap year. Up to a day in the future is still this year's: clocks
//     and time zones are wrong more often than lines are a year old.
//   - The hour that happens twice when summer time ends: the first one while the second
//     is still to come, then the second. An hour that never happened, when summer time
//     begins, is read as if the clock had not been changed yet.
//
// "The future" is measured against a time that the caller gives: its clock for lines that
// were written just now, the file's modification time for old files.
package timestamp

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxSearch is how many of a line's first bytes are searched for the place of its
// timestamp, so that a line of a megabyte costs no more than another.
const maxSearch = 4 << 10

// Options say what the timestamps of a log look like.
type Options struct {
	// Format is a name, a strptime format or a Go layout.
	Format string
	// After is a regular expression: the timestamp begins where its first match ends.
	// Empty: where the format usually stands, which is the line's start, and for
	// common_log behind the first "[".
	After string
	// Column is how many bytes stand before the timestamp; not together with After.
	Column int
	// Zone is that of timestamps which name none; UTC when nil.
	Zone *time.Location
}

// routine reads a timestamp at the start of b: ns since the epoch, and its length, which
// is 0 when there is none. zone and now resolve what the text leaves out.
type routine func(b []byte, zone *time.Location, now int64) (ns int64, n int)

// Pattern reads the timestamps of one kind of log. It does not change, and may be used by
// several goroutines.
type Pattern struct {
	read    routine
	zone    *time.Location
	column  int
	literal []byte         // what the timestamp stands behind; nil when after says
	after   *regexp.Regexp // matches from the line's start to the timestamp's
	errAt   error
	errRead error
}

// Stamp is a timestamp and where it was.
type Stamp struct {
	Time       int64 // ns since the epoch
	Start, End int   // its bytes in the line
}

// Compile makes a Pattern. The errors name what is wrong with the options.
func Compile(o Options) (*Pattern, error) {
	p := &Pattern{zone: o.Zone, column: o.Column}
	if p.zone == nil {
		p.zone = time.UTC
	}
	if o.Column < 0 || o.Column > maxSearch {
		return nil, fmt.Errorf("timestamp column %d: it has to be between 0 and %d", o.Column, maxSearch)
	}
	if o.Column > 0 && o.After != "" {
		return nil, errors.New("timestamp: column and after say both where it is; use one of them")
	}
	var example, before string
	if i := slices.IndexFunc(formats, func(f format) bool { return f.name == o.Format }); i >= 0 {
		p.read, example, before = formats[i].read, formats[i].example, formats[i].after
	} else {
		prog, err := compile(o.Format)
		if err != nil {
			return nil, err
		}
		p.read, example = prog.read, prog.example()
	}
	switch {
	case o.After != "":
		if err := p.place(o.After); err != nil {
			return nil, err
		}
	case o.Column == 0 && before != "":
		p.literal = []byte(before)
	}
	p.errAt = fmt.Errorf("no timestamp: nothing in the line matches %q, behind which it was expected", o.After+before)
	p.errRead = fmt.Errorf("no timestamp of format %s where it was expected; it would look like %q", o.Format, example)
	return p, nil
}

func (p *Pattern) place(after string) error {
	re, err := regexp.Compile(after)
	if err != nil {
		return fmt.Errorf("timestamp after %q: %w", after, err)
	}
	if literal, whole := re.LiteralPrefix(); whole {
		p.literal = []byte(literal)
		return nil
	}
	// The match begins at the line's start and ends with the first match of after: its
	// length is the place, and Find, unlike FindIndex, allocates nothing.
	p.after = regexp.MustCompile(`(?s:^.*?)(?:` + after + `)`)
	return nil
}

// Parse reads the timestamp of a line. now, in ns since the epoch, resolves what the
// timestamp leaves out. The error says what was expected, is the same for every line of
// the pattern and costs nothing.
func (p *Pattern) Parse(line []byte, now int64) (Stamp, error) {
	at := p.column
	if p.literal != nil {
		i := bytes.Index(line[:min(len(line), maxSearch)], p.literal)
		if i < 0 {
			return Stamp{}, p.errAt
		}
		at = i + len(p.literal)
	} else if p.after != nil {
		match := p.after.Find(line[:min(len(line), maxSearch)])
		if match == nil {
			return Stamp{}, p.errAt
		}
		at = len(match)
	}
	if at >= len(line) {
		return Stamp{}, p.errRead
	}
	ns, n := p.read(line[at:], p.zone, now)
	if n == 0 || at+n < len(line) && isDigit(line[at+n]) {
		return Stamp{}, p.errRead
	}
	return Stamp{Time: ns, Start: at, End: at + n}, nil
}

// format is one that has a name.
type format struct {
	name, example string
	after         string // where it usually stands
	read          routine
}

var formats = []format{
	{"rfc3339", "2009-11-10T23:00:00Z", "", rfc3339},
	{"rfc3339nano", "2009-11-10T23:00:00.123456789Z", "", rfc3339},
	{"iso8601", "2009-11-10 23:00:00,123", "", ISO8601},
	{"common_log", "10/Nov/2009:23:00:00 +0000", "[", commonLog},
	{"go", "2009/11/10 23:00:00", "", goLog},
	{"nginx_error", "2009/11/10 23:00:00", "", goLog},
	{"klog", "I1110 23:00:00.123456", "", klog},
	{"syslog", "Nov 10 23:00:00", "", Syslog},
	{"unix", "1257894000", "", unixSeconds},
	{"unix_ms", "1257894000123", "", unixMillis},
	{"unix_us", "1257894000123456", "", unixMicros},
	{"unix_ns", "1257894000123456789", "", unixNanos},
}

// Names returns the formats that have a name.
func Names() []string {
	names := make([]string, len(formats))
	for i := range formats {
		names[i] = formats[i].name
	}
	return names
}

func namesText() string { return strings.Join(Names(), ", ") }
