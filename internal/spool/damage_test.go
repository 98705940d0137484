package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/record"
	"pgregory.net/rapid"
)

// resum corrects the sum of a segment's header.
func resum(header []byte) { le.PutUint32(header[24:], crc32.Checksum(header[:24], castagnoli)) }

// written makes a spool of one segment with batches of one, two, … n lines, and
// returns where each record begins, and the file's end.
func written(t *testing.T, dir string, n int) (name string, data []byte, starts []int64, want []string) {
	t.Helper()
	s := open(t, dir, 1<<20, Options{})
	for i := range n {
		var ls []string
		for j := range i + 1 {
			ls = append(ls, fmt.Sprintf("line %d of batch %d", j, i+1))
		}
		starts = append(starts, max(s.Bytes(), segmentHead))
		appendAll(t, s, batch(source("a"), ls...))
	}
	starts = append(starts, s.Bytes())
	mustSync(t, s)
	want = readAll(t, s)
	closeSpool(t, s)
	name = segments(t, dir)[0]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return name, data, starts, want
}

func TestATornTailIsCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	name, data, starts, want := written(t, dir, 3)
	position, err := os.ReadFile(filepath.Join(dir, positionName))
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut <= len(data); cut++ {
		if err := os.WriteFile(name, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := 0
		for whole < 3 && starts[whole+1] <= int64(cut) {
			whole++
		}
		if err := os.WriteFile(filepath.Join(dir, positionName), position, 0o600); err != nil {
			t.Fatal(err)
		}
		lost := int64(0) // batch i has i lines
		for i := whole + 1; i <= 3; i++ {
			lost += int64(i)
		}
		s := open(t, dir, 1<<20, Options{})
		if d := s.Stats().Damage; d.LostLines != lost || d.Holes != 0 {
			t.Fatalf("cut at %d: damage %+v", cut, d)
		}
		appendAll(t, s, batch(source("b"), "after"))
		mustSync(t, s)
		expect := append(append([]string{}, want[:whole]...), fmt.Sprintf("%d: b: after", whole+1))
		if diff := cmp.Diff(expect, readAll(t, s)); diff != "" {
			t.Fatalf("cut at %d: %s", cut, diff)
		}
		closeSpool(t, s)
		for _, seg := range segments(t, dir) {
			if err := os.Remove(seg); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAFlippedByteCostsItsRecordAloneAndIsCounted(t *testing.T) {
	dir := t.TempDir()
	name, data, starts, want := written(t, dir, 5)
	position, err := os.ReadFile(filepath.Join(dir, positionName))
	if err != nil {
		t.Fatal(err)
	}
	for at := range data {
		broken := bytes.Clone(data)
		broken[at] ^= 0x41
		if err := os.WriteFile(name, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		var expect []string
		damage := Damage{}
		for i := range want {
			if int64(at) < starts[i] || int64(at) >= starts[i+1] {
				expect = append(expect, want[i])
				continue
			}
			damage.LostLines = int64(i + 1)
			if i == 4 { // behind it is nothing that is valid
				damage.CutBytes = starts[5] - starts[4]
				continue
			}
			damage.Holes = 1
		}
		s := open(t, dir, 1<<20, Options{})
		if diff := cmp.Diff(damage, s.Stats().Damage); diff != "" {
			t.Fatalf("byte %d: %s", at, diff)
		}
		before := s.Lines()
		if diff := cmp.Diff(expect, readAll(t, s)); diff != "" {
			t.Fatalf("byte %d: %s", at, diff)
		}
		if n, want := s.Stats().Damage.Holes, damage.Holes; n != want {
			t.Fatalf("byte %d: %d holes when all is read, want %d", at, n, want)
		}
		quarantined(t, dir, broken, at, starts)
		if err := s.Commit(5); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Lines != 0 || st.Bytes != 0 || !s.Empty() || st.Damage.LostLines != damage.LostLines {
			t.Fatalf("byte %d: %d lines before; after the commit %+v", at, before, st)
		}
		closeSpool(t, s)
		if err := os.WriteFile(filepath.Join(dir, positionName), position, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// quarantined checks that the damaged record, and it alone, was kept, and removes it.
func quarantined(t *testing.T, dir string, data []byte, at int, starts []int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+damagedSuffix))
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i := range len(starts) - 1 {
		if int64(at) >= starts[i] && int64(at) < starts[i+1] {
			want = data[starts[i]:starts[i+1]]
		}
	}
	var got []byte
	for _, name := range names {
		kept, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, kept...)
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("byte %d: %d bytes in quarantine, want the record's %d", at, len(got), len(want))
	}
}

func TestDamageThatComesWhileOpenIsPassedOverAndCounted(t *testing.T) {
	for i := range 5 {
		dir := t.TempDir()
		name, data, starts, want := written(t, dir, 5)
		s := open(t, dir, 1<<20, Options{})
		data[starts[i]+20] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		expect := append(append([]string{}, want[:i]...), want[i+1:]...)
		if diff := cmp.Diff(expect, readAll(t, s)); diff != "" {
			t.Fatalf("record %d: %s", i, diff)
		}
		if d := s.Stats().Damage; d.LostLines != int64(i+1) || d.Holes != 1 {
			t.Errorf("record %d: %+v", i, d)
		}
		if err := s.Commit(5); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Lines != 0 || st.Bytes != 0 || !s.Empty() {
			t.Errorf("record %d: left %+v", i, st)
		}
		closeSpool(t, s)
	}
}

func TestALostSegmentIsCounted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{SegmentBytes: 1})
	for i := range 5 {
		appendAll(t, s, batch(source("a"), make([]string, i+1)...))
	}
	mustSync(t, s)
	closeSpool(t, s)
	for _, i := range []int{0, 2} {
		if err := os.Remove(segments(t, dir)[i]); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if n := len(readAll(t, s)); n != 3 {
		t.Errorf("%d batches, want 3", n)
	}
	if d := s.Stats().Damage; d.LostLines != 1+4 {
		t.Errorf("%+v, want 5 lost lines", d)
	}
}

func TestWhatIsLostIsCountedOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{SegmentBytes: 1})
	for i := range 5 {
		appendAll(t, s, batch(source("a"), make([]string, i+1)...))
	}
	mustSync(t, s)
	closeSpool(t, s)
	names := segments(t, dir)
	for start, step := range []struct {
		remove int // a segment, or none
		lost   int64
	}{{1, 2}, {-1, 0}, {2, 3}, {4, 5}, {-1, 0}} {
		if step.remove >= 0 {
			if err := os.Remove(names[step.remove]); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, dir, 1<<20, Options{})
		if d := s.Stats().Damage; d.LostLines != step.lost {
			t.Errorf("start %d: %+v, want %d lost lines", start, d, step.lost)
		}
		closeSpool(t, s)
	}
}

// A kill leaves records in the system's memory that no fsync has reached. Nobody was
// promised them, so they are not lost when they are gone at a later start.
func TestWhatNobodyWasPromisedIsNotLost(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{SegmentBytes: 1})
	appendAll(t, s, batch(source("a"), "1"))
	mustSync(t, s)
	appendAll(t, s, batch(source("a"), "2"))
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, dir, killed)
	closeSpool(t, s)
	s = open(t, killed, 1<<20, Options{SegmentBytes: 1})
	appendAll(t, s, batch(source("a"), "3"))
	mustSync(t, s)
	closeSpool(t, s)
	if err := os.Remove(segments(t, killed)[1]); err != nil {
		t.Fatal(err)
	}
	s = open(t, killed, 1<<20, Options{})
	defer closeSpool(t, s)
	if d := s.Stats().Damage; d.LostLines != 0 {
		t.Errorf("%+v", d)
	}
	if diff := cmp.Diff([]string{"1: a: 1", "3: a: 3"}, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestALostPositionRepeatsAndLosesNothing(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"gone":  os.Remove,
		"empty": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"NULs":  func(p string) error { return os.WriteFile(p, make([]byte, 1024), 0o600) },
	} {
		dir := t.TempDir()
		_, _, _, want := written(t, dir, 3)
		if err := spoil(filepath.Join(dir, positionName)); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, 1<<20, Options{})
		if diff := cmp.Diff(want, readAll(t, s)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if d := s.Stats().Damage; d != (Damage{PositionLost: true}) {
			t.Errorf("%s: %+v", name, d)
		}
		closeSpool(t, s)
	}
}

func TestATornPositionFallsBackToTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, Options{})
	appendAll(t, s, batch(source("a"), "1"), batch(source("a"), "2"), batch(source("a"), "3"))
	mustSync(t, s)
	readAll(t, s)
	for _, seq := range []uint64{1, 2} {
		if err := s.Commit(seq); err != nil {
			t.Fatal(err)
		}
	}
	closeSpool(t, s)
	f, err := os.OpenFile(filepath.Join(dir, positionName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, slotSize+30); err != nil { // the slot that was written last
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if diff := cmp.Diff([]string{"2: a: 2", "3: a: 3"}, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestALineThatLooksLikeARecordIsNotOne(t *testing.T) {
	dir := t.TempDir()
	forged, err := appendRecord(nil, batch(source("victim"), "forged"), 2, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, 1<<20, Options{})
	appendAll(t, s, batch(source("a"), string(forged), string(bytes.Repeat(magicBytes, 50_000))), batch(source("a"), "last"))
	mustSync(t, s)
	closeSpool(t, s)
	name := segments(t, dir)[0]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[segmentHead] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20, Options{})
	defer closeSpool(t, s)
	if diff := cmp.Diff([]string{"2: a: last"}, readAll(t, s)); diff != "" {
		t.Error(diff)
	}
}

// TestAnyBytesAreRead opens segments of any content: no panic, no error, no endless loop.
func TestAnyBytesAreRead(t *testing.T) {
	dir := t.TempDir()
	name, data, _, _ := written(t, dir, 4)
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(data)
		for range rapid.IntRange(1, 6).Draw(t, "edits") {
			at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
			n := min(rapid.IntRange(1, 64).Draw(t, "n"), len(b)-at)
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				clear(b[at : at+n])
			case 1:
				b = append(b[:at:at], b[at+n:]...)
			case 2:
				b = append(b[:at:at], append(bytes.Clone(b[at:at+n]), b[at:]...)...)
			case 3:
				b[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
			}
			if len(b) == 0 {
				b = []byte{0}
			}
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatalf("%v", err)
		}
		s := open(t, dir, 1<<20, Options{})
		defer s.Close()
		lines := s.Lines()
		got := readAll(t, s)
		if s.Stats().Batches != int64(len(got)) || s.Lines() != lines {
			t.Fatalf("%d batches read, the numbers were %d and are %+v", len(got), lines, s.Stats())
		}
	})
}

