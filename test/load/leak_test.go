package load

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
			var series []int
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
				series = append(series, len(fds))
				if forgotten {
					t.Cleanup(func() { f.Close() })
				} else if !closed {
					f.Close() // open for a moment only
				}
			}
			if rose := growth(series); (rose > 0) != (forgets > 0) {
				t.Errorf("growth %d of %v", rose, series)
			}
		})
	}
}

func TestTheSlopeIsThatOfTheSeries(t *testing.T) {
	var at []time.Time
	var flat, leak []int
	for i := range 30 {
		at = append(at, time.Unix(int64(10*i), 0))
		flat = append(flat, 100)
		leak = append(leak, 100+32*i/6) // the predecessor's 32 a minute
	}
	if s := slope(at, flat); s != 0 {
		t.Errorf("slope %v of what does not change", s)
	}
	if s := slope(at, leak); s < 31 || s > 33 {
		t.Errorf("slope %v of 32 a minute", s)
	}
}
