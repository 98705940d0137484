package journal

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/test/harness"
)

// imported makes a journal of entries; the n-th is n microseconds after the first.
type imported struct {
	data []byte
	n    int
}

func (i *imported) add(boot int, fields ...string) {
	i.n++
	i.data = harness.AppendExport(i.data,
		"__REALTIME_TIMESTAMP", fmt.Sprint(1_700_000_000_000_000+i.n), "__MONOTONIC_TIMESTAMP", fmt.Sprint(1000+i.n),
		"_BOOT_ID", strings.Repeat(fmt.Sprint(boot), 32))
	i.data = append(harness.AppendExport(i.data, fields...), '\n')
}

func (i *imported) make(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	harness.ImportJournal(t, filepath.Join(dir, "system.journal"), i.data)
	return dir
}

func texts(all []got) (out []string) {
	for _, g := range all {
		out = append(out, g.text)
	}
	return out
}

// --follow alone would leave out what was written before the host was started again.
func TestEntriesOfEarlierBootsAreRead(t *testing.T) {
	var i imported
	for boot := 1; boot <= 4; boot++ {
		i.add(boot, "MESSAGE", fmt.Sprint("boot ", boot))
	}
	r := newRig(t, Choice{Directory: i.make(t)})
	r.read(1)
	r.close()
	r.at.Journal.Cursor = sameOrFatal(t, r)
	if diff := cmp.Diff([]string{"boot 1", "boot 2", "boot 3", "boot 4"}, texts(r.read(4))); diff != "" || r.lost != 0 {
		t.Error(diff, r.lost)
	}
}

// Loki drops an entry that is like another one of the same time, and keeps one of two that
// were read twice if their times are the same.
func TestEqualTimesAreKeptApartTheSameEachTime(t *testing.T) {
	var i imported
	for n := range 6 {
		i.n = n / 4 // the first four are of the same microsecond
		i.add(1, "MESSAGE", "same", "PRIORITY", fmt.Sprint(n%3))
	}
	dir := i.make(t)
	times := func(again bool) (out []int64) {
		r := newRig(t, Choice{Directory: dir})
		for n := range 6 {
			if r.read(n + 1); again {
				r.close()
			}
		}
		for _, g := range r.got {
			out = append(out, g.time)
		}
		return out
	}
	const first = 1_700_000_000_000_001_000
	want := []int64{first, first + 1, first + 2, first + 3, first + 1000, first + 1001}
	if diff := cmp.Diff(want, times(false)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, times(true)); diff != "" {
		t.Errorf("opened again after each entry: %s", diff)
	}
}

func sameOrFatal(t *testing.T, r *rig) string {
	t.Helper()
	if r.at.Journal == nil || r.at.Journal.Cursor == "" {
		t.Fatalf("there is no cursor: %+v", r.at)
	}
	return r.at.Journal.Cursor
}