// TestSpoolAgainstItsModel does what a queue does, in any order, with kills in between.
func TestSpoolAgainstItsModel(t *testing.T) {
	base := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		s := open(t, dir, 8<<10, Options{SegmentBytes: 600})
		defer func() { _ = s.Close() }()
		var synced, pending, out []string // not committed; out of them the read ones
		sync := func() {
			if _, _, err := s.Sync(); err != nil {
				t.Fatalf("sync: %v", err)
			}
			synced, pending = append(synced, pending...), nil
		}
		kills := 0
		reopen := func(kill bool) {
			if kill {
				sync() // what is not synced may or may not survive
				kills++
				next := fmt.Sprintf("%s-%d", dir, kills)
				copyDir(t, dir, next)
				_ = s.Close()
				dir = next
			} else if err := s.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			pending, out = nil, nil
			s = open(t, dir, 8<<10, Options{SegmentBytes: 600})
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				src := source(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source"))
				b := batch(src, rapid.SliceOfN(rapid.StringN(0, 40, -1), 1, 5).Draw(t, "lines")...)
				seq := s.LastSeq() + uint64(rapid.IntRange(1, 3).Draw(t, "step"))
				err := s.Append(b, seq)
				if errors.Is(err, ErrFull) {
					return
				}
				if err != nil {
					t.Fatalf("append: %v", err)
				}
				pending = append(pending, fmt.Sprint(seq, picture(b)))
			},
			"sync": func(*rapid.T) { sync() },
			"read": func(t *rapid.T) {
				b, seq, err := s.Read()
				if len(out) == len(synced) {
					if err == nil {
						t.Fatalf("read %d; nothing was left", seq)
					}
					return
				}
				if err != nil {
					t.Fatalf("read: %v", err)
				}
				if got := fmt.Sprint(seq, picture(b)); got != synced[len(out)] {
					t.Fatalf("read %s, want %s", got, synced[len(out)])
				}
				b.Done(record.Delivered)
				out = append(out, synced[len(out)])
			},
			"commit": func(t *rapid.T) {
				if len(out) == 0 {
					return
				}
				n := rapid.IntRange(1, len(out)).Draw(t, "n")
				var seq uint64
				_, _ = fmt.Sscan(out[n-1], &seq)
				if err := s.Commit(seq); err != nil {
					t.Fatalf("commit: %v", err)
				}
				synced, out = synced[n:], out[n:]
			},
			"restart": func(*rapid.T) { reopen(false) },
			"kill":    func(*rapid.T) { reopen(true) },
			"": func(t *rapid.T) {
				st := s.Stats()
				if st.Batches != int64(len(synced)) || st.Damage != (Damage{}) || s.Empty() != (len(synced)+len(pending) == 0) {
					t.Fatalf("%+v; synced %d, pending %d", st, len(synced), len(pending))
				}
			},
		})
	})
}

func picture(b *record.Batch) string { return fmt.Sprintf(" %s %q", b.Source.ID, lines(b)) }
