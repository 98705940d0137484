package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lyingFS fails one fsync of each file whose name matches and then says that all is
// well, as Linux does with pages that it could not write.
func lyingFS(t *testing.T, dir, match string) (fsys *faultFS, syncs map[string]int) {
	t.Helper()
	syncs = map[string]int{}
	return faulty(t, dir, func(op, name string) error {
		if op == "sync" && strings.Contains(name, match) {
			if syncs[name]++; syncs[name] == 1 {
				return syscall.EIO
			}
		}
		return nil
	}), syncs
}

// A power cut could bring it back else, with numbers that were given out again.
func TestWhatIsCutOffAfterAFailedFsyncIsCutOffForGood(t *testing.T) {
	var calls []string
	failing := false
	s := open(t, t.TempDir(), 1<<20, Options{FS: faulty(t, t.TempDir(), func(op, name string) error {
		if !strings.HasSuffix(name, segmentSuffix) {
			return nil
		}
		calls = append(calls, op)
		if op == "sync" && failing {
			failing = false
			return syscall.EIO
		}
		return nil
	})})
	defer closeSpool(t, s)
	appendAll(t, s, batch(source("a"), "1"))
	mustSync(t, s)
	appendAll(t, s, batch(source("a"), "2"))
	calls, failing = nil, true
	if durable, dropped, err := s.Sync(); !errors.Is(err, syscall.EIO) || durable != 1 || dropped != 2 {
		t.Fatalf("sync: durable %d, dropped %d: %v", durable, dropped, err)
	}
	if diff := cmp.Diff([]string{"sync", "truncate", "sync"}, calls); diff != "" {
		t.Error(diff)
	}
}

// Two fsyncs in a row failed: that of a batch, and that of its being cut off.
func TestWhatWasCutOffAndComesBackIsNotRead(t *testing.T) {
	for _, restart := range []bool{false, true} {
		dir := t.TempDir()
		failing := false
		var cut []byte
		s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, name string) error {
			if failing && strings.HasSuffix(name, segmentSuffix) && (op == "sync" || op == "truncate") {
				if op == "truncate" {
					cut, _ = os.ReadFile(filepath.Join(dir, name))
					return nil
				}
				return syscall.EIO
			}
			return nil
		})})
		appendAll(t, s, batch(source("a"), "1"))
		mustSync(t, s)
		appendAll(t, s, batch(source("a"), "2"))
		failing = true
		if _, _, err := s.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
		failing = false
		if restart {
			closeSpool(t, s)
			s = open(t, dir, 1<<20, Options{})
		}
		appendAll(t, s, batch(source("a"), "3"), batch(source("a"), "4"))
		mustSync(t, s)
		closeSpool(t, s)
		if err := os.WriteFile(segments(t, dir)[0], cut, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s = open(t, dir, 1<<20, Options{})
			var got []string
			for _, line := range readAll(t, s) {
				got = append(got, line[len(line)-1:])
			}
			if diff := cmp.Diff([]string{"1", "3", "4"}, got); diff != "" {
				t.Errorf("restart %v: %s", restart, diff)
			}
			if lost := s.Stats().Damage.LostLines; lost != 0 {
				t.Errorf("restart %v: %d lines are said to be lost", restart, lost)
			}
			closeSpool(t, s)
		}
	}
}

// What could not be read has numbers of its own. Its file is not set aside while there is
// something to deliver before it.
func TestWhatTheDiskCanReadAgainIsRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{SegmentBytes: 1})
	appendAll(t, s, batch(source("a"), "1"), batch(source("a"), "2"))
	mustSync(t, s)
	closeSpool(t, s)
	broken := true
	s = open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, name string) error {
		if broken && op == "read" && strings.HasSuffix(name, "2"+segmentSuffix) {
			return syscall.EIO
		}
		return nil
	})})
	broken = false
	appendAll(t, s, batch(source("a"), "3"))
	mustSync(t, s)
	closeSpool(t, s)
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	var got []string
	for _, line := range readAll(t, s) {
		got = append(got, line[len(line)-1:])
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPositionWhoseFsyncFailedIsNeverSyncedAgain(t *testing.T) {
	dir := t.TempDir()
	failing, broken := false, 0
	s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, name string) error {
		switch {
		case op == "sync" && strings.HasPrefix(name, positionName) && failing:
			broken++
			return syscall.EIO
		case op == "create" && strings.HasPrefix(name, positionName) && failing:
			return syscall.EIO
		}
		return nil
	})})
	defer closeSpool(t, s)
	appendAll(t, s, batch(source("a"), "1"), batch(source("a"), "2"))
	mustSync(t, s)
	readAll(t, s)
	failing = true
	if err := s.Commit(1); err != nil { // nothing to remove yet
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := s.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync of a broken position: %v", err)
		}
	}
	if broken != 1 {
		t.Errorf("the descriptor was synced %d times", broken)
	}
	failing = false
	mustSync(t, s)
	before := len(segments(t, dir))
	if err := s.Commit(2); err != nil {
		t.Fatal(err)
	}
	if before != 1 || len(segments(t, dir)) != 0 {
		t.Errorf("%d segments before, %d after the commit", before, len(segments(t, dir)))
	}
}

