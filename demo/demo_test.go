package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lines(id string, from, to int64) []byte {
	var b []byte
	for seq := from; seq <= to; seq++ {
		b = append(line.Append(b, line.JSON, id, seq, 0, time.Unix(seq, 0)), '\n')
	}
	return b
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
}

func TestCapturedLinesAreCountedAsTheyGrow(t *testing.T) {
	dir := t.TempDir()
	c := newCaptured(dir)
	all := lines("shop", 1, 4)
	cut := len(all) - 10 // within the fourth line
	write(t, filepath.Join(dir, "shop.log"), all[:cut])
	if got, err := c.count(); err != nil || got["shop"] != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	write(t, filepath.Join(dir, "shop.log"), all[cut:])
	if got, err := c.count(); err != nil || got["shop"] != 4 {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestTheCountReadsCompressedFilesAndFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(lines("shop", 1, 50)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "shop.1.log.gz"), packed.Bytes())
	write(t, filepath.Join(dir, "shop.log"), lines("shop", 51, 100))

	s := &stage{dir: dir}
	var out bytes.Buffer
	for _, c := range []struct {
		name string
		to   int64
		ok   bool
		says string
	}{
		{"all there", 100, true, "OK: captured files: 100 lines written, each delivered exactly once"},
		{"one lost", 101, false, "FAILED: captured files: 101 expected, 100 arrived: 1 lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out.Reset()
			ledger := harness.NewLedger()
			ledger.Expect("shop", 1, c.to)
			ok, err := s.countFiles(&out, ledger)
			if err != nil || ok != c.ok || !strings.Contains(out.String(), c.says) {
				t.Errorf("%v, %v: %s", ok, err, out.String())
			}
		})
	}
}

func TestOptions(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "agent")
	write(t, agent, nil)
	env := func(pairs ...string) func(string) string {
		return func(key string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	o, err := readOptions(agent, env("DEMO_FOR", "30s", "LOKI_URL", "http://x:1/"))
	if err != nil || o.lasts != 30*time.Second || o.lokiURL != "http://x:1" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := readOptions(agent, env("DEMO_FOR", "soon")); err == nil || !strings.Contains(err.Error(), `DEMO_FOR="soon"`) {
		t.Errorf("a wrong duration: %v", err)
	}
	if _, err := readOptions(agent+"x", env()); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("no agent: %v", err)
	}
}

func TestTheViewShowsWhatAPersonWants(t *testing.T) {
	start := time.Unix(1000, 0)
	v := view{
		at: start.Add(10 * time.Second), started: start, sinks: []string{"local_file", "loki"},
		written:  map[string]int64{"shop": 1400, "web": 1200, "chatty": 300, "file": 500},
		captured: map[string]int64{"shop": 1398, "web": 1200, "chatty": 300, "file": 500},
		metrics: harness.Metrics{
			"log_capturer_goroutines":                            27,
			"process_resident_memory_bytes":                      21e6,
			`log_capturer_lines_read_total{source="a"}`:          3400,
			`log_capturer_lines_acked_total{sink="loki"}`:        3300,
			`log_capturer_sink_lag_seconds{sink="loki"}`:         0.25,
			`log_capturer_lines_acked_total{sink="local_file"}`:  3398,
			`log_capturer_lines_dropped_total{reason="example"}`: 0,
		},
	}
	v.rates(view{at: start, written: map[string]int64{"shop": 1000}})
	text := v.line()
	for _, want := range []string{"10s", "written 3,400", "captured 3,398", "shop 1398/1400", "loki delivered 3,300, lag 0.2 s", "27 goroutines, 21 MB"} {
		if !strings.Contains(text, want) {
			t.Errorf("the line lacks %q: %s", want, text)
		}
	}
	table := v.table("tail -f x")
	for _, want := range []string{"shop", "1,398", "40", "→ loki", "27 goroutines", "tail -f x"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	if thousands(-1234567) != "-1,234,567" || thousands(12) != "12" {
		t.Error("thousands")
	}
}
