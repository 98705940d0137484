package app

import (
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Shares of the memory that the agent's cgroup allows: that of the Go runtime, which
// collects its garbage sooner near it, and that of lines in flight. What is between the
// two is for requests, decoders and all that the agent needs at rest.
const (
	runtimeShare  = 0.8
	inFlightShare = 4 // one in so many
)

// leastInFlight is what dispatcher.memory must have to work with.
const leastInFlight = units.MiB

// memoryLimit returns the memory that the agent's cgroup allows, or 0, and has the Go
// runtime keep below it, unless GOMEMLIMIT says what is wanted.
func memoryLimit(log *slog.Logger) units.Size {
	limit, err := memlimit.FromCgroup()
	if err != nil {
		if !errors.Is(err, memlimit.ErrNoCgroup) && !errors.Is(err, memlimit.ErrNoLimit) {
			log.Debug("the memory limit of the agent's cgroup cannot be read", "error", err)
		}
		return 0
	}
	if _, err := memlimit.Set(memlimit.WithRatio(runtimeShare)); err != nil {
		log.Warn("the Go runtime has no memory limit; garbage may grow past that of the cgroup", "error", err)
	}
	log.Info("memory is limited by the agent's cgroup", "limit", units.Size(limit).String(), "go_limit", units.Size(debug.SetMemoryLimit(-1)).String())
	return units.Size(limit)
}

// boundMemory keeps dispatcher.memory below what the cgroup allows; 0 = anything.
func boundMemory(c Config, limit units.Size, log *slog.Logger) Config {
	most := max(limit/inFlightShare, leastInFlight)
	if limit == 0 || c.Dispatcher.Memory <= most {
		return c
	}
	log.Warn("dispatcher.memory is more than a quarter of what the agent's cgroup allows; that quarter is used",
		"dispatcher.memory", c.Dispatcher.Memory.String(), "limit", limit.String(), "used", most.String())
	c.Dispatcher.Memory = most
	c.Dispatcher.Batch.MaxBytes = min(c.Dispatcher.Batch.MaxBytes, most)
	return c
}
