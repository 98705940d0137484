package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/logcapturer/log_capturer/internal/source/journal"
)

// journalGroup is whose members may read the journal.
const journalGroup = "systemd-journal"

// journalDirs are where the journal is, unless journal_monitor.directory says it.
func journalDirs() []string { return []string{"/var/log/journal", "/run/log/journal"} }

// journal looks whether journalctl is there, and may read all that it should. A user without
// the right sees its own entries, and journalctl does not complain: so the files are tried.
func (h Host) journal(ctx context.Context) Finding {
	c := h.Journal
	if !c.Enabled {
		return ok("not captured, journal_monitor.enabled is false")
	}
	dirs := journalDirs()
	if c.Directory != "" {
		dirs = []string{c.Directory}
	}
	files, denied, gid := journalFiles(dirs)
	last, err := journal.Choice{Directory: c.Directory, Priority: journal.Least}.Probe(ctx, c.Journalctl)
	where := strings.Join(dirs, " and ")
	switch {
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return fail(c.Journalctl+" is not there", "install systemd's journalctl, or set journal_monitor.journalctl to where it is; the agent's image has none")
	case files == 0:
		return fail("there are no journal files in "+where, "set journal_monitor.directory to where the journal is mounted, or journal_monitor.enabled: false where systemd-journald does not run")
	case len(denied) > 0:
		return deniedJournal(files, denied, gid)
	case err != nil:
		return fail(err.Error(), "see what journalctl says when it is run by hand; systemd 236 or later is needed")
	case last.IsZero():
		return warn(fmt.Sprintf("%s in %s, without an entry", count(files, "file", "files"), where), "check that systemd-journald runs")
	}
	return ok(fmt.Sprintf("%s in %s, all readable; the last entry is of %s", count(files, "file", "files"), where, last.UTC().Format(time.DateTime+" MST")))
}

// journalFiles counts the journal's files, and names those that may not be read, with the
// group of one of them.
func journalFiles(dirs []string) (files int, denied []string, gid int) {
	for _, dir := range dirs {
		// What is not there, or hangs, is told otherwise.
		_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			name := filepath.Base(path)
			ours := strings.HasSuffix(name, ".journal") || strings.HasSuffix(name, ".journal~")
			switch {
			case errors.Is(err, fs.ErrPermission):
				files++
				denied = append(denied, path)
			case err == nil && ours && entry.Type().IsRegular():
				files++
				if errors.Is(tryRead(path), fs.ErrPermission) {
					denied = append(denied, path)
				}
			}
			return nil
		})
	}
	if len(denied) > 0 {
		gid = groupOf(denied[0])
	}
	return files, denied, gid
}

func groupOf(path string) int {
	if info, err := os.Stat(path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return int(st.Gid)
		}
	}
	return -1
}

// deniedJournal says which files may not be read, and by whom they may.
func deniedJournal(files int, denied []string, gid int) Finding {
	group := journalGroup
	if g, err := user.LookupGroupId(fmt.Sprint(gid)); err == nil && gid > 0 {
		group = g.Name
	}
	level := Warn
	if len(denied) == files {
		level = Fail
	}
	return Finding{
		level, fmt.Sprintf("%d of %s may not be read, and entries in them would be left out without a word: %s", len(denied), count(files, "file", "files"), some(denied)),
		fmt.Sprintf("run the agent as root, or put its user into the group %s: SupplementaryGroups=%s in the systemd unit, --group-add for a container", group, group),
	}
}
