package discover

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

// JournalConfig is journal_monitor: which entries of systemd's journal are captured.
type JournalConfig struct {
	Enabled      bool       `yaml:"enabled" jsonschema_description:"Capture systemd's journal, which is read through journalctl (systemd 236 or later)."`
	Units        []string   `yaml:"units" jsonschema_description:"Capture only the entries of these units: names, .service where they have no type, or globs with *, ? and [a-z]. Empty = of all, and those of no unit, such as the kernel's."`
	ExcludeUnits []string   `yaml:"exclude_units" jsonschema_description:"Leave out the entries of these units."`
	Identifiers  []string   `yaml:"identifiers" jsonschema_description:"Capture only the entries with one of these SYSLOG_IDENTIFIERs, such as sudo or kernel."`
	Priority     string     `yaml:"priority" jsonschema:"enum=emerg,enum=alert,enum=crit,enum=error,enum=warning,enum=notice,enum=info,enum=debug" jsonschema_description:"The least important entries that are captured; with debug those without a priority too."`
	Matches      []string   `yaml:"matches" jsonschema_description:"Capture only the entries that match, as journalctl does: FIELD=VALUE, of which those with the same field are alternatives, and a + between groups of which one is enough."`
	Since        Since      `yaml:"since" jsonschema_description:"How much history is read when the journal is read for the first time: start (all), now (none) or a duration such as 10m."`
	Labels       []string   `yaml:"labels" jsonschema:"enum=unit,enum=level,enum=identifier" jsonschema_description:"Which of unit, level and identifier become stream labels; the others are sent as structured metadata."`
	Directory    string     `yaml:"directory" jsonschema_description:"Where the journal's files are: that of a host in a container, such as /host/var/log/journal. Empty = this host's."`
	Journalctl   string     `yaml:"journalctl" jsonschema_description:"The program, as a path or a name that is looked for in $PATH."`
	MaxLine      units.Size `yaml:"max_line" jsonschema_description:"The longest message that is kept whole; what is beyond is cut off, marked and counted. 1KiB to 64MiB."`
}

// DefaultJournalConfig captures nothing; enabled, it captures all that is written from then on.
func DefaultJournalConfig() JournalConfig {
	return JournalConfig{Priority: "debug", Since: SinceNow(), Labels: []string{"unit", "level"}, Journalctl: "journalctl", MaxLine: units.MiB}
}

// priorities are the words for priorities, from 0 on.
func priorities() []string {
	return []string{"emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"}
}

// MaxPriority returns the number of the least important priority that is captured.
func (c JournalConfig) MaxPriority() int { return slices.Index(priorities(), c.Priority) }

var (
	unitName   = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,255}$`)
	unitType   = regexp.MustCompile(`\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$`)
	fieldMatch = regexp.MustCompile(`^[A-Z0-9_]{1,64}=[^\x00]*$`)
)

// isGlob tells globs of units from names.
func isGlob(unit string) bool { return strings.ContainsAny(unit, "*?[") }

// UnitNames returns names as systemd has them: with their type.
func UnitNames(names []string) []string {
	out := slices.Clone(names)
	for i, n := range out {
		if !isGlob(n) && !unitType.MatchString(n) {
			out[i] += ".service"
		}
	}
	return out
}

// Validate reports what is wrong with the settings.
func (c JournalConfig) Validate() []units.FieldError {
	errs := append(checkUnits("units", c.Units), checkUnits("exclude_units", c.ExcludeUnits)...)
	errs = append(errs, units.OneOf("priority", c.Priority, priorities()...)...)
	for i, id := range c.Identifiers {
		if id == "" || strings.ContainsRune(id, 0) {
			errs = append(errs, units.Errorf(fmt.Sprintf("identifiers[%d]", i), "no identifier; remove it, or write one such as sudo"))
		}
	}
	for i, m := range c.Matches {
		between := m == "+" && i > 0 && i < len(c.Matches)-1 && c.Matches[i-1] != "+"
		if !between && !fieldMatch.MatchString(m) {
			errs = append(errs, units.Errorf(fmt.Sprintf("matches[%d]", i), "%q is no match; write FIELD=VALUE, such as _TRANSPORT=kernel, or + between two of them", m))
		}
	}
	for i, label := range c.Labels {
		at := fmt.Sprintf("labels[%d]", i)
		if errs = append(errs, units.OneOf(at, label, "unit", "level", "identifier")...); slices.Contains(c.Labels[:i], label) {
			errs = append(errs, units.Errorf(at, "%q is given twice; keep one", label))
		}
	}
	if c.Directory != "" && !filepath.IsAbs(c.Directory) {
		errs = append(errs, units.Errorf("directory", "%q depends on the working directory; write an absolute path", c.Directory))
	}
	if c.Journalctl == "" {
		errs = append(errs, units.Errorf("journalctl", "no program; write journalctl, or the path where it is"))
	}
	return append(errs, checkMaxLine(c.MaxLine)...)
}

func checkUnits(key string, names []string) []units.FieldError {
	var errs []units.FieldError
	for i, n := range names {
		at := fmt.Sprintf("%s[%d]", key, i)
		_, err := path.Match(n, "")
		switch {
		case isGlob(n) && err != nil:
			errs = append(errs, units.Errorf(at, "%q is no glob; use *, ? and [a-z]", n))
		case !isGlob(n) && !unitName.MatchString(n):
			errs = append(errs, units.Errorf(at, "%q is no unit's name; write one such as nginx.service, or a glob", n))
		}
	}
	return errs
}

// Target returns the journal as what is to be captured. hostname becomes the label host of
// entries that do not say where they are from.
func (c JournalConfig) Target(hostname string, now time.Time) source.Target {
	s := &record.Source{ID: "journal", Kind: "journal", Name: "journal", CanWait: true}
	s.Streams[record.OutputNone] = record.NewStream(record.Labels{{Name: "job", Value: "systemd-journal"}, {Name: "host", Value: hostname}}, nil)
	return source.Target{Source: s, Mode: source.Stream, Reason: "systemd's journal", Since: c.Since.Time(now)}
}
