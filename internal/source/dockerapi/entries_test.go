package dockerapi

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/replay"
	"github.com/logcapturer/log_capturer/internal/source"
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

// What a stream left out and a later one brings belongs in the middle of what is held, or of
// what was given out: it is an entry of its own, and changes none.
func TestALateLineIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &scripted{multiline: matcher(t, func(c *multiline.Config) { c.Start = "^a" })}
		for i, text := range []string{"a0", "a1", "b2", "b3", "b4", "a5"} {
			e.log = append(e.log, stored{0, noon + int64(i)*1_000_001_000, text + "\n"})
		}
		e.cuts = []cut{{Visible: 4, Records: -1, Clean: true, Skips: map[int64]bool{e.log[2].time: true}}, {Visible: 5, Records: -1, Clean: true}}
		have, err := readAll(e, 100, nil)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, g := range have[0] {
			texts = append(texts, g.Text)
		}
		if diff := gocmp.Diff([]string{"a0", "b2", "a1\nb3\nb4", "a5"}, texts); diff != "" {
			t.Error(diff)
		}
	})
}

// A poll that brings the first lines of an entry is soon followed by one that looks for the
// others; what did not come by then is given out, and a cursor stands before it until then.
func TestAPollLooksForTheRestOfAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &live{}
		now := noon
		add := func(text string) {
			now += 1001
			e.log = append(e.log, stored{0, now, text + "\n"})
		}
		target := testTarget()
		target.Mode = source.Poll
		target.Multiline = matcher(t, func(c *multiline.Config) { c.Presets = []string{"java"} })
		r, _ := open(t, e, target, position.Cursor{})
		r.opener.PollInterval = 10 * time.Second
		expect := func(pause time.Duration, want ...string) {
			t.Helper()
			if got := drain(t, r); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := r.Pause(); got != pause {
				t.Errorf("the next poll is in %v, want in %v", got, pause)
			}
		}
		add("ready")
		add("java.lang.Oops: no")
		expect(time.Second, "ready")
		again, _ := open(t, e, target, r.Cursor())
		add("\tat x")
		<-time.After(time.Second)
		expect(time.Second)
		<-time.After(time.Second)
		polls := len(e.asked)
		expect(10*time.Second, "java.lang.Oops: no\n\tat x")
		if n := len(e.asked) - polls; n != 1 {
			t.Errorf("%d polls, want 1", n)
		}
		drain(t, again)
		<-time.After(time.Second)
		if got := drain(t, again); !slices.Equal(got, []string{"java.lang.Oops: no\n\tat x"}) {
			t.Errorf("another reader got %q", got)
		}
	})
}
