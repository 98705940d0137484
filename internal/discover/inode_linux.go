package discover

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// inode identifies a file. File systems hand out inode numbers again, so the time of
// birth (ns since the epoch) belongs to it where the file system keeps one, else 0.
type inode struct {
	device, number uint64
	born           int64
}

func inodeOf(path string, info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	id := inode{device: uint64(st.Dev), number: st.Ino} //nolint:unconvert // Dev is narrower on some systems
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME|unix.STATX_INO, &x); err == nil &&
		x.Mask&unix.STATX_BTIME != 0 && x.Ino == id.number {
		id.born = x.Btime.Sec*1e9 + int64(x.Btime.Nsec)
	}
	return id
}
