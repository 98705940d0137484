package spool

import (
	"bytes"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testdata/v1 was written by a program whose position had version 1: six batches of one
// to six lines in several segments, the first two of them committed.
func TestTheVersionBeforeIsReadAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	copyDir(t, "testdata/v1", dir)
	s := open(t, dir, 1<<20, Options{})
	if st := s.Stats(); st.Damage != (Damage{}) || st.Lines != 3+4+5+6 || s.LastSeq() != 6 {
		t.Fatalf("%+v, last %d", st, s.LastSeq())
	}
	appendAll(t, s, batch(source("new"), "x"))
	mustSync(t, s)
	closeSpool(t, s)
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	got := readAll(t, s)
	if len(got) != 5 || got[0] != "3: source-0: line 0 of batch 3|line 1 of batch 3|line 2 of batch 3" || got[4] != "7: new: x" {
		t.Errorf("read %q", got)
	}
	if d := s.Stats().Damage; d != (Damage{}) {
		t.Errorf("damage %+v", d)
	}
}

// files returns the contents of a directory by name.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[filepath.Base(path)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestALaterVersionIsRefusedAndNothingIsChanged(t *testing.T) {
	later := map[string]func(files map[string][]byte, name string){
		"segment": func(files map[string][]byte, name string) {
			header := bytes.Clone(files[name])
			header[8] = segmentVersion + 1
			resum(header)
			files[name] = header
		},
		"position": func(files map[string][]byte, _ string) {
			for at := 0; at <= slotSize; at += slotSize {
				slot := files[positionName][at:][:slotBytes]
				slot[8] = positionVersion + 1
				le.PutUint32(slot[48:], crc32.Checksum(slot[:48], castagnoli))
			}
		},
	}
	for what, change := range later {
		dir := t.TempDir()
		name, _, _, _ := written(t, dir, 3)
		contents := files(t, dir)
		change(contents, filepath.Base(name))
		// A damaged file beside it is not to be mended either.
		contents["00000000000000000009"+segmentSuffix] = []byte("garbage")
		for name, data := range contents {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(dir, 1<<20, Options{})
		if err == nil || !strings.Contains(err.Error(), "format version") || !strings.Contains(err.Error(), "run the version that wrote it") {
			t.Errorf("%s: open: %v", what, err)
		}
		if diff := cmp.Diff(contents, files(t, dir)); diff != "" {
			t.Errorf("%s: the files changed:\n%s", what, diff)
		}
	}
}
