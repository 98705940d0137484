package file

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// head is how many logs begin: longer than what tells files apart.
var head = strings.Repeat("=", 2000)

// newCopied is a host whose log begins with head and has been read.
func newCopied(t *testing.T) (*host, *Reader) {
	h := newHost(t)
	h.opener.Archives = &tail.Archives{Dir: t.TempDir()}
	h.write("a.log", head+"\n1\n2\n")
	r := h.open("a.log", position.Cursor{})
	h.expect(r, head, "1", "2")
	return h, r
}

// copyOff copies the log, as logrotate does.
func (h *host) copyOff(to string) {
	h.t.Helper()
	data, err := os.ReadFile(h.path("a.log"))
	h.must(err)
	h.must(os.WriteFile(h.path(to), data, 0o600))
}

func (h *host) cut() { h.t.Helper(); h.must(os.Truncate(h.path("a.log"), 0)) }

// again starts the agent at c.
func (h *host) again(c position.Cursor) *Reader {
	h.t.Helper()
	h.opener = &Opener{Pool: h.opener.Pool, MaxLine: h.opener.MaxLine, Stats: h.opener.Stats, Archives: h.opener.Archives}
	h.opener.Restore(map[string]position.Cursor{"file:" + h.path("a.log"): c})
	return h.open("a.log", c)
}

// cuts fails the test unless so many cuts, and no other loss, were told.
func (h *host) cuts(r *Reader, want int64) {
	h.t.Helper()
	var cuts int64
	all := r.TakeLosses()
	for _, l := range all {
		if cuts += l.Lines; l.Reason != source.LostCut {
			cuts = -1 << 30
		}
	}
	if cuts != want {
		h.t.Errorf("losses %v, want %d cuts", all, want)
	}
}

// What is behind the place that was read to when a log is cut is in its copy; what comes
// after begins alike, and may be longer than that place by the next look.
func TestWhatWasNotReadBeforeACutIsReadFromTheCopy(t *testing.T) {
	for name, more := range map[string]int{"shorter": 0, "of the same size": -1, "longer": 3000} {
		for _, to := range []string{"a.log.1", "a.log-20260101", "a.log.1.gz"} {
			for _, down := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, while down %v", name, to, down), func(t *testing.T) {
					h, r := newCopied(t)
					h.write("a.log", "3\n4\n")
					h.copyOff(strings.TrimSuffix(to, ".gz"))
					if strings.HasSuffix(to, ".gz") {
						h.compress("a.log.1", to)
					}
					h.cut()
					c := r.Cursor()
					want := []string{"3", "4"}
					switch more {
					case 0:
						h.write("a.log", "5\n")
						want = append(want, "5")
					case -1:
						h.write("a.log", head+"\n5\n6\n7\n8\n")
						want = append(want, head, "5", "6", "7", "8")
					default:
						long := strings.Repeat("x", more)
						h.write("a.log", head+"\n5\n"+long+"\n")
						want = append(want, head, "5", long)
					}
					if down {
						r.Close()
						r = h.again(c)
					}
					h.expect(r, want...)
					h.cuts(r, 1)
					h.write("a.log", "end\n")
					h.expect(r, "end")
					r = h.again(r.Cursor())
					h.expect(r)
					h.cuts(r, 0)
				})
			}
		}
	}
}

func TestACutIsNoticedWhenTheSizeIsTheSame(t *testing.T) {
	h, r := newCopied(t)
	h.copyOff("a.log.1")
	h.cut()
	h.write("a.log", head+"\n3\n4\n")
	at := time.Now().Add(time.Second) // clocks of file systems are coarse
	h.must(os.Chtimes(h.path("a.log"), at, at))
	h.expect(r, head, "3", "4")
	h.cuts(r, 1)
	h.must(os.Chtimes(h.path("a.log"), at.Add(time.Second), at.Add(time.Second)))
	h.expect(r) // it was touched
	h.cuts(r, 0)
}

