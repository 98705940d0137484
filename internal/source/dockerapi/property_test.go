package dockerapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
)

const testMaxLine = 40 << 10

// stored is one record as an engine keeps it: a line or a piece of one.
type stored struct {
	out  int
	time int64
	data string
}

// scripted is an engine with one container's log, whose streams break as told.
type scripted struct {
	log []stored
	// suffix: since is tested until the first match only (newer engines); else for each record (20.10).
	suffix bool
	podman bool // it tests since for each record, and gives whole seconds (podman_test.go)
	cuts   []cut
	calls  int
	onCall func(call int, o docker.LogOptions)
	// multiline is the target's; gaveOut, if set, says after each batch whether what is held
	// is given out, as when its next line does not come in time.
	multiline *multiline.Matcher
	gaveOut   func() bool
}

// cut says how one stream ends.
type cut struct {
	Visible int // records in the log by then
	Records int // records that are sent; negative = all that are visible
	Bytes   int // bytes of the next record that are sent before the connection breaks
	Clean   bool
	Skips   map[int64]bool // timestamps of records that are left out
}

func (e *scripted) Logs(_ context.Context, _ string, o docker.LogOptions) (io.ReadCloser, error) {
	call := e.calls
	e.calls++
	if e.onCall != nil {
		e.onCall(call, o)
	}
	end := cut{Visible: len(e.log), Records: -1, Clean: true}
	if call < len(e.cuts) && o.Follow {
		end = e.cuts[call]
	}
	log := e.log[:min(end.Visible, len(e.log))]
	if o.Tail != 0 {
		log = log[max(0, len(log)-o.Tail):]
	}
	var buf bytes.Buffer
	sent, matched := 0, false
	for _, rec := range log {
		if rec.time < o.Since && !(matched && e.suffix) {
			continue
		}
		matched = true
		if end.Skips[rec.time] {
			continue
		}
		frame := muxFrame(rec)
		if e.podman {
			frame = podmanFrame(rec)
		}
		if end.Records >= 0 && sent >= end.Records {
			if !end.Clean {
				buf.Write(frame[:min(end.Bytes, len(frame)-1)])
			}
			break
		}
		buf.Write(frame)
		sent++
	}
	err := io.EOF
	if !end.Clean {
		err = io.ErrUnexpectedEOF
	}
	return &scriptedBody{Reader: bytes.NewReader(buf.Bytes()), err: err, podman: e.podman}, nil
}

type scriptedBody struct {
	*bytes.Reader
	err    error
	podman bool
}

func (e *scripted) Podman() bool { return e.podman }

func (b *scriptedBody) Podman() bool { return b.podman }

func (b *scriptedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (b *scriptedBody) Close() error { return nil }

func muxFrame(rec stored) []byte {
	text := time.Unix(0, rec.time).UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + rec.data
	frame := make([]byte, 8, 8+len(text))
	frame[0] = byte(rec.out + 1)
	binary.BigEndian.PutUint32(frame[4:], uint32(len(text)))
	return append(frame, text...)
}

// got is an entry as it was delivered.
type got struct {
	Out  record.Output
	Time int64
	Text string
	Cut  bool
}

// want returns what a perfect reader delivers of a log, by output.
func want(log []stored) (out [2][]got) {
	var open [2]*stored
	var clock [2]record.Clock
	end := func(i int) {
		if rec := open[i]; rec != nil {
			text := strings.TrimSuffix(rec.data, "\n")
			g := got{Out: replay.Outputs[i], Time: clock[i].Next(rec.time), Text: text}
			if len(text) > testMaxLine {
				g.Text, g.Cut = text[:testMaxLine], true
			}
			out[i] = append(out[i], g)
		}
		open[i] = nil
	}
	for _, rec := range log {
		if o := open[rec.out]; o != nil && o.time == rec.time {
			o.data += rec.data
		} else {
			end(rec.out)
			open[rec.out] = &rec
		}
		if strings.HasSuffix(rec.data, "\n") || len(rec.data) < docker.PieceSize {
			end(rec.out)
		}
	}
	end(0)
	end(1)
	return out
}

// drawLog makes a log as a clock writes it that either counts nanoseconds, so that no two
// lines of an output share a time, or is coarse, so that equal lines may. It has times
// that are out of order between the outputs by less than slack, long lines whose pieces
// come slowly, equal lines, and lines without a newline as the last before an exit.
func drawLog(t *rapid.T) []stored {
	now := int64(1_700_000_000_000_000_000)
	coarse := rapid.Bool().Draw(t, "coarse")
	var last [2]int64
	var open [2]string // what is still to come of a long line
	var openTime [2]int64
	var log []stored
	n := rapid.IntRange(1, 40).Draw(t, "records")
	for i := range n {
		now += rapid.SampledFrom([]int64{0, 0, 1, 1000, 1e6, 1e9, 4e9, 30e9}).Draw(t, "passed")
		out := rapid.IntRange(0, 1).Draw(t, "output")
		if open[out] != "" {
			piece := open[out][:min(len(open[out]), docker.PieceSize)]
			open[out] = open[out][len(piece):]
			log = append(log, stored{out, openTime[out], piece})
			continue
		}
		late := rapid.SampledFrom([]int64{0, 0, 1, 1e6, 9e9}).Draw(t, "late")
		at := now - late
		if coarse {
			at = max(last[out], at/1000*1000)
		} else if at = max(last[out]+1, at); at%1000 == 0 {
			at++
		}
		last[out] = at
		text := rapid.SampledFrom([]string{"same", "", fmt.Sprint("line ", i)}).Draw(t, "text")
		if rapid.IntRange(0, 5).Draw(t, "long") == 0 {
			text = strings.Repeat(string(rune('a'+i%26)), rapid.SampledFrom([]int{16384, 16385, 33000, 50000}).Draw(t, "length"))
		}
		text += rapid.SampledFrom([]string{"\n", "\n", "\n", ""}).Draw(t, "newline")
		if text == "" {
			text = "\n"
		}
		piece := text[:min(len(text), docker.PieceSize)]
		open[out], openTime[out] = text[len(piece):], at
		log = append(log, stored{out, at, piece})
	}
	return log
}

// drawCuts has the engine's first streams end somewhere.
func (e *scripted) drawCuts(rt *rapid.T) {
	visible := 0
	for range rapid.IntRange(0, 8).Draw(rt, "cuts") {
		visible = rapid.IntRange(visible, len(e.log)).Draw(rt, "visible")
		e.cuts = append(e.cuts, cut{
			Visible: visible,
			Records: rapid.IntRange(-1, visible).Draw(rt, "sent"),
			Bytes:   rapid.IntRange(0, 50).Draw(rt, "bytes"),
			Clean:   rapid.Bool().Draw(rt, "clean"),
		})
	}
}

func TestEachRecordIsDeliveredOnceWhereverStreamsBreak(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		engine := &scripted{log: drawLog(rt), suffix: rapid.Bool().Draw(rt, "suffix")}
		engine.drawCuts(rt)
		restarts := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 4).Draw(rt, "restarts")

		tail := rapid.SampledFrom([]int{1, 2, 3, 5, 10, 100}).Draw(rt, "tail")
		var lines [2][]got
		var err error
		synctest.Test(t, func(*testing.T) { lines, err = readAll(engine, tail, restarts) })
		if err != nil {
			rt.Fatal(err)
		}
		expected := want(engine.log)
		for i := range lines {
			if diff := gocmp.Diff(expected[i], lines[i]); diff != "" {
				rt.Fatalf("%s (-want +got):\n%.3000s", replay.Outputs[i], diff)
			}
		}
	})
}

// What streams leave out, as the engine does when it rotates a log, is delivered when the
// end of the log is looked at again, and nothing twice for it. Only the first record of an
// output in those last records is not taken for one: it might be the rest of a line.
func TestWhatAStreamLeavesOutIsDeliveredLate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		engine := &scripted{suffix: rapid.Bool().Draw(rt, "suffix")}
		both := rapid.Bool().Draw(rt, "both outputs")
		now := int64(1_700_000_000_000_000_001)
		for i := range rapid.IntRange(4, 60).Draw(rt, "records") {
			now += rapid.SampledFrom([]int64{1, 1001, 1_000_001, 4_000_000_001, 30_000_000_001}).Draw(rt, "passed")
			out := 0
			if both {
				out = rapid.IntRange(0, 1).Draw(rt, "output")
			}
			engine.log = append(engine.log, stored{out, now, fmt.Sprint("line ", i, "\n")})
		}
		first := want(engine.log)
		leftOut := map[int64]bool{}
		visible := 0
		for range rapid.IntRange(1, 4).Draw(rt, "cuts") {
			before := visible // what is there when a stream is opened is never left out
			visible = rapid.IntRange(visible, len(engine.log)).Draw(rt, "visible")
			c := cut{Visible: visible, Records: -1, Clean: true, Skips: map[int64]bool{}}
			for _, rec := range engine.log[before:visible] {
				if rec.time != first[rec.out][0].Time && rapid.IntRange(0, 3).Draw(rt, "left out") == 0 {
					c.Skips[rec.time], leftOut[rec.time] = true, true
				}
			}
			engine.cuts = append(engine.cuts, c)
		}
		var lines [2][]got
		var err error
		synctest.Test(t, func(*testing.T) { lines, err = readAll(engine, 10, nil) })
		if err != nil {
			rt.Fatal(err)
		}
		for i := range lines {
			if both { // not all that was left out must be there, nor have its own timestamp
				first[i] = slices.DeleteFunc(first[i], func(g got) bool { return leftOut[g.Time] && !slices.ContainsFunc(lines[i], g.same) })
				first[i], lines[i] = timeless(first[i]), timeless(lines[i])
			}
			slices.SortFunc(lines[i], func(a, b got) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Text, b.Text)) })
			if diff := gocmp.Diff(first[i], lines[i]); diff != "" {
				rt.Fatalf("%s (-want +got):\n%.3000s", replay.Outputs[i], diff)
			}
		}
	})
}

func (g got) same(other got) bool { return g.Text == other.Text }

func timeless(lines []got) []got {
	lines = slices.Clone(lines)
	for i := range lines {
		lines[i].Time = 0
	}
	slices.SortFunc(lines, func(a, b got) int { return cmp.Compare(a.Text, b.Text) })
	return lines
}

// readAll reads to the end; after restarts[i] batches the agent is started again with
// the cursor of the last of them but one.
func readAll(engine *scripted, tail int, restarts []int) (lines [2][]got, err error) {
	opener := testOpener(engine)
	opener.window = tail
	target := testTarget()
	target.Multiline = engine.multiline
	var from position.Cursor
	for run := 0; ; run++ {
		reader, err := opener.Open(context.Background(), target, from)
		if err != nil {
			return lines, err
		}
		engine.onCall = func(call int, o docker.LogOptions) {
			if call < len(engine.cuts) {
				return
			}
			stopped := target
			stopped.Container = &source.Container{ID: target.Container.ID, Name: target.Container.Name}
			stopped.Gone = !o.Follow // one last reading, then it is removed
			reader.Update(stopped)
		}
		budget := -1
		if run < len(restarts) {
			budget = restarts[run]
		}
		for ; budget != 0; budget-- {
			var b *record.Batch
			var err error
			if engine.gaveOut != nil && engine.gaveOut() {
				b = reader.(*Reader).giveOut()
			}
			if b == nil {
				b, err = reader.Next(context.Background())
			}
			if errors.Is(err, io.EOF) {
				reader.Close()
				return lines, nil
			}
			if err != nil {
				return lines, err
			}
			if budget == 1 { // this batch was not acknowledged before the restart
				b.Done(record.Failed)
				break
			}
			for i, e := range b.Entries {
				o := int(e.Output) - 1
				lines[o] = append(lines[o], got{e.Output, e.Time, string(b.Line(i)), e.Flags&record.Truncated != 0})
			}
			from = reader.Cursor()
			b.Done(record.Delivered)
		}
		reader.Close()
	}
}

func testOpener(e Engine) *Opener {
	return &Opener{
		Engine: e, Pool: record.NewPool(1 << 20), MaxLine: testMaxLine,
		Stats: new(Stats), Log: slog.New(slog.DiscardHandler),
	}
}

func testTarget() source.Target {
	labels := record.Labels{{Name: "job", Value: "containers"}}
	return source.Target{
		Source: &record.Source{ID: "container:c1", Kind: "container", Name: "c1", Streams: [record.Outputs]*record.Stream{
			record.Stdout: record.NewStream(labels, nil), record.Stderr: record.NewStream(labels, nil),
		}},
		Mode:      source.Stream,
		Container: &source.Container{ID: "c1", Name: "c1", Running: true},
	}
}
