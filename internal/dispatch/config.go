package dispatch

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/queue"
	"github.com/logcapturer/log_capturer/internal/units"
)

// Bounds of the settings.
const (
	minMemory = 1 * units.MiB
	minBatch  = 1 * units.KiB
	maxBatch  = 64 * units.MiB
	maxLinger = units.Duration(time.Minute)
	minSpool  = 1 * units.MiB
	minDead   = 1 * units.MiB
	minAge    = units.Duration(time.Hour)
	minReplay = 1 * units.KiB
)

// What files may have in the memory of a lane: so many batches, and so many bytes at least.
const (
	aheadBatches = 4
	minAhead     = int64(4 * units.MiB)
)

// Config is dispatcher: what may be in flight, how it is batched, and what happens
// while a sink does not take it.
type Config struct {
	Memory    units.Size      `yaml:"memory" jsonschema_description:"All log lines that are in flight, for the whole agent; at least 1MiB. In a cgroup with a limit of memory a quarter of that is the most that is used. At the limit, files are read more slowly and streams go to the spool."`
	Batch     BatchConfig     `yaml:"batch" jsonschema_description:"When a batch is sent to a sink."`
	Retry     RetryConfig     `yaml:"retry" jsonschema_description:"How long the agent waits after a failed delivery; it tries without end."`
	Spool     SpoolConfig     `yaml:"spool" jsonschema_description:"Where lines wait on disk for a sink that does not take them."`
	Dead      DeadConfig      `yaml:"dead_letters" jsonschema_description:"How much is kept of what a sink refuses for good."`
	RateLimit RateLimitConfig `yaml:"rate_limit" jsonschema_description:"How much each container and each file may log, in the long run."`
}

// BatchConfig is dispatcher.batch.
type BatchConfig struct {
	MaxBytes units.Size     `yaml:"max_bytes" jsonschema_description:"Send as soon as this many bytes of lines are waiting; 1KiB to 64MiB, not more than memory."`
	Linger   units.Duration `yaml:"linger" jsonschema_description:"How long lines wait at most for others to share a request with. After a pause a line is sent at once; when requests follow each other they keep a distance, an eighth of this for a sink that answers within 4ms, all of it for one that takes 30ms or longer, never less than 1/32. More makes requests fewer and lines later; at most 1m."`
}

// RetryConfig is dispatcher.retry.
type RetryConfig struct {
	Initial units.Duration `yaml:"initial" jsonschema_description:"The pause after the first failure; it doubles with each further one. Each pause is shortened at random by up to half."`
	Max     units.Duration `yaml:"max" jsonschema_description:"The longest pause, unless the sink asks for a longer one."`
}

// SpoolConfig is dispatcher.spool.
type SpoolConfig struct {
	MaxBytes units.Size `yaml:"max_bytes" jsonschema_description:"The most that one sink's spool takes on disk, below data_dir; at least 1MiB."`
	WhenFull WhenFull   `yaml:"when_full" jsonschema:"enum=block_files,enum=drop_oldest,enum=drop_newest" jsonschema_description:"What becomes of lines that cannot wait, those of containers read through the Engine API, once memory and spool are full. block_files: their streams are closed, and asked again when there is room. drop_oldest: what has been in the spool for longest is dropped for them. drop_newest: they are dropped. Files wait in any case. What is dropped is counted."`
	Replay   Replay     `yaml:"replay" jsonschema:"enum=in_order,enum=fresh_first" jsonschema_description:"What goes out first when the sink is back. in_order: of each source what is in the spool, as Loki wants it; other sources go on beside it. fresh_first: what comes now, and beside it what is in the spool, which then arrives out of order: for sinks that take that. Loki refuses what is over an hour behind the newest of its stream, by default."`
	// ReplayRate is in bytes of lines a second.
	ReplayRate units.Size `yaml:"replay_rate" jsonschema_description:"Bytes of lines a second that the spool gives out at most, beside its turns; at least 1KiB, 0 for no limit. With in_order it must be more than what comes."`
}

// DeadConfig is dispatcher.dead_letters.
type DeadConfig struct {
	MaxBytes units.Size     `yaml:"max_bytes" jsonschema_description:"The most that one sink's dead letters take on disk, below data_dir; at least 1MiB. Beyond, the oldest go."`
	MaxAge   units.Duration `yaml:"max_age" jsonschema_description:"How long dead letters are kept after their last try, and an eighth longer at most; at least 1h, 0 for ever."`
}

// RateLimitConfig is dispatcher.rate_limit.
type RateLimitConfig struct {
	BytesPerSecond units.Size  `yaml:"bytes_per_second" jsonschema_description:"Bytes of lines a second that each source may have on average; 0 for no limit."`
	Burst          units.Size  `yaml:"burst" jsonschema_description:"Bytes that a source which was quiet may have at once; 0 for one second's worth."`
	Policy         LimitPolicy `yaml:"policy" jsonschema:"enum=delay,enum=drop" jsonschema_description:"delay: files are read more slowly, and lines of containers read through the Engine API go to the spool. drop: lines beyond the limit are dropped, and counted."`
}

