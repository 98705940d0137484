package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// PodmanDrivers are the log drivers that containers of Podman can be given here.
var PodmanDrivers = []string{"k8s-file", "journald"}

// journal is systemd-journald, which runs without systemd.
const journal = "/lib/systemd/systemd-journald"

// podmanService starts a journal and Podman's API in a mount namespace of their own,
// in which the places of the machine's journal are empty. $1 is the directory.
const podmanService = `set -eu
mkdir -p /run/systemd /run/log
mount -t tmpfs tmpfs /run/systemd
mount -t tmpfs tmpfs /run/log
if [ -d /var/log/journal ]; then mount -t tmpfs tmpfs /var/log/journal; fi
mkdir -p /run/systemd/journal /run/log/journal
JOURNAL &
echo $! > "$1/journal.pid"
dir=$1
exec podman --tmpdir "$dir/tmp" --cgroup-manager cgroupfs --events-backend journald \
	system service --time=0 "unix://$dir/s"
`

// Podman starts a Podman for this test alone: its Docker-compatible API on a socket,
// with storage, events and a journal of its own. It is gone when the test ends. Its
// containers' Driver is one of PodmanDrivers. Inspect's LogPath is no json-file, and
// what stops dockerd stops the API alone: the containers go on, and are logged.
func Podman(t testing.TB) *DockerEngine {
	t.Helper()
	d, err := newPodman()
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(client.WithHost("unix://" + d.socket()))
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(d.dir)))
	}
	e.daemon = d
	if e.limits, err = ownLimits(); err == nil {
		err = d.start(t.Context(), e.ping)
	}
	t.Cleanup(func() {
		e.showLog(t)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newPodman() (*daemon, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a private Podman takes root here: run as root")
	}
	for what, from := range map[string]string{"podman": "podman", "unshare": "util-linux", journal: "systemd"} {
		if _, err := exec.LookPath(what); err != nil {
			return nil, fmt.Errorf("%s is not installed: apt-get install %s", what, from)
		}
	}
	dir, err := os.MkdirTemp("", "lc-podman-")
	if err != nil {
		return nil, err
	}
	// Files of our own keep the host's configuration out of it.
	storage := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "data"), filepath.Join(dir, "run"))
	for name, text := range map[string]string{"containers.conf": "", "storage.conf": storage} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return &daemon{
		dir: dir, name: "podman",
		args: []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", strings.ReplaceAll(podmanService, "JOURNAL", journal), "sh", dir},
		env: []string{
			"CONTAINERS_CONF=" + filepath.Join(dir, "containers.conf"),
			"CONTAINERS_STORAGE_CONF=" + filepath.Join(dir, "storage.conf"),
		},
	}, nil
}

// ownLimits are this process's own. Podman would ask for more than it may have where
// it runs without CAP_SYS_RESOURCE.
func ownLimits() ([]*container.Ulimit, error) {
	const processes = 6 // RLIMIT_NPROC, which package syscall does not name
	var out []*container.Ulimit
	for name, number := range map[string]int{"nofile": syscall.RLIMIT_NOFILE, "nproc": processes} {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(number, &l); err != nil {
			return nil, fmt.Errorf("read the limit %s: %w", name, err)
		}
		hard := int64(min(l.Max, 4096)) // more than the log generator needs
		out = append(out, &container.Ulimit{Name: name, Soft: hard, Hard: hard})
	}
	return out, nil
}

// stopJournal ends the journal beside a Podman.
func (d *daemon) stopJournal() error {
	file := filepath.Join(d.dir, "journal.pid")
	b, err := os.ReadFile(file)
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("stop the journal: %s: %w", file, err)
	}
	runs := func() bool {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty for a zombie
		return err == nil && strings.HasPrefix(string(cmdline), journal)
	}
	if !runs() {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return nil //nolint:nilerr // it ended meanwhile
	}
	return poll(10*time.Second, func() (bool, string) { return !runs(), "the journal is still running" })
}
