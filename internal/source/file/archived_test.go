package file

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// compress does to a file what gzip does: another file, with the same time.
func (h *host) compress(name, to string) {
	h.t.Helper()
	data, err := os.ReadFile(h.path(name))
	h.must(err)
	info, err := os.Stat(h.path(name))
	h.must(err)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(data)
	h.must(err)
	h.must(z.Close())
	h.must(os.WriteFile(h.path(to), out.Bytes(), 0o600))
	h.must(os.Chtimes(h.path(to), info.ModTime(), info.ModTime()))
	h.must(os.Remove(h.path(name)))
}

// rotate is a rotation as logrotate does it, while the agent is down: with compress, all
// but the newest delayed ones are compressed.
func (h *host) rotate(keep int, dateext, delayed bool) {
	h.t.Helper()
	if dateext {
		h.dates++
		to := fmt.Sprintf("a.log-202601%02d", h.dates)
		h.rename("a.log", to)
		if delayed && h.last != "" {
			h.compress(h.last, h.last+".gz")
		} else if !delayed {
			h.compress(to, to+".gz")
		}
		h.last = to
		return
	}
	for n := keep; n > 0; n-- {
		for _, ext := range []string{"", ".gz"} {
			if _, err := os.Stat(h.path(fmt.Sprint("a.log.", n, ext))); err == nil {
				h.rename(fmt.Sprint("a.log.", n, ext), fmt.Sprint("a.log.", n+1, ext))
			}
		}
	}
	h.rename("a.log", "a.log.1")
	oldest := "a.log.1"
	if delayed {
		oldest = "a.log.2"
	}
	if _, err := os.Stat(h.path(oldest)); err == nil {
		h.compress(oldest, oldest+".gz")
	}
}

func TestWhatWasCompressedWhileTheAgentWasDownIsRead(t *testing.T) {
	for _, dateext := range []bool{false, true} {
		for _, delayed := range []bool{false, true} {
			for rotations := range 4 {
				t.Run(fmt.Sprintf("dateext %v, delaycompress %v, %d rotations", dateext, delayed, rotations), func(t *testing.T) {
					h := newHost(t)
					h.opener.Archives = &tail.Archives{Dir: t.TempDir()}
					h.write("a.log", "0\n1\n2\n")
					r := h.open("a.log", position.Cursor{})
					h.expect(r, "0", "1", "2")
					h.write("a.log", "3\n4\n")
					h.write("a-error.log.1", "of another log\n")
					h.compress("a-error.log.1", "a-error.log.1.gz")
					c := r.Cursor()
					r.Close()
					want, line := []string{"3", "4"}, 5
					for n := range rotations {
						h.rotate(rotations, dateext, delayed)
						h.write("a.log", fmt.Sprintf("%d\n%d\n", line, line+1))
						at := time.Now().Add(time.Duration(n+1) * time.Minute) // clocks of file systems are coarse
						h.must(os.Chtimes(h.path("a.log"), at, at))
						want, line = append(want, fmt.Sprint(line), fmt.Sprint(line+1)), line+2
					}
					h.opener = &Opener{Pool: h.opener.Pool, MaxLine: h.opener.MaxLine, Stats: h.opener.Stats, Archives: h.opener.Archives}
					h.opener.Restore(map[string]position.Cursor{"file:" + h.path("a.log"): c})
					r = h.open("a.log", c)
					h.expect(r, want...)
					if lost := r.TakeLosses(); len(lost) > 0 {
						t.Errorf("losses %v", lost)
					}
					if left, err := os.ReadDir(h.opener.Archives.Dir); err != nil || len(left) > 0 {
						t.Errorf("%d files are left, error %v", len(left), err)
					}
				})
			}
		}
	}
}

func TestADamagedArchiveGivesWhatItHas(t *testing.T) {
	h := newHost(t)
	h.opener.Archives = &tail.Archives{Dir: t.TempDir()}
	long := strings.Repeat("a line that is there\n", 20_000)
	h.write("a.log", long)
	r := h.open("a.log", position.Cursor{})
	b, err := r.Next(t.Context())
	h.must(err)
	n := len(b.Entries)
	c := r.Cursor()
	r.Close()
	h.rename("a.log", "a.log.1")
	h.compress("a.log.1", "a.log.1.gz")
	data, err := os.ReadFile(h.path("a.log.1.gz"))
	h.must(err)
	h.must(os.WriteFile(h.path("a.log.1.gz"), data[:len(data)-20], 0o600))
	h.write("a.log", "new\n")
	_ = n
	r = h.open("a.log", c)
	for {
		b, err := r.Next(t.Context())
		if err != nil {
			break
		}
		for i := range b.Entries {
			if text := string(b.Line(i)); text != "new" && !strings.HasPrefix("a line that is there", text) {
				t.Fatalf("%q", text)
			}
		}
	}
	if lost := r.TakeLosses(); len(lost) != 1 {
		t.Errorf("losses %v, want one", lost)
	}
}
