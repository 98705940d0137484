package discover

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/invopop/jsonschema"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

// Bounds of the settings.
const (
	minMaxLine   = 1 * units.KiB
	maxMaxLine   = 64 * units.MiB
	minReconcile = units.Duration(time.Second)
	// maxLabels leaves room for the labels that every stream has.
	maxLabels = record.MaxLabels - 5
)

// The values of container_monitor.self.
const (
	SelfExclude = "exclude"
	SelfInclude = "include"
)

// ContainerConfig is container_monitor: which containers are captured, and how.
type ContainerConfig struct {
	Enabled           bool           `yaml:"enabled" jsonschema_description:"Capture the logs of containers."`
	DockerHost        string         `yaml:"docker_host" jsonschema_description:"Where the Docker engine listens: unix:///path, tcp://host:port, http://… or https://…. Empty means $DOCKER_HOST, else unix:///var/run/docker.sock."`
	Read              source.Mode    `yaml:"read" jsonschema:"enum=auto,enum=file,enum=stream" jsonschema_description:"How logs are read: file reads the engine's json-files directly, stream follows through the Engine API, auto takes file where the driver is json-file and the file is readable, else stream."`
	Include           Filter         `yaml:"include" jsonschema_description:"Capture only the containers that match every list that is not empty."`
	Exclude           Filter         `yaml:"exclude" jsonschema_description:"Leave out the containers that match any of these."`
	Self              string         `yaml:"self" jsonschema:"enum=exclude,enum=include" jsonschema_description:"Whether the agent captures its own container."`
	Since             Since          `yaml:"since" jsonschema_description:"How much history is read of a container that is seen for the first time: start (all), now (none) or a duration such as 10m."`
	ReconcileInterval units.Duration `yaml:"reconcile_interval" jsonschema_description:"How often the list of containers is asked for, besides the engine's events; at least 1s."`
	Labels            []string       `yaml:"labels" jsonschema_description:"Which metadata of a container become stream labels; the rest is sent as structured metadata."`
	MaxLine           units.Size     `yaml:"max_line" jsonschema_description:"The longest line that is kept whole; what is beyond is cut off, marked and counted. 1KiB to 64MiB."`
}

// Filter selects containers. Lists hold globs; a container matches a list when one of
// its globs matches, and labels when all of them do.
type Filter struct {
	Names  []string          `yaml:"names" jsonschema_description:"Globs on the container's name, without a leading slash."`
	Images []string          `yaml:"images" jsonschema_description:"Globs on the image as the container names it, such as nginx:* or ghcr.io/acme/**."`
	Labels map[string]string `yaml:"labels" jsonschema_description:"Container label to a glob on its value; \"*\" means that the label is there."`
}

// IsZero tells whether the filter names nothing.
func (f Filter) IsZero() bool { return len(f.Names)+len(f.Images)+len(f.Labels) == 0 }

// FileConfig is file_monitor: which log files are captured.
type FileConfig struct {
	Enabled bool       `yaml:"enabled" jsonschema_description:"Capture log files."`
	Include []string   `yaml:"include" jsonschema_description:"Globs of absolute paths; ** matches any number of directories."`
	Exclude []string   `yaml:"exclude" jsonschema_description:"Globs of paths that are left out."`
	Since   Since      `yaml:"since" jsonschema_description:"How much history is read of a file that is seen for the first time: start (all), now (none) or a duration such as 10m."`
	MaxLine units.Size `yaml:"max_line" jsonschema_description:"The longest line that is kept whole; what is beyond is cut off, marked and counted. 1KiB to 64MiB."`
}

// DefaultContainerConfig captures every container from its first line.
func DefaultContainerConfig() ContainerConfig {
	return ContainerConfig{
		Enabled:           true,
		Read:              source.Auto,
		Self:              SelfExclude,
		ReconcileInterval: units.Duration(5 * time.Second),
		Labels:            []string{"compose_project", "compose_service"},
		MaxLine:           units.MiB,
	}
}

// DefaultFileConfig captures the host's usual log files from their first line.
func DefaultFileConfig() FileConfig {
	return FileConfig{
		Enabled: true,
		Include: []string{"/var/log/**/*.log", "/var/log/syslog", "/var/log/messages"},
		Exclude: []string{"**/*.gz"},
		MaxLine: units.MiB,
	}
}

