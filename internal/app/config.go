package app

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/logcapturer/log_capturer/internal/canary"
	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/httpapi"
	"github.com/logcapturer/log_capturer/internal/leak"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/localfile"
	"github.com/logcapturer/log_capturer/internal/sink/loki"
	"github.com/logcapturer/log_capturer/internal/units"
)

// The types of sinks.
const (
	sinkLoki      = "loki"
	sinkLocalFile = "local_file"
)

// Config is the whole configuration of the agent.
type Config struct {
	DataDir          string                   `yaml:"data_dir" jsonschema_description:"Where positions, spools and dead letters are kept. The default is /var/lib/log_capturer for root, else ./data."`
	ShutdownTimeout  units.Duration           `yaml:"shutdown_timeout" jsonschema_description:"How long the agent may take to deliver what it holds when it is told to stop."`
	WatchConfig      bool                     `yaml:"watch_config" jsonschema_description:"Reload the configuration file when it changes. SIGHUP and log_capturer reload do it in any case."`
	Log              LogConfig                `yaml:"log" jsonschema_description:"The agent's own log, on stderr."`
	Server           httpapi.Config           `yaml:"server" jsonschema_description:"The agent's HTTP server."`
	ContainerMonitor discover.ContainerConfig `yaml:"container_monitor" jsonschema_description:"Which containers are captured, and how."`
	FileMonitor      discover.FileConfig      `yaml:"file_monitor" jsonschema_description:"Which log files are captured."`
	JournalMonitor   discover.JournalConfig   `yaml:"journal_monitor" jsonschema_description:"Which entries of systemd's journal are captured."`
	Dispatcher       dispatch.Config          `yaml:"dispatcher" jsonschema_description:"What may be in flight, and what happens while a sink does not take it."`
	Canary           canary.Config            `yaml:"canary" jsonschema_description:"An entry of the agent's own, with the label job=log_capturer_canary, that shows that the way to each sink is open."`
	LeakWatch        leak.Config              `yaml:"leak_watch" jsonschema_description:"The agent watches what it holds itself, and tells when something grows that should not."`
	Sinks            Sinks                    `yaml:"sinks" jsonschema_description:"Where lines are delivered: name to settings. The type defaults to the name. With no sink at all, a local_file sink with its defaults is used."`
}

// LogConfig is log.
type LogConfig struct {
	Level  string `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error" jsonschema_description:"The least important messages that are written."`
	Format string `yaml:"format" jsonschema:"enum=text,enum=json" jsonschema_description:"How messages are written."`
}

// DefaultConfig is what the agent runs with when the file says nothing, apart from
// what Complete adds.
func DefaultConfig() Config {
	return Config{
		DataDir:          defaultDataDir(os.Geteuid()),
		ShutdownTimeout:  units.Duration(10 * time.Second),
		Log:              LogConfig{Level: "info", Format: "text"},
		Server:           httpapi.DefaultConfig(),
		ContainerMonitor: discover.DefaultContainerConfig(),
		FileMonitor:      discover.DefaultFileConfig(),
		JournalMonitor:   discover.DefaultJournalConfig(),
		Dispatcher:       dispatch.DefaultConfig(),
		Canary:           canary.DefaultConfig(),
		LeakWatch:        leak.DefaultConfig(),
	}
}

func defaultDataDir(uid int) string {
	if uid == 0 {
		return "/var/lib/log_capturer"
	}
	return "./data"
}

// LoadConfig reads the file, or takes the defaults when path is empty. The error is a
// config.Errors with every mistake.
func LoadConfig(loader config.Loader, path string) (Config, error) {
	c := DefaultConfig()
	if err := loader.Load(path, &c); err != nil {
		return Config{}, err
	}
	return c, nil
}

// ConfigSchema returns the JSON Schema of the configuration; the same for every user.
func ConfigSchema() ([]byte, error) {
	c := DefaultConfig()
	c.DataDir = defaultDataDir(0)
	return config.Schema(&c, "log_capturer configuration")
}

// Complete fills in what depends on the environment, and the sink that is used when
// the file has none.
func (c *Config) Complete(env config.Environment) {
	if c.ContainerMonitor.DockerHost == "" {
		c.ContainerMonitor.DockerHost = "unix:///var/run/docker.sock"
		if host, _ := env("DOCKER_HOST"); host != "" {
			c.ContainerMonitor.DockerHost = host
		}
	}
	if len(c.Sinks) == 0 {
		settings := localfile.DefaultConfig()
		c.Sinks = Sinks{sinkLocalFile: {Type: sinkLocalFile, Settings: &settings}}
	}
}

