package loki

import (
	"testing"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/units"
	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// open returns a sink for url; change adapts its settings.
func open(t testing.TB, url string, change func(*Config)) *Sink {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL = url
	cfg.MaxRequestBytes = 4 * units.MiB
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, sink.Deps{Name: "loki", UserAgent: "log_capturer/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// source returns a source with one label set for all outputs.
func source(name string, metadata ...record.Label) *record.Source {
	src := &record.Source{ID: "test:" + name, Kind: "container", Name: name}
	st := record.NewStream(record.Labels{{Name: "app", Value: name}}, metadata)
	src.Streams = [record.Outputs]*record.Stream{st, st, st}
	return src
}
