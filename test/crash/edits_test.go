package crash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// written is a spool at rest: its files, and what is in them.
type written struct {
	dir     string
	files   map[string][]byte
	records []recordAt // in order; those that are committed are not among them
	foreign []byte     // a segment of another spool
}

type recordAt struct {
	file     string
	from, to int64
	lines    int64
	text     string
}

func batchOf(i int) *record.Batch {
	src := &record.Source{ID: sourceID(i % 3)}
	src.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "n", Value: src.ID}}, nil)
	b := &record.Batch{Source: src}
	b.Retain(1)
	for n := range 1 + i%6 {
		b.Append(int64(n), record.Stdout, []byte(text(i, int64(n))))
	}
	return b
}

func textOf(b *record.Batch) (s string) {
	for i := range b.Entries {
		s += string(b.Line(i)) + "\n"
	}
	return s
}

const spoolCap = 1 << 20

func openSpool(dir string) (*spool.Spool, error) {
	return spool.Open(dir, spoolCap, spool.Options{SegmentBytes: 1200})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// atRest makes a spool of batches of which the first few are committed.
func atRest(t *testing.T, batches, committed int) *written {
	t.Helper()
	w := &written{dir: filepath.Join(memDir(t), "spool"), files: map[string][]byte{}}
	s, err := openSpool(w.dir)
	must(t, err)
	for i := range batches {
		must(t, s.Append(batchOf(i), uint64(i+1)))
	}
	_, _, err = s.Sync()
	must(t, err)
	for range committed {
		_, seq, err := s.Read()
		must(t, err)
		must(t, s.Commit(seq))
	}
	must(t, s.Close())
	names, err := filepath.Glob(filepath.Join(w.dir, "*"))
	must(t, err)
	slices.Sort(names)
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(t, err)
		w.files[filepath.Base(name)] = data
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		for at := int64(32); at < int64(len(data)); {
			size := 16 + int64(binary.LittleEndian.Uint32(data[at+4:]))
			seq := int(binary.LittleEndian.Uint64(data[at+16:]))
			if seq > committed {
				b := batchOf(seq - 1)
				w.records = append(w.records, recordAt{filepath.Base(name), at, at + size, int64(len(b.Entries)), textOf(b)})
			}
			at += size
		}
	}
	return w
}

