// Package doctor is the preflight on a host: can the engine be reached, how would each
// container be read and for how long may the agent be away before lines are lost, which
// log files are readable, do the sinks answer, are the limits high enough. Every finding
// has a level, what was found, and what to do.
//
// It only looks: it leaves nothing behind, takes no lines and changes nothing, so it may
// run beside an agent and without root. Every part is bounded in time, one that hangs
// becomes a finding. How containers and files are found and read is decided by package
// discover, the same code that the agent runs. It shows no secrets.
package doctor

import (
	"slices"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
)

// Level is how bad a finding is.
type Level string

// The levels. Warn: the agent runs, but lines may be lost or left out. Fail: it would not
// do its work.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

func worse(a, b Level) Level {
	levels := []Level{OK, Warn, Fail}
	if slices.Index(levels, a) > slices.Index(levels, b) {
		return a
	}
	return b
}

// Finding is what was found, and what to do about it when it is not OK.
type Finding struct {
	Level Level  `json:"level"`
	Found string `json:"found"`
	Fix   string `json:"fix,omitempty"`
}

// Check is one thing that was looked at.
type Check struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	Finding
}

// The sections, in the order in which they are shown.
const (
	sectionConfig  = "Configuration"
	sectionEngine  = "Docker engine"
	sectionFiles   = "Log files"
	sectionJournal = "systemd's journal"
	sectionSinks   = "Sinks"
	sectionAgent   = "The agent"
	sectionLimits  = "Limits"
)

// Rotation is how the engine bounds a container's log.
type Rotation struct {
	// MaxSize of one file, in bytes; 0 = no limit.
	MaxSize  int64 `json:"max_size_bytes"`
	MaxFiles int   `json:"max_files"`
	// Compress: rotated files are gzipped, which the agent does not read.
	Compress bool `json:"compress"`
	// NonBlocking: the engine drops lines when its buffer is full.
	NonBlocking bool `json:"non_blocking"`
}

// Container is how one container would be read.
type Container struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Driver  string `json:"log_driver"`
	Running bool   `json:"running"`
	// Captured is false for one that is left out; Reason says why in either case.
	Captured bool        `json:"captured"`
	Mode     source.Mode `json:"mode,omitempty"`
	Reason   string      `json:"reason"`
	// Rotation is nil where it is not known.
	Rotation *Rotation `json:"rotation"`
	// Rate is what was written during the sample, in bytes per second; nil = unknown.
	Rate *float64 `json:"bytes_per_second"`
	// LossWindow is how long the agent may be away before lines are lost, in seconds:
	// what the engine keeps, divided by Rate. nil = unknown, or no limit.
	LossWindow *float64  `json:"loss_window_seconds"`
	Level      Level     `json:"level"`
	Findings   []Finding `json:"findings"`

	path    string // of the json-file, if it may be on this host
	blocked bool   // it would be read by file if the file could be read
	empty   bool   // the engine keeps nothing that can be read
}

func (c *Container) add(level Level, found, fix string) {
	c.Findings = append(c.Findings, Finding{level, found, fix})
	c.Level = worse(c.Level, level)
}

// Report is the result.
type Report struct {
	// Verdict is the worst of all levels.
	Verdict Level `json:"verdict"`
	// Config is the configuration's file, empty for the built-in defaults.
	Config string `json:"config"`
	// Sample is how long the rates were sampled for, in seconds.
	Sample     float64     `json:"sample_seconds"`
	Checks     []Check     `json:"checks"`
	Containers []Container `json:"containers"`
}

func (r *Report) add(section, name string, f Finding) {
	r.Checks = append(r.Checks, Check{section, name, f})
}

// judge sets the verdict.
func (r *Report) judge() {
	r.Verdict = OK
	for _, c := range r.Checks {
		r.Verdict = worse(r.Verdict, c.Level)
	}
	for i := range r.Containers {
		r.Verdict = worse(r.Verdict, r.Containers[i].Level)
	}
}

// ok, warn and fail make findings.
func ok(found string) Finding        { return Finding{Level: OK, Found: found} }
func warn(found, fix string) Finding { return Finding{Warn, found, fix} }
func fail(found, fix string) Finding { return Finding{Fail, found, fix} }

// seconds rounds to milliseconds.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
