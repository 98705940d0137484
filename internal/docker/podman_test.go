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
	"github.com/moby/moby/api/types/events"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
)

// libpod is a log of Podman.
type libpod struct{ io.Reader }

func (libpod) Podman() bool { return true }

const (
	s1 = "2026-11-22T02:48:13Z "
	s2 = "2026-11-22T02:48:15Z "
	s3 = "2026-11-22T02:48:15.25Z " // of newer versions
)

func TestPiecesOfPodmanAreOneLineUntilTheNewline(t *testing.T) {
	a, b := ns(t, s1), ns(t, s2)
	x := strings.Repeat("x", 8192)
	stream := frame(1, s1+"one\n") + frame(1, s1+x) + frame(2, s1+"prompt> ") + frame(1, s2+x[:3000]) +
		frame(2, s2+"\n") + frame(1, s2+"end\n") + frame(1, s2+"two\n") + frame(2, s3+"three\n")
	var got []string
	var own []int64
	d := NewDecoder(libpod{strings.NewReader(stream)}, false)
	for {
		p, err := d.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(p.Stderr, p.Time, p.End, len(p.Data)))
		own = append(own, p.Own)
	}
	want := []string{
		fmt.Sprint(false, a, true, 3), fmt.Sprint(false, a, false, 8192), fmt.Sprint(true, a, false, 8), fmt.Sprint(false, a, false, 3000),
		fmt.Sprint(true, a, true, 0), fmt.Sprint(false, a, true, 3), fmt.Sprint(false, b, true, 3), fmt.Sprint(true, b+int64(250*time.Millisecond), true, 5),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int64{a, a, a, b, b, b, b, b + int64(250*time.Millisecond)}, own); diff != "" {
		t.Error("own times:", diff)
	}
}

func TestTerminalLinesOfPodmanLoseTheTimestampsInTheirMiddle(t *testing.T) {
	x := strings.Repeat("x", 2048)
	for name, c := range map[string]struct{ stream, want string }{
		"short lines":         {s1 + "\r\n" + s1 + "b\r\n" + s2 + "c\n", "\r$b\r$c$"},
		"pieces of a second":  {s1 + x + s1 + x + s1 + "end\r\n" + s2 + "next\r\n", x + x + "end\r$next\r$"},
		"pieces of two":       {s1 + x + s2 + x + s2 + "end\r\n", x + x + "end\r$"},
		"what was typed late": {s1 + "prompt> " + s2 + "ls\r\n", "prompt> ls\r$"},
		"a time in the text":  {s1 + s1 + "it was\r\n", s1 + "it was\r$"},
		"an exact time":       {s1 + "2026-11-22T02:48:13.999Z it was\r\n", "2026-11-22T02:48:13.999Z it was\r$"},
		"a newer version":     {s3 + x + s3 + "end\r\n", x + "end\r$"},
		"an open end":         {s1 + "prompt> ", "prompt> "},
		"a zone":              {"2026-11-22T05:48:13+03:00 a\r\n" + "2026-11-22T05:48:13+03:00 b\r\n", "a\r$b\r$"},
	} {
		for chunk, r := range map[string]io.Reader{"at once": strings.NewReader(c.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(c.stream))} {
			d, got := NewDecoder(libpod{r}, true), ""
			for {
				p, err := d.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, chunk, err)
				}
				got += string(p.Data)
				if p.End {
					got += "$"
				}
			}
			if got != c.want {
				t.Errorf("%s, %s: %.200q, want %.200q", name, chunk, got, c.want)
			}
		}
	}
}

func TestReadyNeverPromisesAReadThatWaitsOnPodman(t *testing.T) {
	x := strings.Repeat("x", 3000)
	for _, tty := range []bool{false, true} {
		stream := frame(1, s1+"one\n") + frame(2, s2+"t\n") + frame(1, s1+x) + frame(1, s1+"z\n")
		if tty {
			stream = s1 + "one\n" + s2 + "t\n" + s2 + x + s2 + "z\n" + s2 + "\n"
		}
		for cut := 1; cut < len(stream); cut++ {
			d := NewDecoder(libpod{strings.NewReader(stream[:cut])}, tty)
			_, _ = d.r.Peek(cut) // fills the buffer with what came so far
			for d.Ready() {
				if _, err := d.Next(); err != nil {
					t.Fatalf("tty=%v, after %d bytes: Ready, and then %v", tty, cut, err)
				}
			}
		}
	}
}

func TestTheEngineTellsThatItIsPodman(t *testing.T) {
	engine := dockertest.New(t)
	engine.Server = "Libpod/4.3.1 (linux)"
	engine.Create(dockertest.Container{ID: "c1", Name: "one", LogPath: "/run/c1/ctr.log", Running: true})
	c, err := New(engine.Host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if c.Podman() {
		t.Error("it is known before anybody answered")
	}
	d, err := c.Inspect(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	if !c.Podman() || d.Driver != K8sFile || d.LogPath != "" {
		t.Errorf("Podman is %v, the log is %s in %q", c.Podman(), d.Driver, d.LogPath)
	}
	body, err := c.Logs(t.Context(), "c1", LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if !fromPodman(body) {
		t.Error("the log is not said to be Podman's")
	}
}

func TestAContainerThatPodmanRemovedIsDestroyed(t *testing.T) {
	if e := eventOf(events.Message{Action: "remove"}); e.Action != "destroy" {
		t.Error(e.Action)
	}
}

func FuzzStamp(f *testing.F) {
	for _, s := range []string{t1, s1, s3, "2026-11-22T05:48:13+03:00 ", "2026-11-22T05:48:13.1-03:30 x", "2026-11-22T05:48:60Z "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at, n := parseStamp(b)
		if n == 0 {
			return
		}
		text := strings.TrimSuffix(string(b[:n]), " ")
		want, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return // laxer than the library: day 31 of any month, second 60, any zone
		}
		if want.UnixNano() != at || n != len(text)+1 {
			t.Errorf("%q is %d of %d bytes, want %d", text, at, n, want.UnixNano())
		}
	})
}

func FuzzDecodePodman(f *testing.F) {
	f.Add([]byte(frame(1, s1+"one")+frame(1, s2+"two\n")), false)
	f.Add([]byte(s1+"one\r\n"+s2+strings.Repeat("x", 300)+s2+"\r\n"+s3), true)
	f.Fuzz(func(t *testing.T, data []byte, tty bool) {
		text := func(r io.Reader) (lines string, err error) {
			d := NewDecoder(libpod{r}, tty)
			for {
				p, err := d.Next()
				if err != nil {
					return lines, err
				}
				lines += string(p.Data)
				if p.End {
					lines += string(binary.AppendVarint(nil, p.Time))
				}
			}
		}
		whole, err1 := text(bytes.NewReader(data))
		bytewise, err2 := text(iotest.OneByteReader(bytes.NewReader(data)))
		if whole != bytewise || errors.Is(err1, io.EOF) != errors.Is(err2, io.EOF) {
			t.Fatalf("at once %q, %v; byte by byte %q, %v", whole, err1, bytewise, err2)
		}
	})
}
