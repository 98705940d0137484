package pool

import (
	"context"
	"strconv"
	"testing"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/source/file"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// silentOpener opens log files of whose writes no hint tells, although they can be watched.
type silentOpener struct{ *file.Opener }

type silent struct{ *file.Reader }

func (o silentOpener) Open(ctx context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	r, err := o.Opener.Open(ctx, t, from)
	if err != nil {
		return nil, err
	}
	return silent{r.(*file.Reader)}, nil
}

func (silent) Wake(*tail.Watcher, func()) (bool, error) { return false, nil }

func TestALogWhoseHintsAreMissingIsLookedAtMoreOften(t *testing.T) {
	stats := &file.Stats{}
	f := newFixture(t, map[source.Mode]source.Opener{source.File: silentOpener{&file.Opener{Pool: record.NewPool(1 << 20), MaxLine: 1 << 20, Stats: stats}}})
	f.write("a.log", "0\n")
	f.pool.Apply([]source.Target{f.target("a.log")})
	want := []string{"0"}
	f.arrives("file:a.log", want...)
	// sweeps returns how many it takes until the next line is seen.
	sweeps := func() (n int) {
		t.Helper()
		f.eventually("the log to be idle", func() bool { return f.state("file:a.log") == idle })
		line := strconv.Itoa(len(want))
		want = append(want, line)
		f.write("a.log", line+"\n")
		for len(f.out.of("file:a.log")) < len(want) {
			f.pool.sweep()
			n++
			f.eventually("the log to be idle again", func() bool { return f.state("file:a.log") == idle })
			if n > 2*hintedSweeps {
				t.Fatalf("%d sweeps have not seen line %s", n, line)
			}
		}
		return n
	}
	for range unheard {
		if n := sweeps(); n > hintedSweeps {
			t.Errorf("the line was seen with sweep %d, want %d at most", n, hintedSweeps)
		}
	}
	for range 2 * hintedSweeps {
		if n := sweeps(); n != 1 {
			t.Errorf("the line was seen with sweep %d, want the first: no hint tells of this log", n)
		}
	}
}
