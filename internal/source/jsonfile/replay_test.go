package jsonfile

import (
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/replay"
)

// J: since: now; the container was first polled, said nothing, and then its file is read.
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
	t.Log(got)
	if len(got) != 1 {
		t.Error("HISTORY before since is delivered")
	}
}

// N: the rest of a file that a cursor from the API is replayed on, while the path does not exist yet.
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
		t.Error("REPEATED:", got)
	}
}
