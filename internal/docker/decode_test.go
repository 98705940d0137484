package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func frame(kind byte, payload string) string {
	head := []byte{kind, 0, 0, 0}
	return string(binary.BigEndian.AppendUint32(head, uint32(len(payload)))) + payload
}

const (
	t1 = "2026-11-21T23:54:09.635773351Z "
	t2 = "2026-11-21T23:54:10.000000001Z "
)

func ns(t *testing.T, stamp string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(stamp))
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixNano()
}

// all decodes to the end and writes each piece as "1 time data" with a $ at a line's end.
func all(r io.Reader, tty bool) (out []string, err error) {
	d := NewDecoder(r, tty)
	for {
		p, err := d.Next()
		if err != nil {
			return out, err
		}
		kind, end := 1, ""
		if p.Stderr {
			kind = 2
		}
		if p.End {
			end = "$"
		}
		out = append(out, fmt.Sprintf("%d %d %s%s", kind, p.Time, p.Data, end))
	}
}

func TestFramesBecomePieces(t *testing.T) {
	long := strings.Repeat("x", PieceSize)
	huge := strings.Repeat("é", 20_000)
	stream := frame(1, t1+"one\n") + frame(2, t2+"two\n") + frame(1, t1+long) + frame(1, t1+"rest\n") +
		frame(1, t2+"last words") + frame(2, t2+"\n") + frame(1, t1+huge)
	a, b := ns(t, t1), ns(t, t2)
	want := []string{
		fmt.Sprint("1 ", a, " one$"), fmt.Sprint("2 ", b, " two$"), fmt.Sprint("1 ", a, " ", long), fmt.Sprint("1 ", a, " rest$"),
		fmt.Sprint("1 ", b, " last words$"), fmt.Sprint("2 ", b, " $"), fmt.Sprint("1 ", a, " ", huge),
	}
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(stream), "byte by byte": iotest.OneByteReader(strings.NewReader(stream)),
	} {
		got, err := all(r, false)
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTerminalLinesLoseTheTimestampsInTheirMiddle(t *testing.T) {
	a, b := ns(t, t1), ns(t, t2)
	x, bad := strings.Repeat("x", PieceSize), strings.Repeat("x", PieceSize-1)+"\uFFFD"
	for name, c := range map[string]struct {
		stream string
		want   map[int64]string // by time, the line
	}{
		"pieces":                {t1 + x + t1 + x + t1 + "end\r\n" + t2 + "next\r\n", map[int64]string{a: x + x + "end\r$", b: "next\r$"}},
		"exactly one piece":     {t1 + x + t1 + "\r\n" + t2 + "n\r\n", map[int64]string{a: x + "\r$", b: "n\r$"}},
		"invalid characters":    {t1 + bad + t1 + "end\n" + t2 + "n\n", map[int64]string{a: bad + "end$", b: "n$"}},
		"a stamp in the text":   {t1 + "at " + t1 + "it was\n" + t2 + "n\n", map[int64]string{a: "at " + t1 + "it was$", b: "n$"}},
		"almost a stamp":        {t1 + x + "y" + t1[:20] + "\n", map[int64]string{a: x + "y" + t1[:20] + "$"}},
		"no newline at an exit": {t1 + "prompt> " + t2 + "next\r\n", map[int64]string{a: "prompt> $", b: "next\r$"}},
		"the local driver":      {t1 + x + t1 + "end\r" + t2 + "next\r\n", map[int64]string{a: x + "end\r$", b: "next\r$"}},
		"its empty last piece":  {t1 + x[1:] + "\r" + t1 + t2 + "next\r\n", map[int64]string{a: x[1:] + "\r$", b: "next\r$"}},
		"a younger time inside": {t1 + x + t1 + "at " + t2 + "it was\r\n" + t2 + "n\n", map[int64]string{a: x + "at " + t2 + "it was\r$", b: "n$"}},
		"a short open end":      {t1 + "0123456789 0123456789 0123456789 12", map[int64]string{a: "0123456789 0123456789 0123456789 12"}},
		"an open end":           {t1 + x + t1 + "prompt> ", map[int64]string{a: x + "prompt> "}},
		"a daemon's own zone":   {"2026-11-22T01:54:09.635773351+02:00 in Berlin\n", map[int64]string{a: "in Berlin$"}},
	} {
		for chunk, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(c.stream)),
		} {
			d, got := NewDecoder(r, true), map[int64]string{}
			for {
				p, err := d.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, chunk, err)
				}
				got[p.Time] += string(p.Data)
				if p.End {
					got[p.Time] += "$"
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s, %s: %.600s", name, chunk, diff)
			}
		}
	}
}

func TestWhatIsNoLogStreamIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		tty    bool
		want   error
	}{
		"in-band error":   {frame(3, "Error grabbing logs: invalid character"), false, ErrInBand},
		"unknown kind":    {frame(4, t1+"x\n"), false, ErrGarbage},
		"text":            {"HTTP/1.1 400 Bad Request", false, ErrGarbage},
		"4 GB frame":      {"\x01\x00\x00\x00\xff\xff\xff\xff", false, ErrGarbage},
		"no timestamp":    {frame(1, "line\n"), false, ErrGarbage},
		"cut header":      {frame(1, t1+"x\n")[:5], false, io.ErrUnexpectedEOF},
		"cut frame":       {frame(1, t1+"x\n")[:20], false, io.ErrUnexpectedEOF},
		"cut large frame": {frame(1, t1+strings.Repeat("x", 100_000))[:50_000], false, io.ErrUnexpectedEOF},
		"cut timestamp":   {t1[:10], true, io.ErrUnexpectedEOF},
		"frames on a tty": {frame(1, t1+"x\n") + frame(1, t1+"x\n"), true, ErrGarbage},
	} {
		if _, err := all(strings.NewReader(c.stream), c.tty); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestReadyNeverPromisesAReadThatWaits(t *testing.T) {
	x := strings.Repeat("x", PieceSize)
	for _, tty := range []bool{false, true} {
		stream := frame(1, t1+"one\n") + frame(2, t2+"two\n") + frame(1, t1+x) + frame(1, t1+"z\n")
		if tty {
			stream = t1 + "one\n" + t2 + "two\n" + t1 + x + t1 + "z\n" + t2 + x + "\uFFFD" + t2 + "z\n"
		}
		for cut := 1; cut < len(stream); cut++ {
			d := NewDecoder(strings.NewReader(stream[:cut]), tty)
			_, _ = d.r.Peek(cut) // fills the buffer with what came so far
			for d.Ready() {
				// A read would find the end of the stream.
				if _, err := d.Next(); err != nil {
					t.Fatalf("tty=%v, after %d bytes: Ready, and then %v", tty, cut, err)
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(frame(1, t1+"one\n")+frame(2, t2+"two")), false)
	f.Add([]byte(t1+"one\r\n"+t2+strings.Repeat("x", PieceSize)+t2+"\r\n"), true)
	f.Add([]byte(frame(3, "Error")), false)
	f.Fuzz(func(t *testing.T, data []byte, tty bool) {
		whole, err1 := all(bytes.NewReader(data), tty)
		bytewise, err2 := all(iotest.OneByteReader(bytes.NewReader(data)), tty)
		if errors.Is(err1, io.EOF) != errors.Is(err2, io.EOF) {
			t.Fatalf("at once: %v, byte by byte: %v", err1, err2)
		}
		// On a terminal pieces depend on how bytes arrive; their text does not.
		if !tty && errors.Is(err1, io.EOF) {
			if diff := cmp.Diff(whole, bytewise); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	line := frame(1, t1+strings.Repeat("x", 120)+"\n")
	data := strings.Repeat(line, 1000)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	var d *Decoder
	for i := range b.N {
		if i%1000 == 0 {
			d = NewDecoder(strings.NewReader(data), false)
		}
		if _, err := d.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
