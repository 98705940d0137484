package dockerapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
)

const noon = int64(1_700_000_000_000_000_001)

// answers is an engine that gives its answers in turn, the last one for ever.
type answers struct {
	bodies []io.Reader
	errs   []error
	asked  []docker.LogOptions
}

func (a *answers) Logs(_ context.Context, _ string, o docker.LogOptions) (io.ReadCloser, error) {
	i := len(a.asked)
	a.asked = append(a.asked, o)
	if i < len(a.errs) && a.errs[i] != nil || i >= len(a.bodies) {
		return nil, a.errs[min(i, len(a.errs)-1)]
	}
	return io.NopCloser(a.bodies[i]), nil
}

func frames(records ...stored) io.Reader {
	var b bytes.Buffer
	for _, rec := range records {
		b.Write(muxFrame(rec))
	}
	return &b
}

// texts reads until io.EOF and returns the lines.
func texts(t *testing.T, r source.Reader) (out []string) {
	t.Helper()
	for {
		b, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Entries {
			out = append(out, string(b.Line(i)))
		}
		b.Done(record.Delivered)
	}
}

func open(t *testing.T, e Engine, target source.Target, from position.Cursor) (*Reader, *Stats) {
	t.Helper()
	o := testOpener(e)
	r, err := o.Open(t.Context(), target, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r.(*Reader), o.Stats
}

func TestWhatGoesWrongIsCountedAndReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := stored{0, noon, "one\n"}, stored{0, noon + 5, "two\n"}
		engine := &answers{
			bodies: []io.Reader{
				nil,
				io.MultiReader(frames(first), strings.NewReader("\x03\x00\x00\x00\x00\x00\x00\x05Error")),
				io.MultiReader(frames(first), strings.NewReader("garbage!")),
				io.MultiReader(frames(first, second), bytes.NewReader(muxFrame(stored{0, noon + 9, "three\n"})[:30])),
				nil,
				frames(first, second, stored{0, noon + 9, "three\n"}),
			},
			errs: []error{docker.ErrUnreachable, nil, nil, nil, docker.ErrConflict, nil, docker.ErrNotFound},
		}
		r, stats := open(t, engine, testTarget(), position.Cursor{})
		if got := fmt.Sprint(texts(t, r)); got != "[one two three]" {
			t.Error(got)
		}
		for why, n := range map[string]int64{"unreachable": 1, "in_band": 1, "garbage": 1, "broken": 1, "conflict": 1, "other": 0} {
			if got := stats.Errors()[why]; got != n {
				t.Errorf("%s: %d errors, want %d", why, got, n)
			}
		}
	})
}

func TestAContainerThatIsBeingRemovedForLongIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := open(t, &answers{errs: []error{docker.ErrConflict}}, testTarget(), position.Cursor{})
		start := time.Now()
		if got := texts(t, r); got != nil {
			t.Error(got)
		}
		if took := time.Since(start); took < removing || took > 3*removing {
			t.Errorf("gave up after %v", took)
		}
	})
}

func TestALineThatARemovalCutOffIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		piece := strings.Repeat("x", docker.PieceSize)
		engine := &answers{bodies: []io.Reader{frames(stored{0, noon, piece})}, errs: []error{nil, docker.ErrNotFound}}
		r, _ := open(t, engine, testTarget(), position.Cursor{})
		if got := texts(t, r); len(got) != 1 || got[0] != piece {
			t.Errorf("%d lines", len(got))
		}
	})
}

// What a container wrote after its stream broke is lost if it is removed before the next
// one: that is told. A stream that the engine ended had everything.
func TestARemovalBehindABrokenStreamIsALoss(t *testing.T) {
	for name, c := range map[string]struct {
		end  error
		want []source.Loss
	}{
		"broken": {io.ErrUnexpectedEOF, []source.Loss{{Reason: source.LostRemoved, Lines: 1}}},
		"ended":  {io.EOF, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := io.MultiReader(frames(stored{0, noon, "line\n"}), iotest.ErrReader(c.end))
				target := testTarget()
				target.Container.Started = time.Unix(0, noon)
				r, _ := open(t, &answers{bodies: []io.Reader{body}, errs: []error{nil, docker.ErrNotFound}}, target, position.Cursor{})
				if got := texts(t, r); len(got) != 1 {
					t.Errorf("%q", got)
				}
				if got := r.TakeLosses(); !slices.Equal(got, c.want) {
					t.Errorf("losses %v, want %v", got, c.want)
				}
			})
		})
	}
}

// A container stops, its stream ends, and it is removed within the look behind that: nothing
// is lost.
func TestARemovalWithinTheLastLookIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := testTarget()
		target.Container.Started = time.Unix(0, noon)
		var r *Reader
		ends := readerFunc(func([]byte) (int, error) {
			stopped, box := target, *target.Container
			box.Running = false
			stopped.Container = &box
			r.Update(stopped)
			return 0, io.EOF
		})
		r, _ = open(t, &answers{
			bodies: []io.Reader{io.MultiReader(frames(stored{0, noon, "line\n"}), ends), iotest.ErrReader(io.ErrUnexpectedEOF)},
			errs:   []error{nil, nil, docker.ErrNotFound},
		}, target, position.Cursor{})
		if got := texts(t, r); len(got) != 1 {
			t.Errorf("%q", got)
		}
		if got := r.TakeLosses(); len(got) != 0 {
			t.Errorf("losses %v, want none", got)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestALogThatCannotBeReadIsAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &answers{errs: []error{docker.ErrUnsupported}}
		r, stats := open(t, engine, testTarget(), position.Cursor{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := stats.Errors()["unsupported"]; n < 9 || n > 11 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
	})
}

func TestLongLinesAreCutMarkedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var records []stored
		for i := range 10 { // none is the same as the one before
			records = append(records, stored{0, noon, "x" + strings.Repeat(string(rune('0'+i)), docker.PieceSize-1)})
		}
		records = append(records, stored{0, noon, "end\n"}, stored{0, noon + 1, "next\n"}, stored{1, noon, strings.Repeat("y", testMaxLine+1) + "\n"})
		engine := &answers{bodies: []io.Reader{frames(records...)}, errs: []error{nil, docker.ErrNotFound}}
		r, stats := open(t, engine, testTarget(), position.Cursor{})
		got := map[string]record.Flags{}
		for {
			b, err := r.Next(t.Context())
			if err != nil {
				break
			}
			for i, e := range b.Entries {
				got[fmt.Sprintf("%.1s%d", b.Line(i), e.Len)] = e.Flags
			}
			b.Done(record.Delivered)
		}
		want := map[string]record.Flags{fmt.Sprint("x", testMaxLine): record.Truncated, "n4": 0, fmt.Sprint("y", testMaxLine): record.Truncated}
		if fmt.Sprint(got) != fmt.Sprint(want) || stats.Truncated.Load() != 2 {
			t.Errorf("got %v, want %v; %d counted", got, want, stats.Truncated.Load())
		}
	})
}

func TestAClockThatIsSetBackLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hour := int64(time.Hour)
		log := []stored{{0, noon, "a\n"}, {1, noon + 1, "b\n"}, {0, noon - hour, "c\n"}, {0, noon - hour + 1, "d\n"}, {1, noon - hour + 2, "e\n"}}
		// Docker 20.10 filters each record, so what was logged after the clock was set back
		// comes only if the reader had seen it: from the third record on.
		for n := range 2 * len(log) {
			suffix := n >= len(log)
			n %= len(log)
			if !suffix && n < 3 {
				continue
			}
			engine := &scripted{log: log, suffix: suffix, cuts: []cut{{Visible: len(log), Records: n}, {Visible: len(log), Records: n + 2}}}
			lines, err := readAll(engine, 100, nil)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, out := range lines {
				for _, g := range out {
					seen[g.Text] = true
				}
			}
			if len(seen) != len(log) {
				t.Errorf("broken after %d records: %v", n, seen)
			}
		}
	})
}

func TestARenameAndTheEndOfContexts(t *testing.T) {
	pr, pw := io.Pipe()
	engine := &answers{bodies: []io.Reader{pr}, errs: []error{nil, docker.ErrUnreachable}}
	life, end := context.WithCancel(t.Context())
	r, err := testOpener(&breakable{engine, pr}).Open(life, testTarget(), position.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	renamed := testTarget()
	renamed.Source = &record.Source{ID: renamed.Source.ID, Name: "new", Streams: renamed.Source.Streams}
	r.Update(renamed)
	writing := make(chan error, 1)
	go func() {
		_, err := pw.Write(muxFrame(stored{0, noon, "one\n"}))
		writing <- err
	}()
	b, err := r.Next(t.Context())
	if err != nil || b.Source.Name != "new" {
		t.Fatal(err, b)
	}
	b.Done(record.Delivered)
	if err := <-writing; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error("the caller's context:", err)
	}
	end()
	if _, err := r.Next(t.Context()); !errors.Is(err, context.Canceled) {
		t.Error("the reader's context:", err)
	}
}

// breakable ends its body with the request's context, as an HTTP client does.
type breakable struct {
	Engine
	pipe *io.PipeReader
}

func (b *breakable) Logs(ctx context.Context, id string, o docker.LogOptions) (io.ReadCloser, error) {
	body, err := b.Engine.Logs(ctx, id, o)
	if err == nil {
		context.AfterFunc(ctx, func() { _ = b.pipe.CloseWithError(ctx.Err()) })
	}
	return body, err
}

func TestACursorOfAFileReaderIsUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := position.Cursor{File: &position.FilePos{}, Last: [3]int64{0, noon + 3, noon + 2}, API: &position.APIPos{
			Since: noon + 3 - replay.Slack,
			Streams: [2]position.StreamPos{
				{Time: noon + 3, Seen: []uint64{replay.Hash(noon+3, []byte("c"))}},
				{Time: noon + 2, Seen: []uint64{replay.Hash(noon+2, []byte("b"))}},
			},
		}}
		engine := &answers{
			bodies: []io.Reader{frames(stored{0, noon, "a\n"}, stored{1, noon + 2, "b\n"}, stored{0, noon + 3, "c\n"}, stored{0, noon + 4, "d\n"})},
			errs:   []error{nil, docker.ErrNotFound},
		}
		r, _ := open(t, engine, testTarget(), from)
		if got := fmt.Sprint(texts(t, r)); got != "[d]" {
			t.Error(got)
		}
		if since := engine.asked[0].Since; since != noon+3-replay.Slack {
			t.Error("asked since", since)
		}
	})
}

// endless is a log stream without end.
type endless struct {
	chunk []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.chunk[e.at:])
	e.at = (e.at + n) % len(e.chunk)
	return n, nil
}

func BenchmarkReader(b *testing.B) {
	text := strings.Repeat("x", 120)
	e := &endless{}
	for i := range int64(1000) {
		e.chunk = append(e.chunk, muxFrame(stored{0, noon + i*1001, text + "\n"})...)
	}
	o := testOpener(&answers{bodies: []io.Reader{e}})
	r, err := o.Open(b.Context(), testTarget(), position.Cursor{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for lines := 0; lines < b.N; {
		batch, err := r.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		lines += len(batch.Entries)
		batch.Done(record.Delivered)
	}
}