// What was read beyond the copy's end is not read again; what was begun there is all that
// can be had.
func TestWhatWasReadBeyondTheCopyIsNotReadAgain(t *testing.T) {
	for _, down := range []bool{false, true} {
		h, r := newCopied(t)
		h.copyOff("a.log.1")
		h.write("a.log", "3\n4\n")
		h.must(os.Chtimes(h.path("a.log.1"), time.Time{}, time.Now().Add(-time.Millisecond)))
		h.expect(r, "3", "4")
		h.cut()
		h.write("a.log", head+"\n5\n")
		if c := r.Cursor(); down {
			r.Close()
			r = h.again(c)
		}
		h.expect(r, head, "5")
		h.cuts(r, 1)
	}
	h, r := newCopied(t)
	h.write("a.log", "beg")
	h.copyOff("a.log.1")
	h.must(os.Chtimes(h.path("a.log.1"), time.Time{}, time.Now().Add(-time.Millisecond)))
	h.write("a.log", "un\n and still goi")
	h.expect(r, "begun")
	h.write("a.log", "ng on\n")
	h.cut()
	h.write("a.log", "5\n")
	h.expect(r, "5")
	h.cuts(r, 1)
}

func TestEachCopyOfMoreThanOneCutIsRead(t *testing.T) {
	for n := range 8 {
		down, compressed, alike := n&1 != 0, n&2 != 0, n&4 != 0
		h, r := newCopied(t)
		c := r.Cursor()
		if down {
			r.Close()
		}
		want := []string{"3"}
		h.write("a.log", "3\n")
		for n := range 3 {
			to := fmt.Sprintf("a.log-2026010%d", n+1)
			h.copyOff(to)
			at := time.Now().Add(time.Duration(n+1) * time.Minute) // clocks of file systems are coarse
			h.must(os.Chtimes(h.path(to), at, at))
			if compressed {
				h.compress(to, to+".gz")
			}
			h.cut()
			if alike {
				h.write("a.log", head+"\n")
				want = append(want, head)
			}
			line := fmt.Sprint("after cut ", n)
			h.write("a.log", line+"\n")
			want = append(want, line)
		}
		if down {
			r = h.again(c)
		}
		h.expect(r, want...)
		h.cuts(r, 3)
	}
}

// A copy that is read takes its time, and the next rotation does not wait for it.
func TestALogIsCutAgainWhileItsCopyIsRead(t *testing.T) {
	h, r := newCopied(t)
	long := strings.Repeat(strings.Repeat("x", 99)+"\n", 10*tail.ChunkSize/100)
	h.write("a.log", long)
	h.copyOff("a.log.1")
	h.cut()
	h.write("a.log", head+"\n3\n")
	b, err := r.Next(t.Context()) // of the copy
	h.must(err)
	lines := len(b.Entries)
	b.Done(record.Delivered)
	h.rename("a.log.1", "a.log.2")
	h.copyOff("a.log.1")
	at := time.Now().Add(time.Minute)
	h.must(os.Chtimes(h.path("a.log.1"), at, at))
	h.cut()
	h.write("a.log", head+"\n4\n")
	rest := strings.Split(strings.TrimSuffix(long, "\n"), "\n")[lines:]
	h.expect(r, append(rest, head, "3", head, "4")...)
	h.cuts(r, 2)
}

// One that is being made when the log is looked at has nothing that the log has not.
func TestACopyInTheMakingIsNotRead(t *testing.T) {
	h, r := newCopied(t)
	c := r.Cursor()
	r.Close()
	h.copyOff("a.log.2")
	h.cut()
	h.write("a.log", head+"\n3\n4\n")
	h.must(os.WriteFile(h.path("a.log.1"), []byte(head+"\n3"), 0o600))
	at := time.Now().Add(time.Minute)
	h.must(os.Chtimes(h.path("a.log.1"), at, at))
	r = h.again(c)
	h.expect(r, head, "3", "4")
	h.cuts(r, 1)
}

