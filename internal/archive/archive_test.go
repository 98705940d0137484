package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var kinds = map[string]func(t testing.TB, text []byte) []byte{"gzip": gzipped, "zstd": zstandard}

func gzipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// lines are n bytes of a log that does not repeat itself.
func lines(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+64)
	for len(b) < n {
		b = fmt.Appendf(b, "line %d of a log, id=%x\n", len(b), r.Uint64())
	}
	return b[:n]
}

func reader(t testing.TB, raw []byte, l Limits) *Reader {
	t.Helper()
	r, err := New(bytes.NewReader(raw), "a.log.1.gz", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestAnArchiveIsReadFromAnyOffset(t *testing.T) {
	text := lines(300_000)
	for kind, compress := range kinds {
		raw := append(compress(t, text[:100_000]), compress(t, text[100_000:])...) // appended archives are one
		for _, from := range []int{0, 1, 99_999, 100_001, 299_999, 300_000} {
			r := reader(t, raw, Limits{})
			if err := r.SkipTo(int64(from)); err != nil || r.Offset() != int64(from) {
				t.Fatalf("%s: skip to %d: at %d, %v", kind, from, r.Offset(), err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, text[from:]) || r.Offset() != int64(len(text)) {
				t.Errorf("%s from %d: %d bytes of %d, %v", kind, from, len(got), len(text)-from, err)
			}
			if err := r.SkipTo(int64(len(text)) + 1); !errors.Is(err, io.EOF) {
				t.Errorf("%s: skip past the end: %v", kind, err)
			}
			if err := r.SkipTo(0); err == nil || !strings.Contains(err.Error(), "open it anew") {
				t.Errorf("%s: skip back: %v", kind, err)
			}
		}
	}
}

func TestTheFingerprintIsThatOfTheFile(t *testing.T) {
	for kind, compress := range kinds {
		for _, size := range []int{0, 1, 42, 1023, 1024, 5000, 100_000} {
			text := lines(size)
			r := reader(t, compress(t, text), Limits{})
			for _, want := range []int{1024, 10, 1024} { // asked for again, it is the same
				sum, n, err := r.Fingerprint(want)
				if n != min(want, size) || sum != xxhash.Sum64(text[:n]) || err != nil || r.Offset() != 0 {
					t.Errorf("%s of %d bytes: %d bytes, offset %d, %v", kind, size, n, r.Offset(), err)
				}
			}
			if err := r.SkipTo(int64(min(size, 7))); err != nil {
				t.Error(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, text[min(size, 7):]) {
				t.Errorf("%s: after the fingerprint %d bytes of %d are read, %v", kind, len(got), size-7, err)
			}
			if _, _, err := r.Fingerprint(10); size > 0 && err == nil {
				t.Errorf("%s: a fingerprint after reading", kind)
			}
		}
	}
}

func TestWhatIsReadableBeforeTheDamageComesFirst(t *testing.T) {
	text := lines(2 << 20)
	for kind, compress := range kinds {
		raw := compress(t, text)
		for name, c := range map[string]struct {
			raw  []byte
			want error
		}{
			"cut":            {raw[:len(raw)*2/3], ErrTruncated},
			"without end":    {raw[:len(raw)-3], ErrTruncated},
			"flipped":        {flipped(raw, len(raw)*2/3), ErrDamaged},
			"wrong checksum": {flipped(raw, len(raw)-map[string]int{"gzip": 6, "zstd": 2}[kind]), ErrDamaged},
			"zeros inside":   {append(append(bytes.Clone(raw[:len(raw)/2]), make([]byte, 4096)...), raw[len(raw)/2+4096:]...), ErrDamaged},
		} {
			r := reader(t, c.raw, Limits{})
			got, err := io.ReadAll(r)
			var damage *Error
			if !errors.As(err, &damage) || !errors.Is(err, c.want) || damage.Offset != int64(len(got)) || damage.Path != "a.log.1.gz" {
				t.Errorf("%s, %s: %v after %d bytes; want %v", kind, name, err, len(got), c.want)
			}
			same := 0
			for same < len(got) && got[same] == text[same] {
				same++
			}
			if least := len(text) / 4; same < least {
				t.Errorf("%s, %s: %d right bytes were given out; want at least %d", kind, name, same, least)
			}
			if n, again := r.Read(make([]byte, 10)); n != 0 || !errors.Is(again, c.want) {
				t.Errorf("%s, %s: after the error %d bytes, %v", kind, name, n, again)
			}
		}
	}
}

func flipped(raw []byte, at int) []byte {
	raw = bytes.Clone(raw)
	raw[at] ^= 0xff
	return raw
}

func TestWhatIsNoArchive(t *testing.T) {
	for text, want := range map[string]error{"": ErrTruncated, "\x1f": ErrTruncated, "\x1f\x8b\x08": ErrTruncated, "\x1f\x8b\x08\x00\x00\x00": ErrTruncated,
		"plain text\n": ErrFormat, "\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff": ErrDamaged} {
		if _, err := New(strings.NewReader(text), "x.gz", Limits{}); !errors.Is(err, want) {
			t.Errorf("%q: %v; want %v", text, err, want)
		}
	}
	_, err := New(iotest.ErrReader(syscall.EIO), "x.gz", Limits{})
	if !errors.Is(err, syscall.EIO) || errors.Is(err, ErrDamaged) {
		t.Errorf("%v; want the disk's error", err)
	}
	for kind, compress := range kinds {
		raw := compress(t, lines(1<<20))
		r, err := New(io.MultiReader(bytes.NewReader(raw[:len(raw)/2]), iotest.ErrReader(syscall.EIO)), "x", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadAll(r); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v; want the disk's error", kind, err)
		}
	}
}

func TestBombsAreStopped(t *testing.T) {
	for kind, compress := range kinds {
		r := reader(t, compress(t, lines(5000)), Limits{Bytes: 4999})
		got, err := io.ReadAll(r)
		if len(got) != 4999 || !errors.Is(err, ErrBomb) || !bytes.Equal(got, lines(5000)[:4999]) {
			t.Errorf("%s: %d bytes, %v", kind, len(got), err)
		}
		r = reader(t, compress(t, lines(5000)), Limits{Bytes: 5000})
		if got, err := io.ReadAll(r); len(got) != 5000 || err != nil {
			t.Errorf("%s: what is as large as is allowed: %d bytes, %v", kind, len(got), err)
		}
		zeros := compress(t, make([]byte, freeBytes*2))
		n, err := io.Copy(io.Discard, reader(t, zeros, Limits{Ratio: 100}))
		if !errors.Is(err, ErrBomb) || n < freeBytes || n > freeBytes+1<<20 {
			t.Errorf("%s: %d bytes of zeros came out, %v", kind, n, err)
		}
	}
	if n, err := io.Copy(io.Discard, reader(t, gzipped(t, make([]byte, freeBytes*2)), Limits{})); err != nil || n != freeBytes*2 {
		t.Errorf("zeros in gzip are within the default: %d bytes, %v", n, err)
	}
	if _, err := io.Copy(io.Discard, reader(t, zstandard(t, lines(2<<20)), Limits{Window: 1 << 19})); !errors.Is(err, ErrBomb) {
		t.Errorf("%v; want a refusal of a window of 1 MiB", err)
	}
}

func TestFilesAreOpenedAndClosed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log.1") // the name says nothing
	if err := os.WriteFile(path, zstandard(t, []byte("hello\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "hello\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none.gz"), Limits{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	fifo := filepath.Join(dir, "fifo.gz")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir} {
		if _, err := Open(path, Limits{}); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", path, err)
		}
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, dir) {
			t.Errorf("%s is still open", target)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, compress := range kinds {
		raw := compress(f, lines(3000))
		f.Add(raw, uint16(0))
		f.Add(raw[:len(raw)/2], uint16(1000))
		f.Add(flipped(raw, len(raw)/2), uint16(10))
		f.Add(append(raw, raw...), uint16(4000))
	}
	f.Fuzz(func(t *testing.T, raw []byte, from uint16) {
		limits := Limits{Bytes: 1 << 20, Window: 1 << 20}
		r, err := New(bytes.NewReader(raw), "x", limits)
		if err != nil {
			checkError(t, err)
			return
		}
		defer r.Close()
		whole, err := io.ReadAll(r)
		if err != nil {
			checkError(t, err)
		}
		if int64(len(whole)) > limits.Bytes || r.Offset() != int64(len(whole)) {
			t.Fatalf("%d bytes, offset %d", len(whole), r.Offset())
		}
		again, _ := New(bytes.NewReader(raw), "x", limits)
		defer again.Close()
		sum, n, _ := again.Fingerprint(1024)
		if n != min(1024, len(whole)) || sum != xxhash.Sum64(whole[:n]) {
			t.Fatalf("a fingerprint of %d bytes", n)
		}
		if again.SkipTo(int64(from)) != nil {
			return
		}
		if rest, _ := io.ReadAll(again); !bytes.Equal(rest, whole[from:]) {
			t.Fatalf("from %d: %d bytes of %d", from, len(rest), len(whole))
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{ErrDamaged, ErrTruncated, ErrFormat, ErrBomb} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Fatalf("an error of no known kind: %v", err)
}

func BenchmarkRead(b *testing.B) {
	text := lines(8 << 20)
	for kind, compress := range kinds {
		b.Run(kind, func(b *testing.B) {
			raw := compress(b, text)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := New(bytes.NewReader(raw), "x", Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); n != int64(len(text)) || err != nil {
					b.Fatal(n, err)
				}
				r.Close()
			}
		})
	}
}

// An archive within an archive is refused before anything of it is given out.
func TestAnArchiveWithinAnArchiveIsRefused(t *testing.T) {
	var tarred bytes.Buffer
	w := tar.NewWriter(&tarred)
	err := w.WriteHeader(&tar.Header{Name: "a.log", Size: 5, Mode: 0o600})
	if err == nil {
		_, err = w.Write([]byte("text\n"))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	for kind, compress := range kinds {
		for inner, raw := range map[string][]byte{"tar": tarred.Bytes(), "gzip": gzipped(t, lines(1000)), "zstd": zstandard(t, lines(1000))} {
			if r, err := New(bytes.NewReader(compress(t, raw)), "a.log.1.gz", Limits{}); !errors.Is(err, ErrNested) || r != nil {
				t.Errorf("%s in %s: %v", inner, kind, err)
			}
		}
		for name, text := range map[string]string{"a word": strings.Repeat("ustar ", 100), "nothing": "", "little": "\x1f"} {
			if got, err := io.ReadAll(reader(t, compress(t, []byte(text)), Limits{})); err != nil || string(got) != text {
				t.Errorf("%s in %s: %q, %v", name, kind, got, err)
			}
		}
	}
}
