package line

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)

func TestEveryFormatIsReadBackAtEverySize(t *testing.T) {
	for _, f := range []Format{Plain, JSON, Nginx, Mixed} {
		for _, size := range []int{0, 80, 199, 200, 333, 1000, 16384, 100_000} {
			for seq := int64(0); seq < 50; seq++ {
				b := Append(nil, f, "web-1", seq, size, noon)
				id, n, err := Parse(b)
				if err != nil || id != "web-1" || n != seq {
					t.Fatalf("%s size %d: Parse(%q) = %q, %d, %v", f, size, b, id, n, err)
				}
				if size >= 400 && len(b) != size {
					t.Fatalf("%s: %d bytes, want %d", f, len(b), size)
				}
				if f == JSON && !json.Valid(b) {
					t.Fatalf("not JSON: %s", b)
				}
				if _, _, err := Parse(append(b, '\r')); err != nil {
					t.Fatalf("a terminal's carriage return: %v", err)
				}
			}
		}
	}
}

func TestNaturalSizes(t *testing.T) {
	for f, want := range map[Format][2]int{Plain: {80, 100}, Nginx: {195, 210}, JSON: {340, 370}} {
		b := Append(nil, f, "web", 12345, 0, noon)
		if len(b) < want[0] || len(b) > want[1] {
			t.Errorf("%s: %d bytes, want within %v: %s", f, len(b), want, b)
		}
	}
}

func TestDamageIsSeen(t *testing.T) {
	b := AppendText(nil, "panic: boom", "web", 7, noon)
	if _, n, err := Parse(b); err != nil || n != 7 {
		t.Fatalf("intact: %d, %v", n, err)
	}
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		if id, seq, err := Parse(bad); err == nil {
			t.Fatalf("byte %d flipped: read as id %q seq %d", i, id, seq)
		}
	}
	for name, bad := range map[string][]byte{
		"cut":    b[:len(b)-1],
		"longer": append(append([]byte(nil), b...), 'x'),
		"joined": append(append([]byte(nil), b...), b...),
	} {
		if _, _, err := Parse(bad); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	if _, _, err := Parse([]byte("hello")); !errors.Is(err, ErrForeign) {
		t.Errorf("a foreign line: %v, want ErrForeign", err)
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	b := Append([]byte("kept\n"), JSON, "a", 1, 500, noon)
	if string(b[:5]) != "kept\n" || len(b) != 505 {
		t.Fatalf("%d bytes: %s", len(b), b)
	}
	if _, _, err := Parse(b[5:]); err != nil {
		t.Fatal(err)
	}
}
