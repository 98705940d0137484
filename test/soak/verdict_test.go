package soak

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// fine is the result of a soak in which all went well: two hours, goroutines that come and
// go around what is expected.
func fine() *result {
	random := rand.New(rand.NewPCG(1, 1))
	r := &result{
		o:    optionsFor(2 * time.Hour),
		calm: &harness.Report{Expected: 1000, Lines: 1000}, stormy: &harness.Report{Expected: 1000, Lines: 1000},
		expected: 1000, loki: 1000, failed: 10, lokiFailed: 5,
		did: counts{outages: 48, reloads: 96, engineRestarts: 8, removed: 900, created: 954},
	}
	r.base = sample{goroutines: 40, expected: 40, descriptors: 20, explained: 8, dockerd: 30}
	r.final = r.base
	began := time.Unix(1e9, 0)
	for i := range 480 {
		noise := random.IntN(7)
		r.seen.samples = append(r.seen.samples, sample{
			at: began.Add(time.Duration(i) * 15 * time.Second), goroutines: 190 + noise, expected: 190,
			descriptors: 70 + noise/3, explained: 58, dockerd: 400, heap: 8 << 20, rss: 40 << 20, streams: 50,
		})
	}
	r.marks = []mark{{began.Add(time.Minute), began.Add(2 * time.Minute), "outage", "Loki is stopped"}}
	return r
}

func TestWhatMustNotBeFailsTheSoak(t *testing.T) {
	finding := harness.Finding{N: 1}
	for name, c := range map[string]struct {
		plant func(r *result)
		want  string // in the one thing that is wrong; empty: nothing is
	}{
		"all is well":                          {func(*result) {}, ""},
		"repeats in attempts that failed":      {func(r *result) { r.stormy.Repeated.N = 10 }, ""},
		"lines that came late":                 {func(r *result) { r.late, r.calm.OutOfOrder, r.stormy.OutOfOrder = 1, finding, finding }, ""},
		"more lines out of order than that":    {func(r *result) { r.calm.OutOfOrder = finding }, "nothing happened to"},
		"more repeats than that":               {func(r *result) { r.stormy.Repeated.N = 11 }, "broken network"},
		"a line is lost":                       {func(r *result) { r.calm.Lost = finding }, "nothing happened to"},
		"a line is repeated":                   {func(r *result) { r.calm.Repeated = finding }, "nothing happened to"},
		"a line is lost behind the network":    {func(r *result) { r.stormy.Lost = finding }, "broken network"},
		"a line is not in Loki":                {func(r *result) { r.loki-- }, "Loki has 999"},
		"Loki has too many":                    {func(r *result) { r.loki += 6 }, "Loki has 1006"},
		"a line is dropped":                    {func(r *result) { r.final.dropped = 1 }, "dropped 1 lines"},
		"a loss is counted":                    {func(r *result) { r.final.upstreamLost = 1 }, "counts 1 lines as lost"},
		"the leak watch alarms":                {func(r *result) { r.final.alarms = 1 }, "leak watch"},
		"something is not closed":              {func(r *result) { r.final.unclosed = 1 }, "without being closed"},
		"a goroutine stays behind":             {func(r *result) { r.final.goroutines++ }, "containers gone"},
		"a descriptor stays behind":            {func(r *result) { r.final.descriptors++ }, "containers gone"},
		"descriptors of dockerd stay behind":   {func(r *result) { r.final.dockerd += 3 }, "containers gone"},
		"a component stays ill":                {func(r *result) { r.seen.health = map[string]string{"sink.loki": "degraded"} }, "at the end sink.loki"},
		"a part of it fails":                   {func(r *result) { r.broken = io.ErrUnexpectedEOF }, "get through"},
		"samples are missing":                  {func(r *result) { r.seen.missed = 30 }, "could not be"},
		"nothing happened":                     {func(r *result) { r.did = counts{} }, "too little happened"},
		"fifty more streams, and all expected": {func(r *result) { r.grow(func(s *sample, i int) { s.goroutines += i; s.expected += i }) }, ""},
		"a goroutine leaks each quarter hour":  {func(r *result) { r.grow(func(s *sample, i int) { s.goroutines += i / 60 }) }, "goroutines − expected"},
		"a descriptor leaks each quarter hour": {func(r *result) { r.grow(func(s *sample, i int) { s.descriptors += i / 60 }) }, "descriptors − explained"},
		"a short run, eight goroutines leak": {func(r *result) {
			r.o.during = 3 * time.Minute
			r.grow(func(s *sample, i int) { s.goroutines += i / 60 })
		}, "floor rose"},
	} {
		t.Run(name, func(t *testing.T) {
			r := fine()
			c.plant(r)
			wrong := r.wrong()
			if c.want == "" && len(wrong) > 0 || c.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], c.want)) {
				t.Errorf("%q, want one with %q", wrong, c.want)
			}
		})
	}
}

func (r *result) grow(change func(s *sample, i int)) {
	for i := range r.seen.samples {
		change(&r.seen.samples[i], i)
	}
}

// Of a hundred series without a trend about five have a slope outside their interval.
func TestTheIntervalHoldsTheSlope(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	outside := 0
	for range 1000 {
		var series []point
		wander := 0.0
		for i := range 480 {
			wander = 0.5*wander + random.NormFloat64() // each is like the one before
			series = append(series, point{time.Unix(int64(15*i), 0), 0.1*float64(i)/4 + wander})
		}
		if f := trendOf(series); f.slope-f.half > 0.1 || f.slope+f.half < 0.1 {
			outside++
		}
	}
	if outside < 20 || outside > 100 {
		t.Errorf("%d of 1000 intervals do not hold the slope, about 50 are right", outside)
	}
	if f := trendOf(nil); f.beyond(0) {
		t.Errorf("no samples have the trend %s", f)
	}
}

func TestTheReportReplacesTheOneBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "soak.md")
	if err := os.WriteFile(path, []byte("# Soak\n\n"+reportBegin+"old figures\n"+reportEnd+"end\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := fine().publish(path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, times := range map[string]int{"# Soak\n": 1, "old figures": 0, "All that must hold did.": 1, "(soak.svg)": 1, reportEnd + "end\n": 1} {
		if n := strings.Count(string(text), what); n != times {
			t.Errorf("%q is there %d times, want %d:\n%s", what, n, times, text)
		}
	}
	svg, err := os.ReadFile(strings.TrimSuffix(path, ".md") + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	for tokens := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		if _, err := tokens.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(fmt.Errorf("the plot is no XML: %w", err))
		}
	}
}
