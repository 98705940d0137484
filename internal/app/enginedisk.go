package app

import (
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/units"
)

const (
	// lostEngineDisk: the disk with the containers' logs was full, and the engine, which
	// holds up no container for it, drops what it cannot write. Not known how many lines.
	lostEngineDisk = "engine_disk_full"
	// fullBelow is how little room, in bytes, leaves none for records: what is free may lie
	// in pieces that one write does not fit in.
	fullBelow = 64 * units.KiB
)

// engineDisk watches the room on the disk with the containers' logs. There is no other sign
// of lines that were never written: the engine tells its own log alone.
type engineDisk struct {
	lost func(reason string, lines int64)
	log  *slog.Logger
	free func(dir string) (uint64, error) // bytes

	mu   sync.Mutex
	dir  string // empty until it is known
	full bool
}

func newEngineDisk(lost func(string, int64), log *slog.Logger) *engineDisk {
	return &engineDisk{lost: lost, log: log, free: freeBytes}
}

// of has the disk watched on which the engine that was discovered keeps its containers.
func (d *engineDisk) of(found *discover.Containers) {
	before := found.OnRoot
	found.OnRoot = func(dir string) {
		if before != nil {
			before(dir)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.dir = dir
	}
}

// look notes whether the disk is full. Each time that it becomes so counts as a loss.
func (d *engineDisk) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == "" {
		return
	}
	free, err := d.free(d.dir)
	if err != nil {
		return // it is not in sight: the agent is in a container, or the engine is not here
	}
	full := free < uint64(fullBelow)
	if full && !d.full {
		d.lost(lostEngineDisk, 1)
		d.log.Error("the disk with the containers' logs is full: the engine drops lines; make room", "dir", d.dir)
	}
	if d.full && !full {
		d.log.Info("the disk with the containers' logs has room again", "dir", d.dir)
	}
	d.full = full
}

// report tells health of it.
func (d *engineDisk) report(board *health.Board) func() {
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.full {
			board.Set("engine_disk", health.Degraded, fmt.Sprintf("the disk with the containers' logs (%s) is full: the engine drops lines; make room", d.dir))
			return
		}
		board.Set("engine_disk", health.Healthy, "")
	}
}

// freeBytes is the room for the superuser, whom the engine runs as.
func freeBytes(dir string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("ask for the room on the disk of %s: %w", dir, err)
	}
	return uint64(fs.Bfree) * uint64(fs.Bsize), nil //nolint:gosec,unconvert // their types depend on the system
}
