package discover

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/record"
)

func TestMistakesInTheJournalsSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*JournalConfig)
		want   []string // the paths of the mistakes
	}{
		"defaults": {func(*JournalConfig) {}, nil},
		"all that is right": {func(c *JournalConfig) {
			c.Units, c.ExcludeUnits = []string{"nginx", `dev-disk\x2da.mount`, "getty@*.service"}, []string{"[a-z]*.timer"}
			c.Identifiers, c.Matches = []string{"sudo", "my program"}, []string{"_TRANSPORT=kernel", "A_1=x=y z", "+", "B="}
			c.Priority, c.Labels, c.Directory, c.Journalctl = "warning", nil, "/host/journal", "/usr/bin/journalctl"
		}, nil},
		"units":       {func(c *JournalConfig) { c.Units = []string{"ok", "a b", "", "--help/x", "[a"} }, []string{"units[1]", "units[2]", "units[3]", "units[4]"}},
		"exclude":     {func(c *JournalConfig) { c.ExcludeUnits = []string{"a/b"} }, []string{"exclude_units[0]"}},
		"identifiers": {func(c *JournalConfig) { c.Identifiers = []string{"", "a\x00"} }, []string{"identifiers[0]", "identifiers[1]"}},
		"matches": {func(c *JournalConfig) {
			c.Matches = []string{"+", "A=1", "+", "+", "b=2", "/usr/bin/x", "--rotate", "+"}
		}, []string{"matches[0]", "matches[3]", "matches[4]", "matches[5]", "matches[6]", "matches[7]"}},
		"priority": {func(c *JournalConfig) { c.Priority = "err" }, []string{"priority"}},
		"labels":   {func(c *JournalConfig) { c.Labels = []string{"unit", "pid", "unit"} }, []string{"labels[1]", "labels[2]"}},
		"paths":    {func(c *JournalConfig) { c.Directory, c.Journalctl = "journal", "" }, []string{"directory", "journalctl"}},
		"max_line": {func(c *JournalConfig) { c.MaxLine = 1 }, []string{"max_line"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := DefaultJournalConfig()
			c.change(&config)
			var got []string
			for _, e := range config.Validate() {
				got = append(got, e.Path)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnitsHaveAType(t *testing.T) {
	names := []string{"nginx", "nginx.service", "a.b", "cron.timer", "get*", "getty@tty1"}
	want := []string{"nginx.service", "nginx.service", "a.b.service", "cron.timer", "get*", "getty@tty1.service"}
	if diff := cmp.Diff(want, UnitNames(names)); diff != "" {
		t.Error(diff)
	}
}

func TestTheJournalIsATarget(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	target := DefaultJournalConfig().Target("web1", now)
	if s := target.Source; !s.CanWait || s.ID != "journal" || s.Streams[record.OutputNone].Key != `{host="web1", job="systemd-journal"}` || !target.Since.Equal(now) {
		t.Errorf("%+v", target)
	}
	if p := (JournalConfig{Priority: "error"}).MaxPriority(); p != 3 {
		t.Errorf("error is priority %d", p)
	}
}
