package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/units"
)

// agent looks at what the agent needs for itself: its directory, room for the spools,
// its addresses, and whether one is running already.
func (h Host) agent(ctx context.Context) (checks []Check) {
	add := func(name string, f Finding) { checks = append(checks, Check{sectionAgent, name, f}) }
	add("data_dir", WritableDir(h.DataDir, "data_dir"))
	add("disk", h.room())
	running, known := locked(h.DataDir)
	switch {
	case running:
		add("running", ok("an agent is running on this data_dir"))
	case known:
		add("running", ok("no agent is running on this data_dir"))
	default:
		add("running", ok("whether an agent is running on this data_dir cannot be seen by this user"))
	}
	for _, address := range h.Listen {
		switch err := canListen(ctx, address); {
		case err == nil:
			add("listen", ok(address+" is free"))
		case running || !known:
			add("listen", ok(address+" is in use, by the running agent it seems"))
		default:
			add("listen", fail(err.Error(), "set server.listen (or server.pprof) to a free address"))
		}
	}
	return checks
}

// WritableDir tells whether the user may make files in dir, or make dir itself. It
// leaves nothing behind. key is the setting that names the directory.
func WritableDir(dir, key string) Finding {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	fix := fmt.Sprintf("set %s to a directory that this user may write to, or run as another user (chown %d:%d for this one)", key, os.Geteuid(), os.Getegid())
	there, err := existing(dir)
	if err == nil {
		err = tryWrite(there)
	}
	if err != nil {
		return fail(fmt.Sprintf("%s cannot be written to: %s", dir, reason(err)), fix)
	}
	if there != dir {
		return ok(dir + " will be made")
	}
	return ok(dir + " is writable")
}

// existing returns dir, or the nearest one above that is there.
func existing(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err == nil:
			return "", fmt.Errorf("%s is no directory", dir)
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// room compares the free space below data_dir with what the spools may take.
func (h Host) room() Finding {
	dir, err := filepath.Abs(h.DataDir)
	if err == nil {
		dir, err = existing(dir)
	}
	var system unix.Statfs_t
	if err == nil {
		err = unix.Statfs(dir, &system)
	}
	if err != nil {
		return warn("the free space cannot be told: "+reason(err), "see data_dir")
	}
	free := int64(system.Bavail) * int64(system.Bsize) //nolint:unconvert // their types depend on the system
	most := h.SpoolMax * int64(len(h.Sinks))
	used := sizeBelow(filepath.Join(h.DataDir, "spool"))
	found := fmt.Sprintf("%s free; the spools of %s may take %s", units.HumanBytes(float64(free)), count(len(h.Sinks), "sink", "sinks"), units.HumanBytes(float64(most)))
	if used > 0 {
		found += ", of which " + units.HumanBytes(float64(used)) + " are in use"
	}
	if free < most-used {
		return warn(found, "make room, lower dispatcher.spool.max_bytes, or set data_dir to a larger file system")
	}
	return ok(found)
}

// sizeBelow adds up the files below dir, as far as they can be seen.
func sizeBelow(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// locked tells whether an agent holds the directory's lock; known is false when this
// user may not look. The shared lock that is tried is given back at once, and keeps no
// other doctor away.
func locked(dir string) (held, known bool) {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false, errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK), err == nil || errors.Is(err, unix.EWOULDBLOCK)
}

func canListen(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
