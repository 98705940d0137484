package discover

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

// Bounds of the settings.
const (
	minMaxLine   = 1 * units.KiB
	maxMaxLine   = 64 * units.MiB
	minReconcile = units.Duration(time.Second)
	maxStreams   = 10_000
	minRotation  = units.Duration(time.Second)
	minPoll      = units.Duration(100 * time.Millisecond)
	maxPoll      = units.Duration(time.Hour)
	minHeld      = 1 * units.MiB
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
	DockerHost        string         `yaml:"docker_host" jsonschema_description:"Where the Docker engine listens: unix:///path, tcp://host:port, http://… or https://…; TLS by DOCKER_CERT_PATH and DOCKER_TLS_VERIFY. Empty means $DOCKER_HOST, else unix:///var/run/docker.sock."`
	Read              source.Mode    `yaml:"read" jsonschema:"enum=auto,enum=file,enum=stream,enum=poll" jsonschema_description:"How logs are read: file reads the engine's json-files directly, stream follows through the Engine API, poll asks the Engine API every poll_interval and holds no connection, auto takes file where the driver is json-file and the file is readable, else stream. The container label log_capturer.read goes before it."`
	Include           Filter         `yaml:"include" jsonschema_description:"Capture only the containers that match every list that is not empty."`
	Exclude           Filter         `yaml:"exclude" jsonschema_description:"Leave out the containers that match any of these."`
	Self              string         `yaml:"self" jsonschema:"enum=exclude,enum=include" jsonschema_description:"Whether the agent captures its own container."`
	Since             Since          `yaml:"since" jsonschema_description:"How much history is read of a container that is seen for the first time: start (all), now (none) or a duration such as 10m."`
	ReconcileInterval units.Duration `yaml:"reconcile_interval" jsonschema_description:"How often the list of containers is asked for, besides the engine's events; at least 1s."`
	Streams           StreamsConfig  `yaml:"streams" jsonschema_description:"Connections on which the engine sends logs as they are written."`
	PollInterval      units.Duration `yaml:"poll_interval" jsonschema_description:"How often a container is asked for new lines that is read without a stream of its own; 100ms to 1h."`
	Held              HeldConfig     `yaml:"held" jsonschema_description:"Rotated-away json-files that are kept open until they are read."`
	ExitEvents        bool           `yaml:"exit_events" jsonschema_description:"An entry of its own when a container ends, with exit code and whether it was killed for want of memory; stream=\"event\"."`
	LossMarkers       bool           `yaml:"loss_markers" jsonschema_description:"An entry in a container's event stream where lines were lost before they could be read."`
	Labels            []string       `yaml:"labels" jsonschema_description:"Which metadata of a container become stream labels; the rest is sent as structured metadata."`
	MaxLine           units.Size     `yaml:"max_line" jsonschema_description:"The longest line that is kept whole; what is beyond is cut off, marked and counted. 1KiB to 64MiB."`

	Multiline multiline.Config `yaml:"multiline" jsonschema_description:"Which lines become one entry, per output. The container label log_capturer.multiline goes before it."`
	Rules     []ContainerRule  `yaml:"rules" jsonschema_description:"Containers whose lines become entries in another way than the others'. Each has names, images and labels, as include, and multiline as above. The first rule that matches a container holds, as a whole: what it does not say has its default."`
}

// StreamsConfig bounds the follow streams.
type StreamsConfig struct {
	Max              int            `yaml:"max" jsonschema:"minimum=1,maximum=10000" jsonschema_description:"How many streams are open at the same time, 1 to 10000. With more containers the busiest hold them, and the others are polled."`
	RotationInterval units.Duration `yaml:"rotation_interval" jsonschema_description:"The age at which a stream is replaced by a new one, without a gap; 1s or more, 0 = never."`
}

// HeldConfig bounds what is kept of files that were rotated away.
type HeldConfig struct {
	MaxBytes units.Size `yaml:"max_bytes" jsonschema_description:"Disk space that rotated-away files may occupy because they are kept open until they are read; past it the oldest is let go and its lines are counted as lost. At least 1MiB."`
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
	Roots   []string   `yaml:"roots" jsonschema_description:"Directories that symbolic links may not lead out of. Empty = they may lead anywhere."`
	Since   Since      `yaml:"since" jsonschema_description:"How much history is read of a file that is seen for the first time: start (all), now (none) or a duration such as 10m."`
	MaxLine units.Size `yaml:"max_line" jsonschema_description:"The longest line that is kept whole; what is beyond is cut off, marked and counted. 1KiB to 64MiB."`
	MaxOpen int        `yaml:"max_open" jsonschema_description:"How many files are held open of which all was read; as many again while they are written to every few seconds. Of more, those that rest the longest are closed, and opened again when they are written to. At least 1."`
	Held    HeldConfig `yaml:"held" jsonschema_description:"Rotated-away files that are kept open until they are read."`

	shape.Config `yaml:",inline"`

	Rules []FileRule `yaml:"rules" jsonschema_description:"Files whose text becomes entries in another way than the others'. Each has include (globs of absolute paths), and encoding, format, timestamp, multiline and partial as above. The first rule that names a file holds, as a whole: what it does not say has its default."`
}