// Validate reports what is wrong with the settings.
func (c ContainerConfig) Validate() []units.FieldError {
	var errs []units.FieldError
	if c.Read == source.Poll {
		errs = append(errs, units.Errorf("read", "poll comes with a later version; use auto, file or stream"))
	} else {
		errs = append(errs, units.OneOf("read", string(c.Read), string(source.Auto), string(source.File), string(source.Stream))...)
	}
	errs = append(errs, units.OneOf("self", c.Self, SelfExclude, SelfInclude)...)
	if err := checkHost(c.DockerHost); err != nil {
		errs = append(errs, units.Errorf("docker_host", "%v", err))
	}
	if c.ReconcileInterval < minReconcile {
		errs = append(errs, units.Errorf("reconcile_interval", "%s is too often; expected %s or more", c.ReconcileInterval, minReconcile))
	}
	return append(append(errs, checkLabels(c.Labels)...), checkMaxLine(c.MaxLine)...)
}

// Validate reports globs that cannot be understood.
func (f Filter) Validate() []units.FieldError {
	errs := append(checkGlobs("names", f.Names), checkGlobs("images", f.Images)...)
	for _, name := range slices.Sorted(maps.Keys(f.Labels)) {
		if !doublestar.ValidatePattern(f.Labels[name]) {
			errs = append(errs, badGlob("labels."+name, f.Labels[name]))
		}
	}
	return errs
}

// Validate reports what is wrong with the settings.
func (c FileConfig) Validate() []units.FieldError {
	errs := append(checkGlobs("include", c.Include), checkGlobs("exclude", c.Exclude)...)
	for i, glob := range c.Include {
		if glob != "" && !filepath.IsAbs(glob) {
			errs = append(errs, units.Errorf(fmt.Sprintf("include[%d]", i), "%q depends on the working directory; write an absolute path", glob))
		}
	}
	if c.Enabled && len(c.Include) == 0 {
		errs = append(errs, units.Errorf("include", "no file is included; give a glob, or set enabled: false"))
	}
	return append(errs, checkMaxLine(c.MaxLine)...)
}

func checkHost(host string) error {
	if host == "" {
		return nil
	}
	u, err := url.Parse(host)
	if err != nil || !slices.Contains([]string{"unix", "tcp", "http", "https"}, u.Scheme) || u.Host+u.Path == "" {
		return fmt.Errorf("%q is no address of a Docker engine; write unix:///path, tcp://host:port, http://… or https://…", host)
	}
	return nil
}

func checkLabels(labels []string) []units.FieldError {
	var errs []units.FieldError
	for i, label := range labels {
		at := fmt.Sprintf("labels[%d]", i)
		switch {
		case label == "":
			errs = append(errs, units.Errorf(at, "an empty name; remove it"))
		case slices.Contains(labels[:i], label):
			errs = append(errs, units.Errorf(at, "%q is given twice; keep one", label))
		}
	}
	if len(labels) > maxLabels {
		errs = append(errs, units.Errorf("labels", "%d labels are too many for Loki; expected at most %d", len(labels), maxLabels))
	}
	return errs
}

func checkMaxLine(size units.Size) []units.FieldError {
	if size < minMaxLine || size > maxMaxLine {
		return []units.FieldError{units.Errorf("max_line", "%s is out of range; expected %s to %s", size, minMaxLine, maxMaxLine)}
	}
	return nil
}

func checkGlobs(path string, globs []string) []units.FieldError {
	var errs []units.FieldError
	for i, glob := range globs {
		if glob == "" || !doublestar.ValidatePattern(glob) {
			errs = append(errs, badGlob(fmt.Sprintf("%s[%d]", path, i), glob))
		}
	}
	return errs
}

func badGlob(path, glob string) units.FieldError {
	if glob == "" {
		return units.Errorf(path, "an empty glob; remove it")
	}
	return units.Errorf(path, "%q is no glob; use *, **, ?, [a-z] and {a,b}, and a backslash before such a character that is meant itself", glob)
}

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
