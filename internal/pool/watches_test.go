package pool

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/logcapturer/log_capturer/internal/source"
)

// The kernel's limit of inotify watches is reached: a user namespace has its own. All lines
// come all the same, and it is said once that some come later.
func TestMoreFilesThanCanBeWatched(t *testing.T) {
	const inside = "LOG_CAPTURER_TEST_FEW_WATCHES"
	if os.Getenv(inside) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
			t.Errorf("in a user namespace: %v\n%s", err, out)
		}
		return
	}
	const watches, files = 8, 20
	if err := os.WriteFile("/proc/sys/user/max_inotify_watches", []byte(fmt.Sprint(watches)), 0); err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	f := newIdleFixture(t)
	f.pool.Log = slog.New(slog.NewTextHandler(&said, nil))
	var targets []source.Target
	for i := range files {
		f.write(fmt.Sprintf("%d.log", i), "0\n")
		targets = append(targets, f.target(fmt.Sprintf("%d.log", i)))
	}
	f.begin()
	f.pool.Apply(targets)
	for _, tg := range targets {
		f.arrives(tg.Source.ID, "0")
	}
	f.rests(files)
	if n := f.pool.Figures().Blind; n < files-watches || n == files {
		t.Errorf("%d of %d files are not watched, with %d watches", n, files, watches)
	}
	for _, tg := range targets {
		f.write(filepath.Base(tg.Path), "1\n")
	}
	for _, tg := range targets {
		f.arrives(tg.Source.ID, "0", "1")
	}
	if n := strings.Count(said.String(), "fs.inotify.max_user_watches"); n != 1 {
		t.Errorf("it was said %d times, want once:\n%s", n, said.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
