package soak

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// The planted bug: a process, this one, that opens for each of its turns and now and
// then forgets to close.
func TestADescriptorThatStaysBehindIsGrowthAndOneThatIsClosedIsNot(t *testing.T) {
	for name, forgets := range map[string]int{"closes all": 0, "forgets one in ten": 10, "forgets one of all": 1000} {
		t.Run(name, func(t *testing.T) {
			var series []point
			path := filepath.Join(t.TempDir(), "open")
			for turn := range 60 {
				f, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				forgotten := forgets == 10 && turn%10 == 0 || forgets == 1000 && turn == 30
				closed := !forgotten && turn%7 != 0
				if closed {
					f.Close()
				}
				fds, err := harness.FDs(os.Getpid())
				if err != nil {
					t.Fatal(err)
				}
				series = append(series, point{time.Unix(int64(turn), 0), float64(len(fds))})
				if forgotten {
					t.Cleanup(func() { f.Close() })
				} else if !closed {
					f.Close() // open for a moment only
				}
			}
			if rose := growth(series); (rose > 0) != (forgets > 0) {
				t.Errorf("growth %v of %v", rose, series)
			}
		})
	}
}
