package tail

import "golang.org/x/sys/unix"

// remote tells whether an open file is on a file system that others may write to past this
// kernel, so that no hint tells of it: statfs(2) has the numbers.
func remote(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	return isRemote(int64(st.Type)) //nolint:unconvert // int32 on other architectures
}

func isRemote(fs int64) bool {
	switch uint32(fs) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC,
		lustre, gfs2, vboxsf:
		return true
	}
	return false
}

// Numbers that package unix does not have.
const (
	lustre = 0x0bd00bd0
	gfs2   = 0x01161970
	vboxsf = 0x786f4256
)
