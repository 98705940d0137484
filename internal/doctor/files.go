package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/source"
)

const (
	// maxNames is how many names a list shows.
	maxNames = 5
	// maxDirs bounds the search for directories that cannot be read.
	maxDirs = 20_000
)

const fixFiles = "run the agent as root or with CAP_DAC_READ_SEARCH, put its user into the files' group (often adm), or exclude them in file_monitor.exclude"

// fileResult is what was found of log files.
type fileResult struct {
	checks []Check
	need   need
}

func (r *fileResult) add(name string, f Finding) {
	r.checks = append(r.checks, Check{sectionFiles, name, f})
}

// files looks for the files of file_monitor.include, and whether they can be read.
func (h Host) files(ctx context.Context) (r fileResult) {
	if !h.Files.Enabled {
		r.add("files", ok("not captured, file_monitor.enabled is false"))
		return r
	}
	found := discover.NewFiles(h.Files, nil, h.Hostname, slog.New(slog.DiscardHandler))
	once, cancel := context.WithCancel(ctx)
	defer cancel()
	var targets []source.Target
	_ = found.Run(once, func(set []source.Target) { // ends with its context only
		if targets == nil {
			targets = set
		}
		cancel()
	})
	unreadable, dirs := map[string][]string{}, map[string]bool{}
	for _, t := range targets {
		dirs[filepath.Dir(t.Path)] = true
		if err := tryRead(t.Path); err != nil {
			unreadable[reason(err)] = append(unreadable[reason(err)], t.Path)
		}
	}
	r.add("include", judgeFiles(len(targets), unreadable))
	if left := found.Overflow(); left > 0 {
		r.add("number", warn(fmt.Sprintf("%d files are left out, there are too many", left), "narrow file_monitor.include"))
	}
	if closed := closedDirs(ctx, h.Files.Include); len(closed) > 0 {
		r.add("directories", warn(fmt.Sprintf("%s cannot be looked into, so what is in them is not captured: %s",
			count(len(closed), "directory", "directories"), some(closed)), fixFiles))
	}
	if ctx.Err() != nil {
		r.add("search", warn(fmt.Sprintf("not finished within %s, the files may be more", fileTime), "narrow file_monitor.include"))
	}
	r.need = need{descriptors: len(targets), watches: len(dirs) + len(found.Bases())}
	return r
}

func judgeFiles(all int, unreadable map[string][]string) Finding {
	if all == 0 {
		return warn("no file matches", "check the globs of file_monitor.include, or set file_monitor.enabled: false")
	}
	if len(unreadable) == 0 {
		return ok(count(all, "file", "files") + ", all readable")
	}
	bad, level := 0, Warn
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(unreadable)) {
		bad += len(unreadable[reason])
		why = append(why, reason+": "+some(unreadable[reason]))
	}
	if bad == all {
		level = Fail
	}
	return Finding{level, fmt.Sprintf("%d of %s cannot be read; %s", bad, count(all, "file", "files"), strings.Join(why, "; ")), fixFiles}
}

// tryRead opens a file as the agent would. One that is gone meanwhile is fine.
func tryRead(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// closedDirs returns the directories that the globs lead through and that may not be listed.
func closedDirs(ctx context.Context, globs []string) (closed []string) {
	left := maxDirs
	for _, glob := range globs {
		base, pattern := doublestar.SplitPattern(filepath.ToSlash(glob))
		deepest := strings.Count(base, "/") + strings.Count(pattern, "/")
		if strings.Contains(pattern, "**") {
			deepest = maxDirs
		}
		// What goes wrong otherwise is no business of permissions.
		_ = filepath.WalkDir(filepath.FromSlash(base), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrPermission) {
				closed = append(closed, path)
			}
			if entry == nil || !entry.IsDir() { // nil: the base itself cannot be looked at
				return nil
			}
			if left--; left < 0 || ctx.Err() != nil {
				return fs.SkipAll
			}
			if strings.Count(filepath.ToSlash(path), "/") > deepest {
				return fs.SkipDir
			}
			return nil
		})
	}
	slices.Sort(closed)
	return slices.Compact(closed)
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// some lists the first few names.
func some(names []string) string {
	if len(names) <= maxNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), len(names)-maxNames)
}
