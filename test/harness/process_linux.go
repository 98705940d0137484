package harness

import "syscall"

// ownGroup keeps a terminal's Ctrl-C from the child, and sends it orphan when the parent dies.
func ownGroup(orphan syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphan}
}

// detach unmounts path, at once or as soon as nobody uses it.
func detach(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }
