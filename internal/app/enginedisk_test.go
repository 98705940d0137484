package app

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/logcapturer/log_capturer/internal/health"
)

func TestEachTimeTheEnginesDiskIsFullCountsOnce(t *testing.T) {
	lost := int64(0)
	var room uint64
	var fails error
	d := newEngineDisk(func(reason string, n int64) {
		if reason != lostEngineDisk {
			t.Error(reason)
		}
		lost += n
	}, slog.New(slog.DiscardHandler))
	d.free = func(string) (uint64, error) { return room, fails }
	var board health.Board
	for _, step := range []struct {
		what   string
		dir    string
		room   uint64
		err    error
		lost   int64
		status health.Status
	}{
		{what: "not known yet", status: health.Healthy},
		{what: "room", dir: "/d", room: 1 << 30, status: health.Healthy},
		{what: "full", dir: "/d", room: 4096, lost: 1, status: health.Degraded},
		{what: "still full", dir: "/d", lost: 1, status: health.Degraded},
		{what: "out of sight", dir: "/d", err: errors.New("gone"), lost: 1, status: health.Degraded},
		{what: "room again", dir: "/d", room: 1 << 20, lost: 1, status: health.Healthy},
		{what: "full again", dir: "/d", lost: 2, status: health.Degraded},
	} {
		d.dir, room, fails = step.dir, step.room, step.err
		d.look()
		d.report(&board)()
		if got := board.Report(); got.Status != step.status || lost != step.lost {
			t.Errorf("%s: %s, %d lost; want %s, %d", step.what, got.Status, lost, step.status, step.lost)
		}
	}
}

func TestTheRoomOfADiskIsKnown(t *testing.T) {
	if free, err := freeBytes(t.TempDir()); err != nil || free == 0 {
		t.Errorf("%d bytes, error %v", free, err)
	}
}
