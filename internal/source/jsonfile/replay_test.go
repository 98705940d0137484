package jsonfile

import (
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/replay"
)

// With since: now a container is polled at first, says nothing, and then its file is read.
func TestHistoryThatIsNotWantedIsNotReadFromTheFileEither(t *testing.T) {
	l := newEngineLog(t, t.TempDir(), 3)
	l.write("stdout", "old 1\n")
	l.write("stderr", "old 2\n")
	since := l.clock.Add(time.Second)
	l.clock = since.Add(time.Second)
	tr := replay.New(position.Cursor{}, since)
	c := tr.Cursor(0) // what the API reader has after a poll that brought nothing
	l.write("stdout", "new\n")
	tg := target(l.path)
	tg.Since = since
	r, _ := open(t, tg, c)
	got := drain(t, r)
	if len(got) != 1 {
		t.Errorf("got %q, want what is newer than since", got)
	}
}

// A file that is to be read behind what came through the API may not be there yet.
func TestAReplayWaitsForItsFile(t *testing.T) {
	dir := t.TempDir()
	tr := replay.New(position.Cursor{}, time.Time{})
	at := time.Unix(1_700_000_000, 0).Add(time.Microsecond).UnixNano()
	tr.Delivered(0, at, replay.Hash(at, []byte("1")))
	r, _ := open(t, target(dir+"/c-json.log"), tr.Cursor(0))
	drain(t, r)
	l := newEngineLog(t, dir, 3)
	l.write("stdout", "1\n")
	l.write("stdout", "2\n")
	got := drain(t, r)
	if len(got) != 1 {
		t.Errorf("got %q, want the second line only", got)
	}
}