func TestAPositionThatCannotBeWrittenKeepsItsSegments(t *testing.T) {
	dir := t.TempDir()
	failing := false
	s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, name string) error {
		if failing && strings.HasPrefix(name, positionName) && (op == "write" || op == "create") {
			return syscall.EIO
		}
		return nil
	})})
	defer closeSpool(t, s)
	appendAll(t, s, batch(source("a"), "1"))
	mustSync(t, s)
	readAll(t, s)
	failing = true
	if err := s.Commit(1); !errors.Is(err, syscall.EIO) {
		t.Fatalf("commit: %v", err)
	}
	readAll(t, s) // it looks for segments that can go
	if n := len(segments(t, dir)); n != 1 {
		t.Fatalf("%d segments while the position is not durable", n)
	}
	failing = false
	mustSync(t, s)
	readAll(t, s)
	appendAll(t, s, batch(source("a"), "2"))
	mustSync(t, s)
	readAll(t, s)
	if err := s.Commit(2); err != nil {
		t.Fatal(err)
	}
	if n := len(segments(t, dir)); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}

func TestASegmentThatCannotBeRemovedIsCountedAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	var fail error
	s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, _ string) error {
		if op == "remove" {
			return fail
		}
		return nil
	})})
	defer closeSpool(t, s)
	appendAll(t, s, batch(source("a"), "1"))
	mustSync(t, s)
	readAll(t, s)
	fail = syscall.EIO
	if err := s.Commit(1); !errors.Is(err, syscall.EIO) || s.Bytes() == 0 {
		t.Errorf("commit: %v; %d bytes", err, s.Bytes())
	}
	fail = nil
	readAll(t, s)
	if s.Bytes() != 0 || len(segments(t, dir)) != 0 {
		t.Errorf("%d bytes, %q", s.Bytes(), segments(t, dir))
	}
}

// What a crash leaves in the system's memory is on no disk yet. Its fsync at the next
// start may fail like any other.
func TestASegmentWhoseFsyncFailsAtTheStartIsRewritten(t *testing.T) {
	dir := t.TempDir()
	_, _, _, want := written(t, dir, 3)
	fsys, syncs := lyingFS(t, dir, segmentSuffix)
	s := open(t, dir, 1<<20, Options{FS: fsys})
	defer closeSpool(t, s)
	if diff := cmp.Diff(want, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
	for name, n := range syncs {
		if n != 1 {
			t.Errorf("%s was synced %d times", name, n)
		}
	}
	if len(syncs) != 1 {
		t.Errorf("synced %v", syncs)
	}
}

func TestASegmentOfAnotherSpoolIsSetAside(t *testing.T) {
	other := t.TempDir()
	s := open(t, other, 1<<20, Options{})
	if err := s.Append(batch(source("other"), "x"), 1000); err != nil { // a number above ours
		t.Fatal(err)
	}
	mustSync(t, s)
	closeSpool(t, s)
	foreign, err := os.ReadFile(segments(t, other)[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, lost := range []bool{false, true} {
		dir := t.TempDir()
		s = open(t, dir, 1<<20, Options{SegmentBytes: 1})
		appendAll(t, s, batch(source("a"), "1"), batch(source("a"), "2"), batch(source("a"), "3"))
		mustSync(t, s)
		want := readAll(t, s)
		closeSpool(t, s)
		names := segments(t, dir)
		own, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		later := filepath.Join(dir, "00000000000000000009"+segmentSuffix)
		for name, data := range map[string][]byte{filepath.Join(dir, "00000000000000000000"+segmentSuffix): foreign, later: own} {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if lost {
			if err := os.Remove(filepath.Join(dir, positionName)); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, dir, 1<<20, Options{})
		if diff := cmp.Diff(want, readAll(t, s)); diff != "" {
			t.Errorf("position lost %v: %s", lost, diff)
		}
		if d := s.Stats().Damage; d != (Damage{SetAside: 2, PositionLost: lost}) {
			t.Errorf("position lost %v: %+v", lost, d)
		}
		if kept, err := os.ReadFile(later + damagedSuffix); err != nil || len(kept) != len(own) {
			t.Errorf("position lost %v: %d bytes set aside, %v", lost, len(kept), err)
		}
		closeSpool(t, s)
	}
}

// A bad sector costs what is behind it in its segment, for now; nothing is cut.
func TestWhatTheDiskCannotReadIsSetAsideWhole(t *testing.T) {
	for _, when := range []string{"at the start", "later"} {
		dir := t.TempDir()
		s := open(t, dir, 1<<20, Options{SegmentBytes: 1})
		for _, line := range []string{"1", "2", "3", "4"} {
			appendAll(t, s, batch(source("a"), line))
		}
		mustSync(t, s)
		closeSpool(t, s)
		names := segments(t, dir)
		data, err := os.ReadFile(names[1])
		if err != nil || len(names) < 3 {
			t.Fatalf("%d segments, %v", len(names), err)
		}
		bad := when == "at the start"
		s = open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, name string) error {
			if bad && op == "read" && name == filepath.Base(names[1]) {
				return syscall.EIO
			}
			return nil
		})})
		bad = true
		var got []string
		for tries := 0; tries < 2*readTries && len(got) < 3; tries++ {
			b, _, err := s.Read()
			if err != nil {
				continue
			}
			got = append(got, string(b.Line(0)))
		}
		if diff := cmp.Diff([]string{"1", "3", "4"}, got); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
		if _, _, err := s.Read(); err == nil {
			t.Errorf("%s: more than three", when)
		}
		if err := s.Commit(4); err != nil {
			t.Fatal(err)
		}
		if d := s.Stats().Damage; d.LostLines != 1 || d.SetAside != 1 {
			t.Errorf("%s: %+v", when, d)
		}
		if kept, err := os.ReadFile(names[1] + damagedSuffix); err != nil || len(kept) != len(data) {
			t.Errorf("%s: %d of %d bytes kept, %v", when, len(kept), len(data), err)
		}
		closeSpool(t, s)
	}
}
