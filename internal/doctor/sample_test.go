package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// engineLog is a json-file that a test writes and rotates as the engine does.
type engineLog struct {
	t    *testing.T
	path string
}

func (l engineLog) write(n int) {
	l.t.Helper()
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Repeat("x", n)); err != nil {
		l.t.Fatal(err)
	}
}

func (l engineLog) rotate() {
	l.t.Helper()
	_ = os.Rename(l.path+".1", l.path+".2") // may not be there
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		l.t.Fatal(err)
	}
}

func (l engineLog) remove(suffix string) {
	l.t.Helper()
	if err := os.Remove(l.path + suffix); err != nil {
		l.t.Fatal(err)
	}
}

func TestGrowthAcrossRotations(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(engineLog)
		want    int64
	}{
		"nothing":             {func(engineLog) {}, 0},
		"it grows":            {func(l engineLog) { l.write(30) }, 30},
		"one rotation":        {func(l engineLog) { l.write(50); l.rotate(); l.write(7) }, 57},
		"two rotations":       {func(l engineLog) { l.write(50); l.rotate(); l.write(100); l.rotate(); l.write(7) }, 157},
		"in between":          {func(l engineLog) { l.write(50); l.rotate() }, 0}, // told by the next look
		"max-file=1":          {func(l engineLog) { l.write(50); l.remove(""); l.write(7) }, 1000 - 500 + 7},
		"compressed and gone": {func(l engineLog) { l.write(50); l.rotate(); l.write(7); l.remove(".1") }, 1000 - 500 + 7},
		"cut by somebody": {func(l engineLog) {
			if err := os.Truncate(l.path, 0); err != nil {
				l.t.Fatal(err)
			}
			l.write(7)
		}, 1000 - 500 + 7},
	} {
		t.Run(name, func(t *testing.T) {
			l := engineLog{t, filepath.Join(t.TempDir(), "x-json.log")}
			l.write(500)
			g := &growth{path: l.path, maxSize: 1000}
			g.look()
			c.happens(l)
			g.look()
			if g.bytes != c.want {
				t.Errorf("grew by %d, want %d", g.bytes, c.want)
			}
		})
	}
}

func TestALogThatCannotBeLookedAtHasNoRate(t *testing.T) {
	g := &growth{path: filepath.Join(t.TempDir(), "none")}
	g.look()
	if rate, ok := g.rate(); ok {
		t.Errorf("rate %f", rate)
	}
}

func TestOnlyRunningContainersWithAFileAreSampled(t *testing.T) {
	l := engineLog{t, filepath.Join(t.TempDir(), "x-json.log")}
	l.write(10)
	stopped := []Container{{Captured: true, Driver: jsonFile, path: l.path}, {Captured: true, Running: true, Driver: local}}
	begin := time.Now()
	sampleRates(t.Context(), time.Minute, stopped)
	if time.Since(begin) > 10*time.Second || stopped[0].Rate != nil || stopped[1].Rate != nil {
		t.Error("sampled, though there is nothing to sample")
	}
	running := []Container{{Captured: true, Running: true, Driver: jsonFile, path: l.path}}
	sampleRates(t.Context(), 50*time.Millisecond, running)
	if running[0].Rate == nil || *running[0].Rate != 0 {
		t.Errorf("rate %s, want 0", text(running[0].Rate))
	}
}
