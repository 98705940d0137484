package census

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// countDescriptors counts what is in /proc/self/fd. Of log files, json-files and streams
// of the engine the accounts know how many there are; what they do not know of is counted
// as what it is.
func countDescriptors(dataDir string, held []ledger.Held) (d ledger.Descriptors, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		d.Limit = int(min(limit.Cur, 1<<31)) //nolint:gosec // bounded
	}
	d.Kinds = map[string]int{}
	const dir = "/proc/self/fd"
	f, err := os.Open(dir)
	if err != nil {
		return d, fmt.Errorf("count descriptors: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return d, fmt.Errorf("count descriptors: %w", err)
	}
	if abs, err := filepath.Abs(dataDir); err == nil {
		dataDir = abs
	}
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(dir, name))
		if err != nil || strings.HasSuffix(target, "/fd") && strings.HasPrefix(target, "/proc/") {
			continue // closed meanwhile, or the one that is read from here
		}
		d.Total++
		d.Kinds[kindOf(target, dataDir)]++
	}
	for _, h := range held {
		switch h.Kind {
		case JSONFile, LogFile:
			move(d.Kinds, h.Count, "file", h.Kind)
		case EngineStream:
			move(d.Kinds, h.Count, "socket", h.Kind)
		}
	}
	return d, nil
}

// move tells n of one kind from the others, of which some may have been closed meanwhile.
func move(kinds map[string]int, n int, from, to string) {
	n = min(n, kinds[from])
	kinds[from] -= n
	kinds[to] += n
}

func kindOf(target, dataDir string) string {
	switch {
	case strings.HasPrefix(target, "socket:"):
		return "socket"
	case strings.HasPrefix(target, "pipe:"):
		return "pipe"
	case strings.HasPrefix(target, "anon_inode:[eventpoll]"):
		return "epoll"
	case strings.HasPrefix(target, "anon_inode:inotify"), strings.HasPrefix(target, "anon_inode:[inotify]"):
		return "inotify"
	case dataDir != "" && strings.HasPrefix(target, dataDir+"/"):
		return "data_dir"
	case strings.HasPrefix(target, "/dev/"), !strings.HasPrefix(target, "/"):
		return "other"
	}
	return "file"
}
