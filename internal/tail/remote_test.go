package tail

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

func TestFilesOnNetworkFileSystemsAreNotWatched(t *testing.T) {
	for fs, want := range map[int64]bool{
		unix.NFS_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true, unix.FUSE_SUPER_MAGIC: true, unix.V9FS_MAGIC: true,
		unix.EXT4_SUPER_MAGIC: false, unix.XFS_SUPER_MAGIC: false, unix.TMPFS_MAGIC: false, unix.OVERLAYFS_SUPER_MAGIC: false, unix.BTRFS_SUPER_MAGIC: false,
	} {
		if got := isRemote(fs); got != want {
			t.Errorf("%#x: %v", fs, got)
		}
	}
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	path := filepath.Join(t.TempDir(), "a.log")
	put(t, path, "1\n")
	f, err := openFile(path, false, new(ledger.Account))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := w.Arm(f, func() {}); err != nil {
		t.Error(err)
	}
	f.remote = true
	if err := w.Arm(f, func() {}); !errors.Is(err, ErrRemote) {
		t.Errorf("got %v", err)
	}
}
