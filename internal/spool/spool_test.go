package spool

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/record"
)

func TestBatchesComeBackAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{})
	src := source("a")
	src.CanWait = true
	b := batch(src, "one", "", "three\xff\x00", strings.Repeat("long", 50_000))
	b.Entries[3].Flags = record.Truncated
	b.Entries[1].Time = -5
	appendAll(t, s, b, batch(src, "two"))
	mustSync(t, s)
	closeSpool(t, s)

	s = open(t, dir, 1<<20, Options{Pool: record.NewPool(1)})
	defer closeSpool(t, s)
	got, seq, err := s.Read()
	if err != nil || seq != 1 {
		t.Fatalf("read %d, %v", seq, err)
	}
	second, _, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	if got.Source != second.Source {
		t.Error("two batches of one source have two sources")
	}
	if diff := cmp.Diff(src, got.Source); diff != "" {
		t.Errorf("source (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(lines(b), lines(got)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for i := range b.Entries {
		w, g := b.Entries[i], got.Entries[i]
		if w.Time != g.Time || w.Output != g.Output || w.Flags != g.Flags {
			t.Errorf("entry %d: %+v, want %+v", i, g, w)
		}
	}
	if n := s.Sources()["a"]; n != 2 {
		t.Errorf("%d batches of the source, want 2", n)
	}
}

func TestOnlySyncedBatchesAreRead(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20, Options{})
	defer closeSpool(t, s)
	appendAll(t, s, batch(source("a"), "1"))
	if got := readAll(t, s); got != nil {
		t.Fatalf("read %q before the sync", got)
	}
	if st := s.Stats(); st.Lines != 0 || st.PendingLines != 1 {
		t.Errorf("before the sync: %+v", st)
	}
	mustSync(t, s)
	if diff := cmp.Diff([]string{"1: a: 1"}, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
	if st := s.Stats(); st.Lines != 1 || st.PendingLines != 0 || st.Batches != 1 {
		t.Errorf("after the sync: %+v", st)
	}
}

func TestCommittedBatchesAreGoneAfterARestartAndTheRestComesAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{SegmentBytes: 400})
	for _, line := range []string{"1", "2", "3", "4", "5"} {
		appendAll(t, s, batch(source("a"), line))
	}
	mustSync(t, s)
	if n := len(segments(t, dir)); n < 3 {
		t.Fatalf("%d segments; the test wants several", n)
	}
	readAll(t, s)
	if err := s.Commit(3); err != nil {
		t.Fatal(err)
	}
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, dir, killed)
	closeSpool(t, s)
	for _, dir := range []string{dir, killed} {
		s := open(t, dir, 1<<20, Options{SegmentBytes: 400})
		if st := s.Stats(); st.Lines != 2 || st.Batches != 2 || s.Sources()["a"] != 2 || s.LastSeq() != 5 {
			t.Errorf("%+v, last %d", st, s.LastSeq())
		}
		if diff := cmp.Diff([]string{"4: a: 4", "5: a: 5"}, readAll(t, s)); diff != "" {
			t.Error(diff)
		}
		if err := s.Commit(5); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Bytes != 0 || st.Lines != 0 || len(segments(t, dir)) != 0 {
			t.Errorf("an empty spool has %+v and %q", st, segments(t, dir))
		}
		closeSpool(t, s)
	}
}

func TestTheNumbersGoOnWhereAllWasCommitted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{})
	appendAll(t, s, batch(source("a"), "1"), batch(source("a"), "2"))
	mustSync(t, s)
	readAll(t, s)
	if err := s.Commit(2); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if s.LastSeq() != 2 {
		t.Errorf("last number %d, want 2", s.LastSeq())
	}
	if err := s.Append(batch(source("a"), "x"), 2); err == nil {
		t.Error("a number was taken twice")
	}
	appendAll(t, s, batch(source("a"), "3"))
	mustSync(t, s)
	if diff := cmp.Diff([]string{"3: a: 3"}, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
	if d := s.Stats().Damage; d != (Damage{}) {
		t.Errorf("damage %+v", d)
	}
}

func TestTheCapHolds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 4000, Options{SegmentBytes: 1000})
	defer closeSpool(t, s)
	n := 0
	for {
		err := s.Append(batch(source("a"), strings.Repeat("x", 100)), uint64(n+1))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil || n > 100 {
			t.Fatalf("after %d: %v", n, err)
		}
		n++
	}
	mustSync(t, s)
	if b := s.Bytes(); b < 4000 || b > 4000+400 || s.Room() { // a record here is below 400
		t.Errorf("%d bytes at the cap of 4000; room: %v", b, s.Room())
	}
	readAll(t, s)
	if err := s.Commit(uint64(n)); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(batch(source("a"), "y"), uint64(n+1)); err != nil {
		t.Errorf("no room after all was committed: %v", err)
	}
}

func TestOneBatchThatIsLargerThanTheCapIsTakenAlone(t *testing.T) {
	s := open(t, t.TempDir(), 1000, Options{})
	defer closeSpool(t, s)
	appendAll(t, s, batch(source("a"), strings.Repeat("x", 5000)))
	if err := s.Append(batch(source("a"), "y"), 2); !errors.Is(err, ErrFull) {
		t.Errorf("behind it: %v", err)
	}
}

func TestAFullDiskLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	full := false
	s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, _ string) error {
		if full && (op == "write" || op == "create") {
			return syscall.ENOSPC
		}
		return nil
	})})
	appendAll(t, s, batch(source("a"), "1"))
	full = true
	if err := s.Append(batch(source("a"), "lost"), 2); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrFull) {
		t.Fatalf("append on a full disk: %v", err)
	}
	full = false
	if err := s.Append(batch(source("a"), "3"), 3); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	closeSpool(t, s)
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if diff := cmp.Diff([]string{"1: a: 1", "3: a: 3"}, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
	if d := s.Stats().Damage; d != (Damage{}) {
		t.Errorf("damage %+v", d)
	}
}

func TestAPartialWriteThatCannotBeCutEndsItsSegment(t *testing.T) {
	dir := t.TempDir()
	broken := false
	s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, _ string) error {
		if broken && (op == "write" || op == "truncate") {
			return syscall.EIO
		}
		return nil
	})})
	appendAll(t, s, batch(source("a"), "1"))
	broken = true
	if err := s.Append(batch(source("a"), "lost"), 2); err == nil {
		t.Fatal("append on a broken disk: no error")
	}
	broken = false
	appendAll(t, s, batch(source("a"), "3"))
	mustSync(t, s)
	closeSpool(t, s)
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if diff := cmp.Diff([]string{"1: a: 1", "2: a: 3"}, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestAFailedSyncDropsWhatItWasToKeepAndGoesOnInANewFile(t *testing.T) {
	dir := t.TempDir()
	var fail error
	s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, segmentSuffix) {
			return fail
		}
		return nil
	})})
	appendAll(t, s, batch(source("a"), "1"))
	mustSync(t, s)
	appendAll(t, s, batch(source("a"), "2"), batch(source("a"), "3"))
	fail = syscall.EIO
	durable, dropped, err := s.Sync()
	if durable != 1 || dropped != 3 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: durable %d, dropped %d, %v", durable, dropped, err)
	}
	fail = nil
	if durable, dropped, err := s.Sync(); durable != 1 || dropped != 0 || err != nil {
		t.Fatalf("the sync after it: durable %d, dropped %d, %v", durable, dropped, err)
	}
	appendAll(t, s, batch(source("a"), "4"))
	mustSync(t, s)
	want := []string{"1: a: 1", "4: a: 4"}
	if diff := cmp.Diff(want, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
	if n := len(segments(t, dir)); n != 2 {
		t.Errorf("%d segments, want the poisoned and a new one", n)
	}
	closeSpool(t, s)
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if diff := cmp.Diff(want, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
	if d := s.Stats().Damage; d != (Damage{}) {
		t.Errorf("damage %+v", d)
	}
}

func TestThePositionIsDurableBeforeASegmentIsRemoved(t *testing.T) {
	dir := t.TempDir()
	var calls []string
	var fail error
	s := open(t, dir, 1<<20, Options{FS: faulty(t, dir, func(op, name string) error {
		if strings.HasPrefix(name, positionName) || op == "remove" {
			calls = append(calls, op+" "+strings.TrimSuffix(name, segmentSuffix))
			if op == "sync" || op == "create" {
				return fail
			}
		}
		return nil
	})})
	defer closeSpool(t, s)
	appendAll(t, s, batch(source("a"), "1"))
	mustSync(t, s)
	readAll(t, s)
	fail, calls = syscall.EIO, nil
	if err := s.Commit(1); err == nil {
		t.Error("a position that cannot be made durable is no error")
	}
	if len(segments(t, dir)) != 1 {
		t.Fatal("the segment was removed before its position was durable")
	}
	fail, calls = nil, nil
	appendAll(t, s, batch(source("a"), "2"))
	mustSync(t, s)
	readAll(t, s)
	if err := s.Commit(2); err != nil {
		t.Fatal(err)
	}
	removed, durable := 0, true
	for _, call := range calls {
		switch {
		case strings.HasPrefix(call, "write"):
			durable = false
		case strings.HasPrefix(call, "sync"):
			durable = true
		case strings.HasPrefix(call, "remove 0"):
			removed++
			if !durable {
				t.Errorf("removed before the position was durable: %q", calls)
			}
		}
	}
	if removed != 2 {
		t.Errorf("%d segments removed, want 2: %q", removed, calls)
	}
	if left := segments(t, dir); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestAClosedSpoolRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{})
	appendAll(t, s, batch(source("a"), "never synced"))
	closeSpool(t, s)
	closeSpool(t, s)
	_, _, syncErr := s.Sync()
	_, _, readErr := s.Read()
	for _, err := range []error{s.Append(batch(source("a"), "x"), 9), syncErr, readErr, s.Commit(1)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if _, _, err := s.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("what was not synced came back: %v", err)
	}
}

func TestACapOfNothingIsRefused(t *testing.T) {
	if _, err := Open(t.TempDir(), 0, Options{}); err == nil || !strings.Contains(err.Error(), "spool.max_bytes") {
		t.Errorf("open: %v", err)
	}
}
