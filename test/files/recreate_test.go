package files

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// A log that is removed and made again, mostly with the number of the one before, and with
// little in it, is read from its start each time, while the agent runs and while it does not.
func TestALogIsMadeAgainWithTheNumberOfTheOneBefore(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"", "/dev/shm"} {
		h := newHost(t, harness.StartAgent)
		if where != "" {
			dir, err := os.MkdirTemp(where, "lc-files-")
			h.must(err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			h.must(os.Symlink(dir+"/app.log", h.path("app.log")))
			h.dir = dir
		}
		reused, last := 0, uint64(0)
		for n := range 4 {
			down := n%2 == 1
			if down {
				h.agent.Stop(t)
			}
			h.must(removed(h.path("app.log")))
			h.write("app.log", 1)
			var st syscall.Stat_t
			h.must(syscall.Stat(h.path("app.log"), &st))
			if st.Ino == last {
				reused++
			}
			last = st.Ino
			if down {
				h.agent.Start(t)
			}
			if repeated := h.arrived(); repeated > 0 {
				t.Fatalf("%s: %d lines repeated", where, repeated)
			}
			if lost := h.agent.Metrics(t).Sum("lines_upstream_lost_total"); !down && lost > 1 {
				t.Errorf("%s: %v losses were told", where, lost)
			}
		}
		t.Logf("%s: the number was used again %d times", where, reused)
	}
}

func removed(path string) error {
	if err := os.Remove(path); !os.IsNotExist(err) {
		return err
	}
	return nil
}

// 42 bytes are enough to be read at once, and to tell two files apart that are alike.
func TestSmallLogsThatAreAlikeAreBothReadAtOnce(t *testing.T) {
	h := newHost(t, harness.StartAgent)
	text := []byte("42 bytes, which is less than any header. \n")
	if len(text) != 42 {
		t.Fatalf("%d bytes", len(text))
	}
	for _, name := range []string{"a.log", "b.log"} {
		h.must(os.WriteFile(h.path(name), text, 0o600))
	}
	harness.Eventually(t, 5*time.Second, "two lines", func() (bool, string) {
		return h.tally.Check(harness.NewLedger()).Foreign.N == 2, ""
	})
}
