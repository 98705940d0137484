package discover

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/multiline"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Which lines are one entry is said by a container's label, else by the first rule that
// matches it, else for all.
func TestWhichLinesOfAContainerAreOneEntry(t *testing.T) {
	engine := dockertest.New(t)
	for i, c := range []dockertest.Container{
		{Name: "shop", Image: "acme/shop:1"},
		{Name: "shop-off", Image: "acme/shop:1", Labels: map[string]string{"log_capturer.multiline": "off"}},
		{Name: "cache", Image: "redis:7"},
		{Name: "web", Image: "nginx:1"},
		{Name: "web-2", Image: "nginx:1", Labels: map[string]string{"log_capturer.multiline": " python, go "}},
		{Name: "web-3", Image: "nginx:1", Labels: map[string]string{"log_capturer.multiline": `^\[`}},
		{Name: "web-4", Image: "nginx:1", Labels: map[string]string{"log_capturer.multiline": "jvaa"}},
	} {
		c.ID = id(string(rune('1' + i)))
		engine.Hidden(c)
	}
	var text bytes.Buffer
	d := loggedContainers(t, engine.Host(), func(c *ContainerConfig) {
		c.Multiline.Presets = []string{"indented"}
		quiet := ContainerRule{Filter: Filter{Names: []string{"cache*"}}}
		quiet.Default()
		java := ContainerRule{Filter: Filter{Images: []string{"acme/*"}}}
		java.Default()
		java.Multiline.Presets = []string{"java"}
		c.Rules = []ContainerRule{quiet, java}
	}, slog.New(slog.NewTextHandler(&text, nil)))
	t.Cleanup(func() { // runs after the Discoverer ended
		if n := strings.Count(text.String(), "level=WARN"); n != 1 || !strings.Contains(text.String(), "expected=\"off, presets such as java,python") {
			t.Errorf("want one warning, of jvaa: %s", text.String())
		}
	})
	r := receive(t, d)
	set := r.until(t, "all", func(set map[string]source.Target) bool { return len(set) == 7 })
	const head, indented, traceback, bracket = "java.lang.Oops: no", " x", "Traceback (most recent call last):", "[17]"
	for name, joins := range map[string][2]string{ // a first line, and one that goes on
		"shop": {head, "\tat x"}, "web": {"y", indented}, "web-2": {traceback, indented}, "web-3": {bracket, "x"}, "web-4": {"y", indented},
	} {
		if !goesOn(set[name].Multiline, joins[0], joins[1]) {
			t.Errorf("%s: %q does not go on with %q", name, joins[0], joins[1])
		}
	}
	if goesOn(set["shop"].Multiline, "y", indented) || goesOn(set["web-2"].Multiline, "y", indented) {
		t.Error("what holds for all holds beside a rule or a label")
	}
	for _, name := range []string{"shop-off", "cache"} {
		if set[name].Multiline != nil {
			t.Errorf("%s: lines belong together", name)
		}
	}
	if set["web"].Multiline != set["web-4"].Multiline {
		t.Error("containers that say the same do not share what it takes")
	}
}

func goesOn(m *multiline.Matcher, first, next string) bool {
	var s multiline.State
	return m.Next(&s, []byte(first)) == multiline.Starts && m.Next(&s, []byte(next)) == multiline.Continues
}

func TestARuleNamesContainers(t *testing.T) {
	for want, r := range map[string]ContainerRule{
		"names: the rule names no containers": {},
		"images[0]: \"[\" is no glob":         {Filter: Filter{Images: []string{"["}}},
	} {
		if errs := r.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("got %v, want %s", errs, want)
		}
	}
}

func TestWhatTheLabelMultilineMeans(t *testing.T) {
	for value, want := range map[string]string{
		"off": "", "java": "", "java,python": "", `^\d`: "", "": "off, presets", "java,java": "off, presets", "true": "off, presets",
		"java,^x": "off, presets", "^[": "another pattern: \"^[\" is no regular expression", "^": "another pattern: \"^\" matches every line",
	} {
		l, got := linesOf(value)
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") || (l == nil) != (want != "") {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// A new configuration leaves a matcher as it is where it says the same: what a reader
// holds goes on.
func TestAReloadLeavesWhatIsTheSame(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: id("1"), Name: "web", Driver: "local", Labels: map[string]string{"log_capturer.multiline": "java"}})
	engine.Hidden(dockertest.Container{ID: id("2"), Name: "db", Driver: "local"})
	d := testContainers(t, engine.Host(), nil)
	r := receive(t, d)
	before := r.has(t, "web").Multiline
	config := DefaultContainerConfig()
	config.Read, config.Multiline.Start = source.Poll, "^x"
	d.Reconfigure(config)
	set := r.until(t, "the new configuration", func(set map[string]source.Target) bool { return set["web"].Mode == source.Poll })
	if after := set["web"].Multiline; after != before || before == nil {
		t.Error("the matcher is another one")
	}
	if set["db"].Multiline == nil {
		t.Error("what is new has no effect")
	}
}
