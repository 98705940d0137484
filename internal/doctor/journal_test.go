package doctor

import (
	"context"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/test/harness"
)

// expect fails the test unless the finding is of that level and says these words.
func (f Finding) expect(t *testing.T, level Level, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(f.Found+"; "+f.Fix, w) {
			t.Errorf("it does not say %q: %+v", w, f)
		}
	}
	if f.Level != level || (f.Fix == "") != (level == OK) {
		t.Errorf("%+v, want %s", f, level)
	}
}

func TestTheJournalIsLookedAt(t *testing.T) {
	j := harness.NewJournal(t)
	p := place{DataDir: "/", Journal: j.Dir()}
	harness.Eventually(t, 20*time.Second, "a journal", func() (bool, string) {
		files, _, _ := journalFiles([]string{j.Dir()})
		return files > 0, "no file"
	})
	j.Send(t, "MESSAGE", "hello", "PRIORITY", "6")
	harness.Eventually(t, 20*time.Second, "an entry", func() (bool, string) {
		f := p.host().journal(t.Context())
		return f.Level == OK, f.Found
	})
	p.host().journal(t.Context()).expect(t, OK, "all readable; the last entry is of "+time.Now().UTC().Format("2006-"))

	// Somebody else may not read it, and is told who may.
	for dir := j.Dir(); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	group, err := user.LookupGroup("adm")
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(j.Dir(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chown(path, 0, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
	asNobody(t, p).check(t, sectionJournal, "entries").Finding.expect(t, Fail, "may not be read", "system.journal", "SupplementaryGroups=adm")
	own := filepath.Join(j.Dir(), "user-1000.journal")
	if err := os.WriteFile(own, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	asNobody(t, p).check(t, sectionJournal, "entries").Finding.expect(t, Warn, "1 of 2 files", "left out without a word")
}

func TestWhatIsWrongWithTheJournalIsTold(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "system.journal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		directory, journalctl string
		level                 Level
		words                 []string
	}{
		"no journalctl":         {full, "journalctl-that-is-not", Fail, []string{"is not there", "journal_monitor.journalctl"}},
		"none at its path":      {full, "/nowhere/journalctl", Fail, []string{"is not there"}},
		"no journal":            {t.TempDir(), script("empty", "exit 0"), Fail, []string{"no journal files", "journal_monitor.directory"}},
		"no directory":          {"/nowhere", script("none", "exit 0"), Fail, []string{"no journal files in /nowhere"}},
		"an old one":            {full, script("old", "echo 'unrecognized option --output-fields' >&2; exit 1"), Fail, []string{"unrecognized option", "236"}},
		"one that says nothing": {full, script("mute", "exit 0"), Warn, []string{"without an entry"}},
		"one that hangs":        {full, script("stuck", "exec sleep 60"), Fail, []string{"did not answer"}},
		"something else":        {full, script("else", "echo hello"), Fail, []string{"journalctl"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			config := discover.DefaultJournalConfig()
			config.Enabled, config.Directory, config.Journalctl = true, c.directory, c.journalctl
			Host{Journal: config}.journal(ctx).expect(t, c.level, c.words...)
		})
	}
	(Host{}).journal(t.Context()).expect(t, OK, "not captured")
}
