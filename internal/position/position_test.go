package position

import (
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/record"
)

func at(offset int64) Cursor { return Cursor{File: &FilePos{Offset: offset}} }

// However late and mixed up the answers come, the cursor never passes a batch that
// was not delivered, and with all delivered it reaches the end.
func TestTheCursorMovesInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "batches")
		var moves []int64
		failures := 0
		tr := NewTracker(at(0), func(c Cursor) { moves = append(moves, c.File.Offset) }, func() { failures++ })
		pool := record.NewPool(1 << 30)
		batches := make([]*record.Batch, n)
		for i := range batches {
			batches[i] = pool.Force(1)
			tr.Track(batches[i], at(int64(i+1)))
		}
		failed := map[int]bool{}
		answered := map[int]bool{}
		for _, i := range rapid.Permutation(seq(n)).Draw(t, "order") {
			o := record.Delivered
			if rapid.IntRange(0, 20).Draw(t, "fails") == 0 {
				o, failed[i] = record.Failed, true
			}
			answered[i] = true
			batches[i].Done(o)
			want := int64(0)
			for int(want) < n && answered[int(want)] && !failed[int(want)] {
				want++
			}
			if got := tr.Acked().File.Offset; got != want {
				t.Fatalf("cursor at %d, want %d", got, want)
			}
		}
		if tr.Outstanding() != 0 || (failures == 1) != (len(failed) > 0) || failures > 1 {
			t.Fatalf("%d outstanding, failed called %d times for %d failures", tr.Outstanding(), failures, len(failed))
		}
		for i := 1; i < len(moves); i++ {
			if moves[i] <= moves[i-1] {
				t.Fatalf("moves are %v", moves)
			}
		}
	})
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestAdvanceWaitsForWhatIsOut(t *testing.T) {
	tr := NewTracker(at(0), func(Cursor) {}, func() {})
	b := record.NewPool(1 << 20).Force(1)
	tr.Track(b, at(1))
	tr.Advance(at(5))
	if got := tr.Acked().File.Offset; got != 0 {
		t.Fatalf("cursor at %d before the batch was delivered", got)
	}
	b.Done(record.Delivered)
	if got := tr.Acked().File.Offset; got != 5 {
		t.Fatalf("cursor at %d, want 5", got)
	}
}

func store(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPositionsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	want := map[string]Cursor{
		"file:/a": {File: &FilePos{FileID: FileID{1, 2, 3}, Fingerprint: 1 << 63, FingerprintLen: 9, Offset: 7, Mark: Mark{End: 9, Len: 9, Sum: 1 << 63}}, Last: [3]int64{5}},
		"container:b": {
			API:   &APIPos{Since: 9, Streams: [2]StreamPos{{Time: 8, Seen: []uint64{1 << 63}}}},
			Ahead: &Ahead{Output: 2, Pos: FilePos{Offset: 3}},
		},
	}
	s := store(t, dir)
	for id, c := range want {
		s.Set(id, c)
	}
	s.Set("gone", Cursor{})
	s.Remove("gone")
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, store(t, dir).All()); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedPositionsFallBackToTheGenerationBefore(t *testing.T) {
	damages := map[string]func(path string, data []byte) error{
		"empty":   func(p string, _ []byte) error { return os.WriteFile(p, nil, 0o600) },
		"half":    func(p string, d []byte) error { return os.WriteFile(p, d[:len(d)/2], 0o600) },
		"nul":     func(p string, d []byte) error { return os.WriteFile(p, make([]byte, len(d)), 0o600) },
		"flipped": func(p string, d []byte) error { d[len(d)-4] ^= 1; return os.WriteFile(p, d, 0o600) },
		"missing": func(p string, _ []byte) error { return os.Remove(p) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := store(t, dir)
			for _, offset := range []int64{1, 2} {
				s.Set("a", at(offset))
				if err := s.Save(); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, FileName)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path, data); err != nil {
				t.Fatal(err)
			}
			if got := store(t, dir).Get("a"); got.File == nil || got.File.Offset != 1 {
				t.Errorf("got %+v, want the generation before", got)
			}
		})
	}
}

// later makes a valid file of the version after ours.
func later(t *testing.T, path string) {
	t.Helper()
	body := []byte(`{"a":{"file":{"offset":9}}}`)
	data := append(fmt.Appendf(nil, header, version+1, crc32.Checksum(body, castagnoli)), body...)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestALaterVersionIsKeptAndTheGenerationBeforeUsed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	s := store(t, dir)
	for _, offset := range []int64{1, 2} {
		s.Set("a", at(offset))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
	}
	later(t, path)
	if got := store(t, dir).Get("a"); got.File == nil || got.File.Offset != 1 {
		t.Errorf("got %+v, want the generation before", got)
	}
	if _, err := os.Stat(path + ".later"); err != nil {
		t.Errorf("the later version was not kept: %v", err)
	}

	later(t, path)
	later(t, path+".prev")
	before, _ := os.ReadFile(path)
	_, err := OpenStore(dir, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "later version") || !strings.Contains(err.Error(), "run the version that wrote it") {
		t.Errorf("both are later: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed: %q, %v", after, err)
	}
}

// The first save after damage has only .prev to fall back on until it is through.
func TestTheOnlyGenerationStaysUntilTheNextIsThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	s := store(t, dir)
	for _, offset := range []int64{1, 2} {
		s.Set("a", at(offset))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store(t, dir).keepPrevious(); err != nil { // it put the empty one aside
		t.Fatal(err)
	}
	if got := store(t, dir).Get("a"); got.File == nil || got.File.Offset != 1 {
		t.Errorf("killed before the rename: got %+v, want the generation before", got)
	}
}

func TestSaveReportsADirectoryThatIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := store(t, dir)
	s.Set("a", at(1))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(); err == nil {
		t.Fatal("no error")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(); err != nil {
		t.Fatalf("the next save: %v", err)
	}
}

// What was stored before there was a journal is read as it was, and the journal's place is
// one like others.
func TestTheJournalsPlaceIsKept(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	body := `{"file:/a":{"file":{"dev":1,"ino":2,"fp":3,"fp_len":4,"offset":5},"last":[6,0,0]}}`
	old := fmt.Sprintf("log_capturer positions v1 crc32c=%08x\n%s", crc32.Checksum([]byte(body), castagnoli), body)
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Get("file:/a"); c.File == nil || c.File.Offset != 5 || c.Journal != nil || c.IsZero() {
		t.Errorf("%+v", c)
	}
	want := Cursor{Journal: &JournalPos{Cursor: "s=1;i=2", Since: 7, Choice: 8}, Last: [3]int64{9}}
	s.Set("journal", want)
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenStore(dir, log); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.Get("journal")); diff != "" || s.Get("journal").IsZero() {
		t.Error(diff)
	}
}
