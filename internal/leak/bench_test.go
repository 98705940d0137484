package leak

import (
	"fmt"
	"testing"
	"time"
)

// sixty series as of an agent with 50 containers; leaking: all of them grow.
func sixty(at time.Duration, each float64) []Series {
	all := make([]Series, 0, 60)
	for i := range 60 {
		all = append(all, Series{Component: "container_monitor", Owner: fmt.Sprintf("agent/%d", i), What: HeldPrefix + "file",
			Value: 10 + float64((i*7+int(at/time.Second))%3) + each*at.Seconds(), Expected: 10})
	}
	return all
}

// BenchmarkObserve is one look at 60 series: with a little noise, and with a trend in all
// of them that is nearly steep enough, so that the longest span is fitted in each.
func BenchmarkObserve(b *testing.B) {
	for name, rate := range map[string]float64{"level": 0, "growing": 0.45 / 60} {
		b.Run(name, func(b *testing.B) {
			w := newWorld()
			samples := make([]Sample, 250)
			for i := range samples {
				samples[i] = Sample{Series: sixty(time.Duration(i)*w.step, rate)}
			}
			for i := range samples {
				w.look(b, samples[i])
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w.look(b, samples[i%len(samples)])
			}
		})
	}
}
