package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// limited runs fn with room for so many more logs.
func limited(t *testing.T, more int, fn func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	var next int // the number that the first log beyond would get
	var free []int
	for range more + 1 {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		free, next = append(free, fd), fd
	}
	for _, fd := range free {
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	limit := old
	limit.Cur = uint64(next)
	for limit.Cur-min(limit.Cur/spareShare, mostSpare) < uint64(next) {
		limit.Cur++
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}()
	fn()
}

func TestLogsLeaveDescriptorsToTheRest(t *testing.T) {
	dir := t.TempDir()
	var open ledger.Account
	var held []*File
	defer func() {
		for _, f := range held {
			f.close()
		}
	}()
	for n := range 5 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	limited(t, 3, func() {
		for n := range 5 {
			f, err := openFile(filepath.Join(dir, fmt.Sprint(n)), false, &open)
			if (err == nil) != (n < 3) || err != nil && !shortage(err) {
				t.Errorf("log %d: error %v", n, err)
			}
			if f != nil {
				held = append(held, f)
			}
		}
	})
	if n := open.Load(); n != 3 {
		t.Errorf("%d are open", n)
	}
}

// A generation that cannot be opened for want of descriptors is not passed over for good.
func TestAGenerationWithoutADescriptorIsOpenedLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, name := range []string{path, path + ".1", path + ".2"} {
		if err := os.WriteFile(name, []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var open ledger.Account
	l := NewLog(path, Options{History: true, Open: &open})
	defer l.Close()
	limited(t, 2, func() {
		if fresh, err := l.Look(); fresh || !shortage(err) {
			t.Errorf("fresh %v, error %v", fresh, err)
		}
	})
	if n := open.Load(); n != 0 {
		t.Errorf("%d are open", n)
	}
	if fresh, err := l.Look(); !fresh || err != nil || open.Load() != 3 {
		t.Errorf("fresh %v, error %v, %d open", fresh, err, open.Load())
	}
}