// Validate reports what is wrong with the settings that belong to no component, or to
// more than one.
func (c Config) Validate() []units.FieldError {
	var errs []units.FieldError
	if c.DataDir == "" {
		errs = append(errs, units.Errorf("data_dir", "no directory; give one that the agent may write to"))
	}
	if c.ShutdownTimeout <= 0 {
		errs = append(errs, units.Errorf("shutdown_timeout", "%s leaves no time to deliver; expected more, such as 10s", c.ShutdownTimeout))
	}
	for _, limit := range []struct {
		path string
		size units.Size
	}{
		{"container_monitor.max_line", c.ContainerMonitor.MaxLine},
		{"file_monitor.max_line", c.FileMonitor.MaxLine},
		{"journal_monitor.max_line", c.JournalMonitor.MaxLine},
	} {
		if limit.size > c.Dispatcher.Memory && len(c.Dispatcher.Validate()) == 0 {
			errs = append(errs, units.Errorf(limit.path, "%s is more than dispatcher.memory (%s); expected at most that", limit.size, c.Dispatcher.Memory))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		if !isSinkName(name) {
			errs = append(errs, units.Errorf("sinks."+name, "a sink's name is used in metrics and for directories; expected 1 to 64 letters, digits, - and _"))
		}
	}
	return errs
}

// Validate reports unknown words.
func (c LogConfig) Validate() []units.FieldError {
	return append(
		units.OneOf("level", c.Level, "debug", "info", "warn", "error"),
		units.OneOf("format", c.Format, "text", "json")...)
}

func isSinkName(name string) bool {
	const most = 64
	other := strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
	return name != "" && len(name) <= most && other == ""
}

// Sinks are the sinks by name.
type Sinks map[string]Sink

// Sink is one sink's settings.
type Sink struct {
	Type string
	// Settings points to the Config of the type's package: *loki.Config, *localfile.Config.
	Settings any
}

// Delivery returns what the agent owes the sink.
func (s Sink) Delivery() sink.Delivery {
	if c, ok := s.Settings.(interface{ Kind() sink.Delivery }); ok {
		return c.Kind()
	}
	return sink.Required
}

// newSinkSettings is the table of sinks: it returns a pointer to a type's defaults.
func newSinkSettings(typ string) any {
	switch typ {
	case sinkLoki:
		c := loki.DefaultConfig()
		return &c
	case sinkLocalFile:
		c := localfile.DefaultConfig()
		return &c
	}
	return nil
}

// SinkTypes lists the types of sinks, sorted.
func SinkTypes() []string { return []string{sinkLocalFile, sinkLoki} }

// Select prepares the defaults of a type.
func (s *Sink) Select(typ string) error {
	settings := newSinkSettings(typ)
	if settings != nil {
		s.Type, s.Settings = typ, settings
		return nil
	}
	if near := config.Nearest(typ, SinkTypes()); near != "" {
		return fmt.Errorf("there is no sink of type %q; did you mean %q?", typ, near)
	}
	return fmt.Errorf("there is no sink of type %q; set type to one of %s", typ, strings.Join(SinkTypes(), ", "))
}

// Selected returns the type and the settings.
func (s *Sink) Selected() (string, any) { return s.Type, s.Settings }

// JSONSchema describes every type, under its own name and under any other.
func (Sinks) JSONSchema() *jsonschema.Schema {
	schema := &jsonschema.Schema{Type: "object", Title: "map of name to settings", Properties: jsonschema.NewProperties()}
	anyOther := &jsonschema.Schema{}
	for _, typ := range SinkTypes() {
		anyOther.OneOf = append(anyOther.OneOf, sinkSchema(typ, true))
		named := &jsonschema.Schema{}
		for _, other := range SinkTypes() {
			named.OneOf = append(named.OneOf, sinkSchema(other, other != typ))
		}
		schema.Properties.Set(typ, named)
	}
	schema.AdditionalProperties = anyOther
	return schema
}

// sinkSchema describes the settings of a type, in which `type` may have to be given.
func sinkSchema(typ string, required bool) *jsonschema.Schema {
	schema := config.SchemaOf(newSinkSettings(typ))
	schema.Title = typ
	schema.Properties.Set("type", &jsonschema.Schema{Const: typ, Description: "The type of the sink; defaults to its name."})
	if required {
		schema.Required = []string{"type"}
	}
	return schema
}

// BuildInfo says which build of the agent this is.
type BuildInfo struct {
	Version string `json:"version"`
	// Commit is the git revision, with "+dirty" when the tree had changes, or "unknown".
	Commit string `json:"commit"`
	Go     string `json:"go"`
	// Features are the monitors, readers and sinks that this build has.
	Features []string `json:"features"`
}

// Features lists what this build can do.
func Features() []string {
	features := []string{"containers:file", "containers:stream", "containers:poll", "files", "journal"}
	for _, typ := range SinkTypes() {
		features = append(features, "sink:"+typ)
	}
	return features
}
