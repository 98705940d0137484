package office

import (
	"errors"
	"os"
	"testing"

	"github.com/logcapturer/log_capturer/internal/spool"
)

var errKilled = errors.New("the process was killed")

// killer is a directory that ends with its process: the call of number at, and all
// after it, do not happen; with half a write of that number is cut in its middle.
type killer struct {
	spool.FS
	calls, at int
	half      bool
}

func (k *killer) dead() bool {
	k.calls++
	return k.at > 0 && k.calls >= k.at
}

func (k *killer) Open(name string, flag int) (spool.File, error) {
	if k.dead() {
		return nil, errKilled
	}
	f, err := k.FS.Open(name, flag)
	return &killedFile{f, k}, err
}

func (k *killer) Rename(from, to string) error {
	if k.dead() {
		return errKilled
	}
	return k.FS.Rename(from, to)
}

func (k *killer) Remove(name string) error {
	if k.dead() {
		return errKilled
	}
	return k.FS.Remove(name)
}

func (k *killer) Sync() error {
	if k.dead() {
		return errKilled
	}
	return k.FS.Sync()
}

type killedFile struct {
	spool.File
	k *killer
}

func (f *killedFile) WriteAt(b []byte, off int64) (int, error) {
	if !f.k.dead() {
		return f.File.WriteAt(b, off)
	}
	n := 0
	if f.k.half && f.k.calls == f.k.at {
		n, _ = f.File.WriteAt(b[:len(b)/2], off)
	}
	return n, errKilled
}

func (f *killedFile) ReadAt(b []byte, off int64) (int, error) {
	if f.k.dead() {
		return 0, errKilled
	}
	return f.File.ReadAt(b, off)
}

func (f *killedFile) Sync() error {
	if f.k.dead() {
		return errKilled
	}
	return f.File.Sync()
}

func (f *killedFile) Truncate(size int64) error {
	if f.k.dead() {
		return errKilled
	}
	return f.File.Truncate(size)
}

// A replay is killed at each of its calls to the disk, and another one goes on: every
// letter is accepted or still there, none is there twice, and what was accepted twice
// was under way when it was killed.
func TestAReplayThatIsKilledLosesNothing(t *testing.T) {
	const n = 300 // two files, six Sends
	kills, repeated, most := 0, 0, 0
	for at := 1; ; at++ {
		again, ended := killAt(t, n, at)
		if ended {
			break
		}
		kills++
		repeated += again
		most = max(most, again)
	}
	if kills < 20 || repeated == 0 || most > n/2 {
		t.Errorf("%d kills, %d letters sent twice, at most %d in one; is it killed at all?", kills, repeated, most)
	}
	t.Logf("%d kills of a replay of %d letters: 0 lost, %d sent twice in all, at most %d in one", kills, n, repeated, most)
}

// killAt kills a replay at its call of that number. It returns how many letters were
// accepted twice in the end, and whether the replay ended before.
func killAt(t *testing.T, n, at int) (again int, ended bool) {
	t.Helper()
	dir := t.TempDir()
	var k *killer
	o := open(t, dir, disk{512 << 10, func(fs spool.FS) spool.FS { k = &killer{FS: fs, half: at%2 == 0}; return k }}, "loki")
	for from := 1; from <= n; from += 150 {
		bury(t, o.boxes["loki"].Letters, "a", "too_old", from, from+149)
	}
	o.chunk, o.sinks["loki"].refuse = 16<<10, odd
	k.at = k.calls + at
	result, err := o.Replay(t.Context(), Filter{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if ended = k.calls < k.at; !ended && result.Sinks[0].Error == "" {
		t.Errorf("call %d: the result does not say that it failed: %+v", at, result)
	}
	got := o.sinks["loki"].accepted
	k.at = 1
	o.close()

	o = open(t, dir, roomy, "loki")
	left := times(o.lines(t, Filter{}))
	for i := 1; i <= n; i++ {
		if left[text("a", i)] > 1 {
			t.Fatalf("call %d: letter %d is there %d times", at, i, left[text("a", i)])
		}
	}
	o.sinks["loki"].refuse = odd
	o.replay(t, Filter{}, false)
	got = append(got, o.sinks["loki"].accepted...)
	arrived := times(got)
	left = times(o.lines(t, Filter{}))
	for i := 1; i <= n; i++ {
		switch odd := i % 2; {
		case odd == 1 && (left[text("a", i)] != 1 || arrived[stored("a", i)] != 0), odd == 0 && (left[text("a", i)] != 0 || arrived[stored("a", i)] == 0):
			t.Fatalf("call %d: letter %d was accepted %d times and is there %d times", at, i, arrived[stored("a", i)], left[text("a", i)])
		case arrived[stored("a", i)] > 1:
			again++
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return again, ended
}
