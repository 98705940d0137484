package dockerapi

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
)

// stderr's last line is older than the window that a stream was opened on; then the clock
// is set back by 3 s.
func TestAStepBackOfTheClockHidesNothingOfARareOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := int64(time.Second)
		log := []stored{{1, noon, "e0\n"}}
		for i := range 20 {
			log = append(log, stored{0, noon + int64(i+1)*1001, fmt.Sprintf("o%d\n", i)})
		}
		n := len(log)
		log = append(log, stored{0, noon + 1*s + 2, "o new\n"}, stored{0, noon - 2*s + 4, "o back\n"}, stored{1, noon - 2*s + 7, "e back\n"}, stored{1, noon - 1*s + 9, "e back 2\n"})
		e := &answers{bodies: []io.Reader{frames(log[:n]...)}, errs: []error{nil, docker.ErrNotFound}}
		before, _ := testOpener(e).Open(t.Context(), testTarget(), position.Cursor{})
		texts(t, before)
		// The agent was started again; its stream began with the last 5 of the n+1 lines there
		// were, and went on.
		e = &answers{bodies: []io.Reader{frames(log[n-4:]...)}, errs: []error{nil, docker.ErrNotFound}}
		o := testOpener(e)
		o.window = 5
		r, _ := o.Open(t.Context(), testTarget(), before.Cursor())
		defer r.Close()
		seen := map[string]bool{}
		for _, g := range texts(t, r) {
			seen[g] = true
		}
		for _, want := range []string{"e back", "e back 2", "o back"} {
			if !seen[want] {
				t.Errorf("%q is missing", want)
			}
		}
	})
}
