package localfile

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/units"
)

// The words of format and compress.
const (
	FormatNDJSON = "ndjson"
	FormatRaw    = "raw"

	CompressZstd = "zstd"
	CompressGzip = "gzip"
	CompressNone = "none"
)

// Config is the settings of a local file sink.
type Config struct {
	sink.Common `yaml:",inline"`
	// Path is the template of the files' paths: absolute, or from {data_dir} on. It may
	// hold {date} and {hour} (of the entry's time, UTC), {source}, {kind}, {stream} and
	// {label:NAME}; what they stand for is made safe for a file name.
	Path string `yaml:"path" jsonschema_description:"Template of the files' paths: absolute, or from {data_dir} on. It may hold {date} and {hour} (of the entry's time, UTC), {source}, {kind}, {stream} and {label:NAME}; what they stand for is made safe for a file name."`
	// Format is ndjson (one JSON object a line: time, labels, metadata, line) or raw (the
	// line alone).
	Format string `yaml:"format" jsonschema:"enum=ndjson,enum=raw" jsonschema_description:"ndjson: one JSON object a line (time, labels, metadata, line); raw: the line alone."`
	Rotate Rotate `yaml:"rotate" jsonschema_description:"When a file ends, and what becomes of it."`
	// Fsync makes every delivery durable before it counts. Without it what was delivered
	// survives a crash of the agent, but not a power cut.
	Fsync bool `yaml:"fsync" jsonschema_description:"Make every delivery durable before it counts. Without it what was delivered survives a crash of the agent but not a power cut."`
}

// Rotate is when a file ends, and what becomes of it.
type Rotate struct {
	// MaxBytes ends a file before it grows past this size; 0 for never. A file has at
	// least what one delivery brings.
	MaxBytes units.Size `yaml:"max_bytes" jsonschema_description:"End a file before it grows past this size; 0 for never."`
	// Every ends a file at each full interval, such as 1h, counted in UTC; 0 for never.
	Every units.Duration `yaml:"every" jsonschema_description:"End a file at each full interval, such as 1h, counted in UTC; 0 for never."`
	// Compress is what ended files are compressed with: zstd, gzip or none.
	Compress string `yaml:"compress" jsonschema:"enum=zstd,enum=gzip,enum=none" jsonschema_description:"What ended files are compressed with."`
	// Keep is how long ended files are kept; 0 for ever.
	Keep units.Duration `yaml:"keep" jsonschema_description:"How long ended files are kept; 0 for ever."`
}

// DefaultConfig returns the settings that are right without any.
func DefaultConfig() Config {
	return Config{
		Common: sink.DefaultCommon(),
		Path:   "{data_dir}/logs/{date}/{source}.log",
		Format: FormatNDJSON,
		Rotate: Rotate{
			MaxBytes: 100 * units.MiB,
			Compress: CompressZstd,
			Keep:     units.Duration(7 * 24 * time.Hour),
		},
	}
}

// Validate reports what is wrong with the settings; rotate speaks for itself.
func (c Config) Validate() []units.FieldError {
	errs := append(c.Common.Validate(), units.OneOf("format", c.Format, FormatNDJSON, FormatRaw)...)
	if _, err := parseTemplate(c.Path, "/data"); err != nil {
		errs = append(errs, units.Errorf("path", "%s", err))
	}
	return errs
}

// Validate reports what is wrong with the settings.
func (r Rotate) Validate() []units.FieldError {
	errs := units.OneOf("compress", r.Compress, CompressZstd, CompressGzip, CompressNone)
	if r.MaxBytes < 0 {
		errs = append(errs, units.Errorf("max_bytes", "%d is below 0; expected a size such as 100MiB, or 0 for no limit", r.MaxBytes))
	}
	if r.Every != 0 && r.Every < units.Duration(time.Second) {
		errs = append(errs, units.Errorf("every", "%s is too short; expected at least 1s, or 0 for never", r.Every))
	}
	if r.Keep < 0 {
		errs = append(errs, units.Errorf("keep", "%s is below 0; expected a duration such as 7d, or 0 for ever", r.Keep))
	}
	return errs
}