func (w *written) segments() (names []string) {
	for name := range w.files {
		if strings.HasSuffix(name, ".seg") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// edit damages the files in a way that rng chooses, and says which.
func (w *written) edit(files map[string][]byte, rng *rand.Rand) string {
	names := w.segments()
	where := rng.IntN(3)
	name := []string{names[0], names[1+rng.IntN(len(names)-2)], names[len(names)-1]}[where]
	data := files[name]
	at := rng.IntN(len(data))
	kind := rng.IntN(5)
	switch kind {
	case 0:
		data[at] ^= byte(1 + rng.IntN(255))
	case 1:
		clear(data[at:min(len(data), at+1+rng.IntN(600))])
	case 2:
		files[name] = data[:at]
	case 3:
		delete(files, name)
	case 4:
		added := map[int]string{0: "00000000000000000000.seg", 1: strings.Replace(names[len(names)-1], "0000.", "9999.", 1), 2: "00000000000000099999.seg"}[where]
		files[added] = [][]byte{w.foreign, bytes.Clone(data), make([]byte, 700)}[rng.IntN(3)]
	}
	return fmt.Sprintf("%s at the %s: %s, byte %d", []string{"flip", "zero", "cut", "delete", "add"}[kind], []string{"head", "middle", "tail"}[where], name, at)
}

// Whatever is done to the files, the damaged records alone are lost, the count is exact,
// and the spool takes new ones.
func TestEditedSpoolFilesCostTheDamagedRecordsAlone(t *testing.T) {
	bases := []*written{atRest(t, 24, 0), atRest(t, 24, 3), atRest(t, 30, 8)}
	foreign := atRest(t, 60, 50).files
	for _, w := range bases {
		for _, data := range foreign {
			if len(data) > len(w.foreign) && !bytes.HasPrefix(data, []byte("LCSPPOS")) {
				w.foreign = data
			}
		}
	}
	s := seed(t)
	dir := memDir(t)
	runs := some(100, 1000)
	var lines, lost, unexplained int64
	var slowest time.Duration
	for i := range runs {
		w := bases[i%len(bases)]
		files := map[string][]byte{}
		for name, data := range w.files {
			files[name] = bytes.Clone(data)
		}
		rng := rand.New(rand.NewPCG(s, uint64(i)))
		what := w.edit(files, rng)
		at := filepath.Join(dir, fmt.Sprint(i))
		must(t, os.Mkdir(at, 0o700))
		for name, data := range files {
			must(t, os.WriteFile(filepath.Join(at, name), data, 0o600))
		}
		var want []string
		var gone int64
		for _, r := range w.records {
			lines += r.lines
			if now := files[r.file]; int64(len(now)) >= r.to && bytes.Equal(now[r.from:r.to], w.files[r.file][r.from:r.to]) {
				want = append(want, r.text)
				continue
			}
			gone += r.lines
		}
		start := time.Now()
		got, counted, err := readBack(at)
		slowest = max(slowest, time.Since(start))
		if err != nil || counted != gone || !slices.Equal(got, append(want, textOf(batchOf(100)))) {
			unexplained++
			t.Errorf("%d: %s: %v; %d batches and %d lines lost, want %d and %d", i, what, err, len(got)-1, counted, len(want), gone)
		}
		lost += gone
		must(t, os.RemoveAll(at))
	}
	if lost == 0 || slowest > 5*time.Second {
		t.Errorf("%d lines were damaged; the slowest was up after %v", lost, slowest)
	}
	row(t, "spool files flipped, zeroed, cut, deleted, added (head, middle, tail)", runs, lines, unexplained, 0,
		fmt.Sprintf("%d damaged lines, each counted; collecting again after %v at most", lost, slowest.Round(time.Millisecond)))
}

// readBack opens a spool, appends one batch, and returns all that it gives, and how many
// lines it says are lost.
func readBack(dir string) (got []string, lost int64, err error) {
	s, err := openSpool(dir)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Append(batchOf(100), s.LastSeq()+1); err != nil {
		return nil, 0, err
	}
	if _, _, err := s.Sync(); err != nil {
		return nil, 0, err
	}
	for {
		b, seq, err := s.Read()
		if errors.Is(err, io.EOF) {
			return got, s.Stats().Damage.LostLines, nil
		}
		if err != nil {
			return nil, 0, err
		}
		got = append(got, textOf(b))
		if err := s.Commit(seq); err != nil {
			return nil, 0, err
		}
	}
}

// What can happen to a checkpoint, with the one before it.
var checkpointEdits = map[string]func(data, old []byte) []byte{
	"empty": func(_, _ []byte) []byte { return nil },
	"NUL":   func(data, _ []byte) []byte { return make([]byte, len(data)) },
	"half":  func(data, _ []byte) []byte { return data[:len(data)/2] },
	"old":   func(_, old []byte) []byte { return old },
	"gone":  nil,
}

// A damaged or old checkpoint loses nothing and repeats no more than one interval.
func TestEditedCheckpoints(t *testing.T) {
	from := base(t)
	dir := memDir(t)
	positions := filepath.Join("data", position.FileName)
	for _, file := range []string{positions, filepath.Join("data", "spool", sinkName, "position")} {
		var a tally
		for _, name := range []string{"empty", "NUL", "half", "old", "gone", "later"} {
			at := filepath.Join(dir, name+filepath.Base(file))
			must(t, copyTree(from.dir, at))
			before, _, err := readBlackbox(filepath.Join(at, "blackbox"))
			must(t, err)
			path := filepath.Join(at, file)
			data, err := os.ReadFile(path)
			must(t, err)
			old := data
			if file == positions {
				old, err = os.ReadFile(path + ".prev")
				must(t, err)
				before.saved = map[int]int64{}
			} else if len(old) > 512 { // its two slots are the newest and the one before
				old = slices.Concat(data[512:], make([]byte, 1024-len(data)), data[512:])
			}
			if name == "later" {
				laterCheckpoint(t, at, path, data, file == positions)
				if file != positions {
					continue
				}
			} else if edit := checkpointEdits[name]; edit != nil {
				must(t, os.WriteFile(path, edit(data, old), 0o600))
			} else {
				must(t, os.Remove(path))
			}
			v, err := judge(filepath.Join(at, "data"), before, victimSources, victimLines)
			v.bound += from.owed
			if file != positions {
				v.bound += 2 << 10 / int64(len(text(0, 0))) // one segment
				if name == "old" {
					v.counted = 0 // what went with its segment since then looks lost
				}
			}
			a.add(name, v, err)
		}
		a.check(t)
		row(t, "checkpoint "+filepath.Base(file)+" empty, NUL, half, old, gone, of a later version", a.runs, a.lines, a.lost+a.missing, a.repeated, "")
	}
}

// laterCheckpoint makes a checkpoint one of a later version. That of a spool is refused,
// and nothing is changed.
func laterCheckpoint(t *testing.T, dir, path string, data []byte, fallsBack bool) {
	t.Helper()
	if fallsBack {
		must(t, os.WriteFile(path, bytes.Replace(data, []byte(" v1 "), []byte(" v2 "), 1), 0o600))
		return
	}
	later := bytes.Clone(data)
	for at := 0; at+52 <= len(later); at += 512 {
		later[at+8]++
		binary.LittleEndian.PutUint32(later[at+48:], checksum(later[at:at+48]))
	}
	must(t, os.WriteFile(path, later, 0o600))
	_, err := openRig(filepath.Join(dir, "data"), nobody{}, options{sources: 1})
	if err == nil || !strings.Contains(err.Error(), "format version") {
		t.Errorf("a later version: %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after, later) {
		t.Errorf("the checkpoint was changed: %v", err)
	}
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
