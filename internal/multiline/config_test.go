package multiline

import (
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/internal/units"
)

func TestDefaultsAreValidAndTakeLinesAlone(t *testing.T) {
	c := DefaultConfig()
	if errs := c.Validate(); len(errs) > 0 || !c.IsZero() {
		t.Fatal(errs)
	}
	if m, err := New(c, units.MiB); m != nil || err != nil {
		t.Fatal(m, err)
	}
}

func TestMistakesSayWhatIsRight(t *testing.T) {
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Presets = []string{"java", "perl"} }, `presets[1]: got "perl"; expected dotnet, go, indented, java, node, python or ruby`},
		{func(c *Config) { c.Presets = []string{"java", "java"} }, `presets[1]: "java" is given twice; keep one`},
		{func(c *Config) { c.Presets, c.Start = []string{"java"}, "^x" }, `start: stands beside presets; keep one`},
		{func(c *Config) { c.Presets, c.Continue = []string{"java"}, "^x" }, `continue: stands beside presets; keep one`},
		{func(c *Config) { c.Start = "^[" }, `start: "^[" is no regular expression: missing closing ]`},
		{func(c *Config) { c.Continue = `^\s*` }, `continue: "^\\s*" matches every line; say how such a line begins`},
		{func(c *Config) { c.Flush = 0 }, `flush: 0s is out of range; expected 10ms to 1m`},
		{func(c *Config) { c.MaxLines = 1 }, `max_lines: 1 is out of range; expected 2 to 100000`},
		{func(c *Config) { c.MaxBytes = 17 }, `max_bytes: 17B is out of range; expected 1KiB to 64MiB`},
	} {
		c := DefaultConfig()
		test.change(&c)
		errs := c.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), test.want) {
			t.Errorf("got %v, want %s", errs, test.want)
		}
		if !c.IsZero() {
			if _, err := New(c, units.MiB); err == nil {
				t.Errorf("%s: compiled all the same", test.want)
			}
		}
	}
}
