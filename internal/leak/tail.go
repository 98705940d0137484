package leak

import (
	"context"
	"log/slog"
	"math"
	"sync"
)

// What a Tail keeps.
const (
	tailLines = 200
	tailBytes = 64 << 10
	tailLine  = 4 << 10
)

// Tail is a slog.Handler that passes records on, and keeps the text of the last ones: at
// most 200 lines, 64 KiB, and 4 KiB of each. It keeps what the handler behind it takes.
type Tail struct {
	next, text slog.Handler
	lines      *lastLines
}

// NewTail returns a Tail before next.
func NewTail(next slog.Handler) *Tail {
	lines := new(lastLines)
	all := slog.Level(math.MinInt)
	return &Tail{next: next, text: slog.NewTextHandler(lines, &slog.HandlerOptions{Level: all}), lines: lines}
}

// Enabled tells whether the handler behind takes records of a level.
func (t *Tail) Enabled(ctx context.Context, level slog.Level) bool { return t.next.Enabled(ctx, level) }

// Handle keeps the record's text and passes it on.
func (t *Tail) Handle(ctx context.Context, r slog.Record) error {
	_ = t.text.Handle(ctx, r) // into memory: it cannot fail
	return t.next.Handle(ctx, r)
}

// WithAttrs is that of slog.Handler; the lines are kept in the same place.
func (t *Tail) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Tail{next: t.next.WithAttrs(attrs), text: t.text.WithAttrs(attrs), lines: t.lines}
}

// WithGroup is that of slog.Handler; the lines are kept in the same place.
func (t *Tail) WithGroup(name string) slog.Handler {
	return &Tail{next: t.next.WithGroup(name), text: t.text.WithGroup(name), lines: t.lines}
}

// Lines returns the last lines, each with its line feed.
func (t *Tail) Lines() []byte {
	l := t.lines
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]byte, 0, l.bytes)
	for _, line := range l.kept {
		out = append(out, line...)
	}
	return out
}

// lastLines is an io.Writer whose every Write is one line.
type lastLines struct {
	mu    sync.Mutex
	kept  []string
	bytes int
}

func (l *lastLines) Write(p []byte) (int, error) {
	line := string(p[:min(len(p), tailLine)])
	if len(p) > tailLine {
		line = line[:tailLine-1] + "\n"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, line)
	l.bytes += len(line)
	for len(l.kept) > tailLines || l.bytes > tailBytes {
		l.bytes -= len(l.kept[0])
		l.kept[0] = ""
		l.kept = l.kept[1:]
	}
	return len(p), nil
}
