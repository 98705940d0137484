//go:build !linux

package harness

import (
	"errors"
	"syscall"
)

// ownGroup keeps a terminal's Ctrl-C from the child.
func ownGroup(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// detach is not needed where dockerd does not run.
func detach(string) error { return nil }

// mountMemory is for engines, which run on Linux.
func mountMemory(string, int64) error { return errors.New("a file system in memory takes Linux") }