// LimitPolicy is what becomes of lines beyond a rate limit.
type LimitPolicy string

// The policies.
const (
	LimitDelay LimitPolicy = "delay"
	LimitDrop  LimitPolicy = "drop"
)

// Validate reports unknown words.
func (c RateLimitConfig) Validate() []units.FieldError {
	return units.OneOf("policy", string(c.Policy), string(LimitDelay), string(LimitDrop))
}

// WhenFull is what becomes of lines that find no room.
type WhenFull string

// The policies.
const (
	BlockFiles WhenFull = "block_files"
	DropOldest WhenFull = "drop_oldest"
	DropNewest WhenFull = "drop_newest"
)

// Replay is what goes out first when there is something in the spool.
type Replay string

// The orders.
const (
	InOrder    Replay = "in_order"
	FreshFirst Replay = "fresh_first"
)

// queue returns the settings of a queue with memory bytes that change with the configuration.
func (c Config) queue(memory int64) queue.Options {
	ahead := max(minAhead, aheadBatches*int64(c.Batch.MaxBytes))
	return queue.Options{MaxBytes: memory, ReadAhead: ahead, FreshFirst: c.Spool.Replay == FreshFirst, SpoolRate: int64(c.Spool.ReplayRate)}
}

// DefaultConfig is what the agent runs with when the file says nothing.
func DefaultConfig() Config {
	return Config{
		Memory: 64 * units.MiB,
		Batch:  BatchConfig{MaxBytes: units.MiB, Linger: units.Duration(250 * time.Millisecond)},
		Retry:  RetryConfig{Initial: units.Duration(500 * time.Millisecond), Max: units.Duration(30 * time.Second)},
		Spool:  SpoolConfig{MaxBytes: units.GiB, WhenFull: BlockFiles, Replay: InOrder},
		Dead:   DeadConfig{MaxBytes: 256 * units.MiB, MaxAge: units.Duration(30 * 24 * time.Hour)},

		RateLimit: RateLimitConfig{Policy: LimitDelay},
	}
}

// Validate reports what is wrong with the memory limit.
func (c Config) Validate() []units.FieldError {
	if c.Memory < minMemory {
		return []units.FieldError{units.Errorf("memory", "%s is too little to work with; expected %s or more", c.Memory, minMemory)}
	}
	if c.Batch.MaxBytes > c.Memory {
		return []units.FieldError{units.Errorf("batch.max_bytes", "%s is more than dispatcher.memory (%s); expected at most that", c.Batch.MaxBytes, c.Memory)}
	}
	return nil
}

// Validate reports what is wrong with the batches.
func (c BatchConfig) Validate() []units.FieldError {
	var errs []units.FieldError
	if c.MaxBytes < minBatch || c.MaxBytes > maxBatch {
		errs = append(errs, units.Errorf("max_bytes", "%s is out of range; expected %s to %s", c.MaxBytes, minBatch, maxBatch))
	}
	if c.Linger > maxLinger {
		errs = append(errs, units.Errorf("linger", "%s is too long; expected at most %s", c.Linger, maxLinger))
	}
	return errs
}

// Validate reports what is wrong with the pauses.
func (c RetryConfig) Validate() []units.FieldError {
	if c.Initial < units.Duration(time.Millisecond) {
		return []units.FieldError{units.Errorf("initial", "%s is too short; expected 1ms or more", c.Initial)}
	}
	if c.Max < c.Initial {
		return []units.FieldError{units.Errorf("max", "%s is shorter than retry.initial (%s); expected at least that", c.Max, c.Initial)}
	}
	return nil
}

// Validate reports what is wrong with the spool.
func (c SpoolConfig) Validate() []units.FieldError {
	errs := append(
		units.OneOf("when_full", string(c.WhenFull), string(BlockFiles), string(DropOldest), string(DropNewest)),
		units.OneOf("replay", string(c.Replay), string(InOrder), string(FreshFirst))...)
	if c.ReplayRate != 0 && c.ReplayRate < minReplay {
		errs = append(errs, units.Errorf("replay_rate", "%s a second is too little to ever end; expected %s or more, or 0 for no limit", c.ReplayRate, minReplay))
	}
	if c.MaxBytes < minSpool {
		errs = append(errs, units.Errorf("max_bytes", "%s is too little to work with; expected %s or more", c.MaxBytes, minSpool))
	}
	return errs
}

// Validate reports what is wrong with the dead letters.
func (c DeadConfig) Validate() []units.FieldError {
	var errs []units.FieldError
	if c.MaxBytes < minDead {
		errs = append(errs, units.Errorf("max_bytes", "%s is too little to work with; expected %s or more", c.MaxBytes, minDead))
	}
	if c.MaxAge != 0 && c.MaxAge < minAge {
		errs = append(errs, units.Errorf("max_age", "%s is too short to notice them; expected %s or more, or 0 for ever", c.MaxAge, minAge))
	}
	return errs
}
