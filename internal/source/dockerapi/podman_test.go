package dockerapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/replay"
)

func podmanFrame(rec stored) []byte {
	text := time.Unix(0, rec.time).UTC().Format(time.RFC3339) + " " + rec.data
	frame := make([]byte, 8, 8+len(text))
	frame[0] = byte(rec.out + 1)
	binary.BigEndian.PutUint32(frame[4:], uint32(len(text)))
	return append(frame, text...)
}

// drawPodmanLog makes a log as conmon writes it: pieces of any size, each with its own
// time, and many equal lines in a second. Some lines take longer than Slack.
func drawPodmanLog(t *rapid.T) (log []stored) {
	now := int64(1_700_000_000_123_456_789)
	var open [2]bool
	add := func(out int, text string) {
		open[out] = !strings.HasSuffix(text, "\n")
		log = append(log, stored{out, now, text})
	}
	for i := range rapid.IntRange(1, 40).Draw(t, "records") {
		now += rapid.SampledFrom([]int64{0, 1, 1000, 1e8, 4e8, 1e9, 4e9, 13e9, 30e9}).Draw(t, "passed")
		text := rapid.SampledFrom([]string{"same", "", fmt.Sprint("line ", i), strings.Repeat("x", 8192)}).Draw(t, "text")
		if rapid.IntRange(0, 3).Draw(t, "piece") > 0 || text == "" {
			text += "\n"
		}
		add(rapid.IntRange(0, 1).Draw(t, "output"), text)
	}
	for out := range open {
		if open[out] {
			add(out, "\n")
		}
	}
	return log
}

// wantOfPodman returns the texts of the lines, by output.
func wantOfPodman(log []stored) (out [2][]string) {
	var line [2]string
	for _, rec := range log {
		line[rec.out] += rec.data
		if text, ok := strings.CutSuffix(line[rec.out], "\n"); ok {
			out[rec.out] = append(out[rec.out], text[:min(len(text), testMaxLine)])
			line[rec.out] = ""
		}
	}
	return out
}

func TestEachLineOfPodmanIsDeliveredOnceWhereverStreamsBreak(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		engine := &scripted{log: drawPodmanLog(rt), podman: true}
		engine.drawCuts(rt)
		restarts := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 4).Draw(rt, "restarts")
		var lines [2][]got
		var err error
		synctest.Test(t, func(*testing.T) { lines, err = readAll(engine, 3, restarts) })
		if err != nil {
			rt.Fatal(err)
		}
		for i, want := range wantOfPodman(engine.log) {
			var have []string
			for _, g := range lines[i] {
				have = append(have, g.Text)
			}
			if diff := cmp.Diff(want, have); diff != "" {
				rt.Fatalf("%s (-want +got):\n%.3000s", replay.Outputs[i], diff)
			}
		}
	})
}

// noFollowing is a Podman with containers that log to journald, and its events elsewhere.
type noFollowing struct {
	scripted
	follows int
}

func (e *noFollowing) Logs(ctx context.Context, id string, o docker.LogOptions) (io.ReadCloser, error) {
	if o.Follow {
		e.follows++
		return nil, errors.New("using --follow with the journald --log-driver but without the journald --events-backend is not supported")
	}
	return e.scripted.Logs(ctx, id, o)
}

func TestALogThatPodmanDoesNotFollowIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &noFollowing{scripted: scripted{podman: true}}
		o := testOpener(engine)
		o.PollInterval = 10 * time.Second
		reader, err := o.Open(t.Context(), testTarget(), position.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		began := time.Now()
		for i := range 30 {
			engine.log = append(engine.log, stored{0, time.Now().UnixNano(), fmt.Sprint("line ", i, "\n")})
			b, err := reader.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(b.Line(0)), fmt.Sprint("line ", i); len(b.Entries) != 1 || got != want {
				t.Fatalf("%d entries, the first is %q, want %q", len(b.Entries), got, want)
			}
			b.Done(record.Delivered)
		}
		if took := time.Since(began); engine.follows > 2+int(took/unsupportedPause) || engine.calls > 35 {
			t.Errorf("in %v it was asked %d times to follow and %d times for what there is", took, engine.follows, engine.calls)
		}
	})
}
