package leak

import (
	"math"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
)

// More streams raise what is expected; what nobody expects is growth.
func TestTheGrowthOfTheWholeIsOverItsLoad(t *testing.T) {
	w := New(DefaultConfig(), Deps{Report: func(health.Status, string) {}})
	w.begin(DefaultConfig())
	start := time.Now()
	for i := range 41 { // ten minutes of one look every 15 s
		n := float64(i)
		w.Observe(t.Context(), Sample{
			Time: start.Add(time.Duration(i) * 15 * time.Second), Descriptors: 20 + i,
			Series: []Series{
				{Owner: "stream", What: Goroutines, Value: 10 + 3*n, Expected: 10 + 2*n},
				{What: Descriptors + "json_file", Value: n, Expected: n},
				{What: Heap, Value: 1e6 + 1000*n},
			},
		})
	}
	for what, want := range map[string]float64{"goroutines": 4, "descriptors": 0, "heap_bytes": 4000} {
		if got := w.Growth()[what]; math.Abs(got-want) > 0.01 {
			t.Errorf("%s grow by %v a minute, want %v", what, got, want)
		}
	}
}
