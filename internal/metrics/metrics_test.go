package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestNamesOfSourcesAreBounded(t *testing.T) {
	m := New()
	for i := range MaxSources + 50 {
		m.Read(fmt.Sprintf("container-%d", i), 2, 10)
	}
	if n := testutil.CollectAndCount(m.linesRead); n != MaxSources+1 {
		t.Errorf("%d series, want %d and one for the others", n, MaxSources)
	}
	if got := testutil.ToFloat64(m.linesRead.WithLabelValues(Other)); got != 100 {
		t.Errorf("%v lines of others, want 100", got)
	}
}

func TestFuncIsAskedAtEachScrape(t *testing.T) {
	m := New()
	value := 1.0
	m.Func(prometheus.GaugeValue, "x", "help", []string{"kind"}, func() []Sample { return []Sample{{[]string{"a"}, value}} })
	for _, value = range []float64{1, 2} {
		want := fmt.Sprintf("# HELP log_capturer_x help\n# TYPE log_capturer_x gauge\nlog_capturer_x{kind=\"a\"} %v\n", value)
		if err := testutil.GatherAndCompare(m.Registry, strings.NewReader(want), "log_capturer_x"); err != nil {
			t.Error(err)
		}
	}
}
