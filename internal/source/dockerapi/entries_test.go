package dockerapi

import (
	"strings"
	"testing"
	"testing/synctest"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/units"
)

// matcher compiles settings, of which change changes the defaults.
func matcher(t testing.TB, change func(*multiline.Config)) *multiline.Matcher {
	t.Helper()
	c := multiline.DefaultConfig()
	change(&c)
	m, err := multiline.New(c, units.Size(testMaxLine))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// drawMatcher draws settings under which the lines of drawLog belong together in many ways.
func drawMatcher(t *testing.T, rt *rapid.T) *multiline.Matcher {
	return matcher(t, func(c *multiline.Config) {
		c.MaxLines = rapid.IntRange(2, 6).Draw(rt, "max_lines")
		switch rapid.IntRange(0, 2).Draw(rt, "kind") {
		case 0:
			c.Start = "^l"
		case 1:
			c.Continue = "^s|^$"
		default:
			c.Start, c.Continue = "^line .*[02468]$", "^s|^line"
		}
	})
}

// entries returns what an undisturbed pass makes of lines.
func entries(m *multiline.Matcher, lines []got) (out []got) {
	var state multiline.State
	for _, ln := range lines {
		if m.Next(&state, []byte(ln.Text)) == multiline.Continues {
			last := &out[len(out)-1]
			last.Text += "\n" + ln.Text
			last.Cut = last.Cut || ln.Cut
			continue
		}
		out = append(out, ln)
	}
	return out
}

// split returns the lines of entries.
func split(entries []got) (lines []string) {
	for _, e := range entries {
		lines = append(lines, strings.Split(e.Text, "\n")...)
	}
	return lines
}

func TestEntriesAreTheSameWhereverStreamsBreak(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		engine := &scripted{log: drawLog(rt), suffix: rapid.Bool().Draw(rt, "suffix"), multiline: drawMatcher(t, rt)}
		engine.drawCuts(rt)
		torn := rapid.Bool().Draw(rt, "lines do not come in time")
		if torn {
			when := rapid.SliceOfN(rapid.Bool(), 1, 20).Draw(rt, "given out")
			asked := 0
			engine.gaveOut = func() bool { asked++; return when[asked%len(when)] }
		}
		restarts := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 6).Draw(rt, "restarts")
		tail := rapid.SampledFrom([]int{1, 2, 3, 5, 10, 100}).Draw(rt, "tail")
		var have [2][]got
		var err error
		synctest.Test(t, func(*testing.T) { have, err = readAll(engine, tail, restarts) })
		if err != nil {
			rt.Fatal(err)
		}
		for i, lines := range want(engine.log) {
			if diff := gocmp.Diff(split(lines), split(have[i])); diff != "" {
				rt.Fatalf("%s (-want +got):\n%.3000s", replay.Outputs[i], diff)
			}
			if torn {
				continue
			}
			if diff := gocmp.Diff(entries(engine.multiline, lines), have[i]); diff != "" {
				rt.Fatalf("%s (-want +got):\n%.3000s", replay.Outputs[i], diff)
			}
		}
	})
}

func TestEntriesOfPodmanHoldEachLineOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		engine := &scripted{log: drawPodmanLog(rt), podman: true, multiline: drawMatcher(t, rt)}
		engine.drawCuts(rt)
		restarts := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 6).Draw(rt, "restarts")
		var have [2][]got
		var err error
		synctest.Test(t, func(*testing.T) { have, err = readAll(engine, 3, restarts) })
		if err != nil {
			rt.Fatal(err)
		}
		for i, lines := range wantOfPodman(engine.log) {
			if diff := gocmp.Diff(lines, split(have[i])); diff != "" {
				rt.Fatalf("%s (-want +got):\n%.3000s", replay.Outputs[i], diff)
			}
		}
	})
}