// A log that was empty when it was last seen may be written, copied and cut unseen.
func TestWhatCameAndWentSinceAnEmptyLogWasSeenIsRead(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		for _, down := range []bool{false, true} {
			h, r := newCopied(t)
			if fresh {
				r.Close()
				h.must(os.Remove(h.path("a.log")))
				h.write("a.log", "")
				r = h.again(position.Cursor{})
			} else {
				h.copyOff("a.log.1")
				h.cut()
				h.expect(r)
				h.cuts(r, 1)
				h.rename("a.log.1", "a.log.2")
			}
			h.expect(r)
			c := r.Cursor()
			if down {
				r.Close()
			}
			h.write("a.log", head+"\n3\n")
			h.copyOff("a.log.1")
			h.write("a.log.err", "another log\n")
			at := time.Now().Add(time.Minute)
			h.must(os.Chtimes(h.path("a.log.1"), at, at))
			h.cut()
			h.write("a.log", "4\n")
			if down {
				r = h.again(c)
			}
			h.expect(r, head, "3", "4")
			h.cuts(r, 1)
		}
	}
}

// A program that does not append goes on at its old offset: the file begins with a gap.
func TestAProgramThatDoesNotAppendLeavesAGap(t *testing.T) {
	h, r := newCopied(t)
	f, err := os.OpenFile(h.path("a.log"), os.O_WRONLY, 0)
	h.must(err)
	defer f.Close()
	info, err := f.Stat()
	h.must(err)
	h.copyOff("a.log.1")
	h.cut()
	_, err = f.WriteAt([]byte("3\n4\n"), info.Size())
	h.must(err)
	h.expect(r, "3", "4")
	h.cuts(r, 1)
}

// NULs that are written over, or that a power cut left, are no cut.
func TestGapsAreNoCuts(t *testing.T) {
	h, r := newCopied(t)
	info, err := os.Stat(h.path("a.log"))
	h.must(err)
	h.must(os.Truncate(h.path("a.log"), 4096)) // as programs do that reserve space
	h.expect(r)
	f, err := os.OpenFile(h.path("a.log"), os.O_WRONLY, 0)
	h.must(err)
	defer f.Close()
	_, err = f.WriteAt([]byte("3\n"), info.Size())
	h.must(err)
	h.expect(r, "3")
	c := r.Cursor()
	r.Close()
	_, err = f.WriteAt(make([]byte, 40), info.Size()-30)
	h.must(err)
	_, err = f.WriteAt([]byte("4\n"), info.Size()+10)
	h.must(err)
	r = h.again(c)
	h.expect(r, "4")
	h.cuts(r, 0)
}

// Positions of the version before have no mark.
func TestPositionsWithoutAMarkAreGoneOnFrom(t *testing.T) {
	h, r := newCopied(t)
	h.write("a.log", "3\n")
	c := r.Cursor()
	c.File.Mark = position.Mark{}
	r = h.again(c)
	h.expect(r, "3")
	h.cuts(r, 0)
	c = r.Cursor()
	c.File.Mark = position.Mark{}
	h.write("a.log", "4\n")
	h.copyOff("a.log.1")
	h.cut()
	h.write("a.log", "5\n")
	r = h.again(c)
	h.expect(r, "4", "5")
	h.cuts(r, 1)
}

// Copies are renamed and compressed while they are looked for.
func TestACopyIsFoundWhileItIsCompressed(t *testing.T) {
	h, r := newCopied(t)
	for n := range 100 {
		for _, ext := range []string{"", ".gz"} {
			if err := os.Rename(h.path("a.log.1"+ext), h.path("a.log.2"+ext)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		before, after := fmt.Sprint("before ", n), fmt.Sprint("after ", n)
		h.write("a.log", before+"\n")
		h.copyOff("a.log.1")
		at := time.Now().Add(time.Duration(n) * time.Second) // clocks of file systems are coarse
		h.must(os.Chtimes(h.path("a.log.1"), at, at))
		h.cut()
		var compressed sync.WaitGroup
		compressed.Go(func() { h.compress("a.log.1", "a.log.1.gz") })
		h.expect(r, before)
		compressed.Wait()
		h.write("a.log", after+"\n")
		h.expect(r, after)
		h.cuts(r, 1)
	}
}
