package harness

import (
	"fmt"
	"syscall"
)

// ownGroup keeps a terminal's Ctrl-C from the child, and sends it orphan when the parent dies.
func ownGroup(orphan syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphan}
}

// detach unmounts path, at once or as soon as nobody uses it.
func detach(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }

// mountMemory mounts a file system of so many bytes, in memory.
func mountMemory(path string, size int64) error {
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("mount a file system on %s: %w", path, err)
	}
	return nil
}
