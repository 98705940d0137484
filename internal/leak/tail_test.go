package leak

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestATailKeepsTheLastLinesAndPassesAllOn(t *testing.T) {
	var all bytes.Buffer
	tail := NewTail(slog.NewJSONHandler(&all, &slog.HandlerOptions{Level: slog.LevelInfo}))
	log := slog.New(tail)
	log.Debug("not written, not kept")
	log.With("sink", "loki").WithGroup("batch").Info("sent", "lines", 7)
	if got := string(tail.Lines()); !strings.HasSuffix(got, "level=INFO msg=sent sink=loki batch.lines=7\n") || strings.Contains(got, "not kept") {
		t.Errorf("it keeps %q", got)
	}
	for i := range 1000 {
		log.Info("line", "n", i)
	}
	lines := strings.Split(strings.TrimSuffix(string(tail.Lines()), "\n"), "\n")
	if len(lines) != tailLines || !strings.HasSuffix(lines[0], "n=800") || !strings.HasSuffix(lines[tailLines-1], "n=999") {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
	if n := bytes.Count(all.Bytes(), []byte("\n")); n != 1001 {
		t.Errorf("%d lines were passed on", n)
	}
}

func TestATailIsBoundedInBytes(t *testing.T) {
	tail := NewTail(slog.DiscardHandler)
	log := slog.New(slog.NewTextHandler(tail.lines, nil))
	for i := range 100 {
		log.Info(strings.Repeat("x", 100_000), "n", fmt.Sprint(i))
	}
	got := tail.Lines()
	if len(got) > tailBytes || len(got) < tailBytes-tailLine || bytes.Count(got, []byte("\n")) != len(got)/tailLine {
		t.Errorf("%d bytes, %d lines", len(got), bytes.Count(got, []byte("\n")))
	}
}