func TestEntriesAreChosen(t *testing.T) {
	var i imported
	add := func(text, unit, id, priority string, more ...string) {
		i.add(1, append([]string{"MESSAGE", text, "_SYSTEMD_UNIT", unit, "SYSLOG_IDENTIFIER", id, "PRIORITY", priority}, more...)...)
	}
	add("a", "nginx.service", "nginx", "6")
	add("b", "nginx.service", "nginx", "3")
	add("c", "init.scope", "systemd", "6", "_PID", "1", "UNIT", "nginx.service")
	add("d", "getty@tty1.service", "agetty", "5")
	add("e", "init.scope", "systemd", "7", "_PID", "1")
	add("f", `dev-disk\x2da.mount`, "mount", "4")
	i.add(1, "MESSAGE", "g", "PRIORITY", "2", "SYSLOG_IDENTIFIER", "kernel")
	i.add(1, "MESSAGE", "h", "_SYSTEMD_UNIT", "nginx.service")
	dir := i.make(t)
	for name, c := range map[string]struct {
		Choice
		want string
	}{
		"all":                  {Choice{}, "abcdefgh"},
		"a unit":               {Choice{Units: []string{"nginx.service"}}, "abch"},
		"units":                {Choice{Units: []string{"nginx.service", "getty@tty1.service"}}, "abcdh"},
		"a glob":               {Choice{Units: []string{"getty@*", "no*.service"}}, "d"},
		"a glob and a name":    {Choice{Units: []string{"getty@*", "nginx.service"}}, "abcdh"},
		"a name with an \\":    {Choice{Units: []string{`dev-disk\x2da.mount`}}, "f"},
		"without a unit":       {Choice{ExcludeUnits: []string{"nginx.*"}}, "defg"},
		"units, but for one":   {Choice{Units: []string{"nginx.service", "getty@tty1.service"}, ExcludeUnits: []string{"nginx.service"}}, "d"},
		"an identifier":        {Choice{Identifiers: []string{"kernel", "agetty"}}, "dg"},
		"a priority":           {Choice{Priority: 4}, "bfg"},
		"a unit and priority":  {Choice{Priority: 4, Units: []string{"nginx.service"}}, "b"},
		"a match":              {Choice{Matches: []string{"PRIORITY=5", "PRIORITY=7"}}, "de"},
		"no entry that's kept": {Choice{Units: []string{"nosuch*"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.Directory = dir
			r := newRig(t, c.Choice)
			r.read(len(c.want))
			r.quiet(len(c.want))
			if all := strings.Join(texts(r.got), ""); all != c.want {
				t.Errorf("%q, want %q", all, c.want)
			}
		})
	}
}

func TestLabels(t *testing.T) {
	var i imported
	i.add(1, "MESSAGE", "a", "_SYSTEMD_UNIT", "nginx.service", "SYSLOG_IDENTIFIER", "nginx", "PRIORITY", "3", "_HOSTNAME", "web1")
	i.add(1, "MESSAGE", "b", "_SYSTEMD_UNIT", "session-42.scope", "SYSLOG_IDENTIFIER", "sudo", "PRIORITY", "9")
	i.add(1, "MESSAGE", "c")
	r := newRig(t, Choice{Directory: i.make(t)})
	var shown []string
	for _, g := range r.read(3) {
		shown = append(shown, g.text+" "+g.labels+" "+g.metadata.String())
	}
	want := []string{
		`a {host="web1", job="systemd-journal", level="error", unit="nginx.service"} {identifier="nginx"}`,
		`b {host="here", job="systemd-journal", unit="session.scope"} {full_unit="session-42.scope", identifier="sudo"}`,
		`c {host="here", job="systemd-journal"} {}`,
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Error(diff)
	}
}

func TestUnitsThatLiveForAMomentShareALabel(t *testing.T) {
	for unit, want := range map[string]string{
		"nginx.service": "nginx.service", "getty@tty1.service": "getty@tty1.service", "user@1000.service": "user@1000.service",
		"session-42.scope": "session.scope", "init.scope": "init.scope", "docker-0a1b.scope": "docker.scope",
		"run-u12.service": "run.service", "run-r0a1b.scope": "run.scope", "run-docker-netns-0a.mount": "run.mount",
		"systemd-coredump@7-1234-0.service": "systemd-coredump@.service", "sshd@3-10.0.0.1:22-10.0.0.2:7.service": "sshd@.service",
		"": "", "odd": "odd", `dev-disk\x2da.mount`: `dev-disk\x2da.mount`,
	} {
		if got := label(unit); got != want {
			t.Errorf("%q is shown as %q, want %q", unit, got, want)
		}
	}
}

// However many units there are, the streams are bounded.
func TestStreamsAreBounded(t *testing.T) {
	base := &record.Source{}
	base.Streams[0] = record.NewStream(record.Labels{{Name: "job", Value: "x"}}, nil)
	s := newSources(base, []string{LabelUnit, LabelIdentifier}, Choice{Priority: Least})
	keys := map[string]bool{}
	for n := range 3 * maxKept {
		e := entry{unit: fmt.Appendf(nil, "u%d.service", n), identifier: fmt.Appendf(nil, "i%d", n), level: -1}
		keys[s.of(&e).Streams[0].Key] = true
	}
	if len(keys) != maxStreams+1 || !keys[`{identifier="other", job="x", unit="other"}`] || len(s.made) > maxKept || len(s.keys) > maxStreams+1 {
		t.Errorf("%d streams, %d made, %d keys", len(keys), len(s.made), len(s.keys))
	}
}

func TestLongEntriesAreCutAndThoseWithoutAMessageLeftOut(t *testing.T) {
	var i imported
	i.add(1, "MESSAGE", strings.Repeat("x", 1023)+"ö and more")
	i.add(1, "PRIORITY", "3")
	i.add(1, "MESSAGE", strings.Repeat("y", 200_000)+"\n")
	i.add(1, "MESSAGE", "two lines\n\n")
	i.add(1, "MESSAGE", "")
	r := newRig(t, Choice{Directory: i.make(t)})
	r.MaxLine = 1024
	all := r.read(4)
	want := []string{strings.Repeat("x", 1023), strings.Repeat("y", 1024), "two lines", ""}
	if diff := cmp.Diff(want, texts(all)); diff != "" {
		t.Error(diff)
	}
	cut := slices.Collect(func(yield func(bool) bool) {
		for _, g := range all {
			if !yield(g.cut) {
				return
			}
		}
	})
	if diff := cmp.Diff([]bool{true, true, false, false}, cut); diff != "" || r.Stats.Truncated.Load() != 2 || r.Stats.Silent.Load() != 1 {
		t.Error(diff, r.Stats.Truncated.Load(), r.Stats.Silent.Load())
	}
}

// A reader that is left, and goes on, has what it held back once.
func TestWhatIsHeldWhenAReaderIsLeftComesOnce(t *testing.T) {
	var i imported
	for n := range 5 {
		i.add(1, "MESSAGE", fmt.Sprint(n), "_SYSTEMD_UNIT", fmt.Sprintf("u%d.service", n))
	}
	r := newRig(t, Choice{Directory: i.make(t)})
	r.read(1)
	r.reader.Leave()
	r.read(5)
	r.quiet(5)
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, texts(r.got)); diff != "" || r.lost != 0 {
		t.Error(diff, r.lost)
	}
}