// FileRule is how the text of some files becomes entries.
type FileRule struct {
	Include []string `yaml:"include" jsonschema_description:"Globs of absolute paths, of files that are captured; ** matches any number of directories."`

	shape.Config `yaml:",inline"`
}

// Default implements config.Defaulter.
func (r *FileRule) Default() { r.Config = shape.DefaultConfig() }

// Validate reports what is wrong with the settings.
func (r FileRule) Validate() []units.FieldError {
	errs := checkGlobs("include", r.Include)
	if len(r.Include) == 0 {
		errs = append(errs, units.Errorf("include", "the rule names no files; give a glob, or remove it"))
	}
	return append(errs, r.Config.Validate()...)
}

// Rule returns which rule holds for a file, -1 = none.
func (c FileConfig) Rule(path string) int {
	return slices.IndexFunc(c.Rules, func(r FileRule) bool { return anyPath(r.Include, path) })
}

// shapeOf returns how the text of a file becomes entries.
func (c FileConfig) shapeOf(path string) shape.Config {
	if n := c.Rule(path); n >= 0 {
		return c.Rules[n].Config
	}
	return c.Config
}

// DefaultContainerConfig captures every container from its first line.
func DefaultContainerConfig() ContainerConfig {
	return ContainerConfig{
		Enabled:           true,
		Read:              source.Auto,
		Self:              SelfExclude,
		ReconcileInterval: units.Duration(5 * time.Second),
		Streams:           StreamsConfig{Max: 50, RotationInterval: units.Duration(5 * time.Minute)},
		PollInterval:      units.Duration(10 * time.Second),
		Held:              HeldConfig{MaxBytes: units.GiB},
		ExitEvents:        true,
		Labels:            []string{"compose_project", "compose_service"},
		MaxLine:           units.MiB,
		Multiline:         multiline.DefaultConfig(),
	}
}

// DefaultFileConfig captures the host's usual log files from their first line.
func DefaultFileConfig() FileConfig {
	return FileConfig{
		Enabled: true,
		Include: []string{"/var/log/**/*.log", "/var/log/syslog", "/var/log/messages"},
		Exclude: []string{"**/*.gz"},
		MaxLine: units.MiB,
		MaxOpen: 500,
		Held:    HeldConfig{MaxBytes: units.GiB},
		Config:  shape.DefaultConfig(),
	}
}

// Validate reports what is wrong with the settings.
func (c ContainerConfig) Validate() []units.FieldError {
	errs := units.OneOf("read", string(c.Read), modes()...)
	errs = append(errs, units.OneOf("self", c.Self, SelfExclude, SelfInclude)...)
	if c.DockerHost != "" {
		if err := docker.CheckHost(c.DockerHost); err != nil {
			errs = append(errs, units.Errorf("docker_host", "%v", err))
		}
	}
	if c.ReconcileInterval < minReconcile {
		errs = append(errs, units.Errorf("reconcile_interval", "%s is too often; expected %s or more", c.ReconcileInterval, minReconcile))
	}
	if c.PollInterval < minPoll || c.PollInterval > maxPoll {
		errs = append(errs, units.Errorf("poll_interval", "%s is out of range; expected %s to %s", c.PollInterval, minPoll, maxPoll))
	}
	return append(append(errs, checkLabels(c.Labels)...), checkMaxLine(c.MaxLine)...)
}

// Validate reports what is wrong with the settings.
func (c StreamsConfig) Validate() []units.FieldError {
	var errs []units.FieldError
	if c.Max < 1 || c.Max > maxStreams {
		errs = append(errs, units.Errorf("max", "%d is out of range; expected 1 to %d", c.Max, maxStreams))
	}
	if c.RotationInterval != 0 && c.RotationInterval < minRotation {
		errs = append(errs, units.Errorf("rotation_interval", "%s is too often; expected %s or more, or 0 for never", c.RotationInterval, minRotation))
	}
	return errs
}

// Validate reports what is wrong with the settings.
func (c HeldConfig) Validate() []units.FieldError {
	if c.MaxBytes < minHeld {
		return []units.FieldError{units.Errorf("max_bytes", "%s is too little; expected %s or more", c.MaxBytes, minHeld)}
	}
	return nil
}

// modes are the values of read.
func modes() []string {
	return []string{string(source.Auto), string(source.File), string(source.Stream), string(source.Poll)}
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
	for i, root := range c.Roots {
		if !filepath.IsAbs(root) {
			errs = append(errs, units.Errorf(fmt.Sprintf("roots[%d]", i), "%q depends on the working directory; write an absolute path", root))
		}
	}
	if c.Enabled && len(c.Include) == 0 {
		errs = append(errs, units.Errorf("include", "no file is included; give a glob, or set enabled: false"))
	}
	if c.MaxOpen < 1 {
		errs = append(errs, units.Errorf("max_open", "%d files cannot be held open; expected at least 1", c.MaxOpen))
	}
	return append(append(errs, checkMaxLine(c.MaxLine)...), c.Config.Validate()...)
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
