package localfile

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/units"
	"pgregory.net/rapid"
)

func TestHostileNamesBecomeFileNames(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"web", "web"},
		{"web_1.example-2", "web_1.example-2"},
		{"käse", "käse"},
		{"", "_"},
		{"_", "_~"},
		{".", "_~"},
		{"..", "_.~"},
		{"../../etc/passwd", "_._.._etc_passwd~"},
		{"/var/log/app.log", "_var_log_app.log~"},
		{`a\b`, "a_b~"},
		{"a\x00b", "a_b~"},
		{"a\nb", "a_b~"},
		{"a\x1b[2Jb", "a__2Jb~"},
		{"a b", "a_b~"},
		{"a~0123456789ab", "a_0123456789ab~"},
		{"\xff\xfe", "__~"},
		{"\u202egol.exe", "_gol.exe~"},
		{".hidden", "_hidden~"},
		{strings.Repeat("x", 64<<10), strings.Repeat("x", maxValue) + "~"},
		{strings.Repeat("ä", 500), strings.Repeat("ä", maxValue/2) + "~"},
	} {
		got := string(appendSafe(nil, c.name))
		base, hash, changed := strings.Cut(got, "~")
		if changed {
			base += "~"
		}
		if base != c.want || changed && len(hash) != 12 {
			t.Errorf("%.40q became %q, want %q and a hash", c.name, got, c.want)
		}
	}
}

func TestTwoNamesNeverShareAFileAndNoneLeavesTheDirectory(t *testing.T) {
	tmpl, err := parseTemplate("{data_dir}/logs/{date}/{source}{stream}.log", "/data")
	if err != nil {
		t.Fatal(err)
	}
	hostile := rapid.StringOf(rapid.SampledFrom([]rune("ab._-~/\\\n\x00 ä20260304T.1zst")))
	name := rapid.OneOf(hostile, rapid.String(), rapid.Just("app.log-20260102T030405.1"),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Map(hostile, func(s string) string { return strings.Repeat(s, 100) }))
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		pa := tmpl.render(source(a), record.Stdout, noon.UnixNano())
		pb := tmpl.render(source(b), record.Stdout, noon.UnixNano())
		if (a == b) != (pa == pb) {
			t.Fatalf("%q and %q have %q and %q", a, b, pa, pb)
		}
		if !filepath.IsLocal(pa) || strings.Count(pa, "/") != 1 || !utf8.ValidString(pa) || len(filepath.Base(pa)) > maxComponent {
			t.Fatalf("%q has %q", a, pa)
		}
		if _, rotated := parseRotated(filepath.Base(pa)); rotated {
			t.Fatalf("%q looks like an ended file: %q", a, pa)
		}
	})
}

func TestANameLikeThatOfAnEndedFileIsChanged(t *testing.T) {
	tmpl, err := parseTemplate("{data_dir}/{source}", "/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a-20260102T030405.1", "a-20260102T030405.1.zst", "a-20260102T030405.1.gz.tmp"} {
		got := tmpl.render(source(name), record.Stdout, 0)
		if _, rotated := parseRotated(got); rotated || got == name {
			t.Errorf("%s became %s", name, got)
		}
	}
}

func TestALongComponentIsCut(t *testing.T) {
	tmpl, err := parseTemplate("{data_dir}/{source}{kind}{label:app}.log", "/data")
	if err != nil {
		t.Fatal(err)
	}
	src := source(strings.Repeat("n", 99))
	src.Kind = strings.Repeat("k", 99)
	one := tmpl.render(src, record.Stdout, 0)
	src.Kind = strings.Repeat("k", 98)
	two := tmpl.render(src, record.Stdout, 0)
	if len(one) > maxComponent || len(two) > maxComponent || one == two {
		t.Errorf("%q, %q", one, two)
	}
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"{data_dir}/logs/{date}/{source}.log", ""},
		{"/var/log/captured/all.log", ""},
		{"{data_dir}/x{label:app}y.log", ""},
		{"", "not absolute"},
		{"logs/{source}", "not absolute"},
		{"{data_dir}", "not absolute"},
		{"{data_dir}x/y", "not absolute"},
		{"/logs/{data_dir}/x", "only be at the beginning"},
		{"{data_dir}/{source}/", "names a directory"},
		{"/", "names a directory"},
		{"{data_dir}/../{source}", `goes through ".."`},
		{"/a/./b", `goes through "."`},
		{"{data_dir}/{sauce}", "no placeholder {sauce}"},
		{"{data_dir}/{source", "no closing }"},
		{"{data_dir}/source}", "cannot be in a path"},
		{"{data_dir}/a\nb", "cannot be in a path"},
		{"{data_dir}/{label}", "needs the label's name"},
		{"{data_dir}/{date:utc}", "takes no argument"},
	} {
		cfg := DefaultConfig()
		cfg.Path = c.path
		errs := cfg.Validate()
		switch {
		case c.want == "" && len(errs) > 0:
			t.Errorf("%q: %v", c.path, errs)
		case c.want != "" && (len(errs) != 1 || errs[0].Path != "path" || !strings.Contains(errs[0].Msg, c.want)):
			t.Errorf("%q: %v, want %s", c.path, errs, c.want)
		}
	}
}

func TestTheFixedDirectory(t *testing.T) {
	for text, want := range map[string]string{
		"{data_dir}/logs/{date}/{source}.log": "/data/logs",
		"{data_dir}/all.log":                  "/data",
		"/var//log/x/{source}.log":            "/var/log/x",
		"/{source}/a/b":                       "/",
	} {
		tmpl, err := parseTemplate(text, "/data")
		if err != nil || tmpl.dir != want {
			t.Errorf("%s: %s, %v", text, tmpl.dir, err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	c := DefaultConfig()
	c.Format = "xml"
	r := Rotate{MaxBytes: -1, Every: 5, Compress: "lzma", Keep: units.Duration(-1)}
	var got []string
	for _, e := range append(c.Validate(), r.Validate()...) {
		got = append(got, e.Path)
	}
	if diff := cmp.Diff([]string{"format", "compress", "max_bytes", "every", "keep"}, got); diff != "" {
		t.Error(diff)
	}
	c = DefaultConfig()
	if errs := append(c.Validate(), c.Rotate.Validate()...); len(errs) > 0 {
		t.Errorf("the defaults: %v", errs)
	}
	c.Rotate.Compress = "rar"
	if _, err := New(c, sink.Deps{Name: "x"}); err == nil || !strings.Contains(err.Error(), "compress") {
		t.Errorf("New: %v", err)
	}
}

func TestGlobsNameWhatASinkWritesAndNothingElse(t *testing.T) {
	long := strings.Repeat("long", 100)
	for text, names := range map[string]struct{ own, others []string }{
		"/var/log/all.log": {
			[]string{"/var/log/all.log", "/var/log/all.log-20260102T150405.1.zst"},
			[]string{"/var/log/syslog", "/var/log/all.log.1", "/var/log/app/all.log"},
		},
		"{data_dir}/out/{date}/{source}.log": {
			[]string{"/data/out/2026-01-02/web.log", "/data/out/2026-01-02/web.log-20260102T150405.1", "/data/out/2026-01-02/" + string(capComponent([]byte(long+".log"), 0))},
			[]string{"/data/out/web.log", "/data/positions.json"},
		},
		"/srv/[a]/{source}": {[]string{"/srv/[a]/web"}, []string{"/srv/a/web"}},
	} {
		matches := func(name string) bool {
			return slices.ContainsFunc(Globs(text, "/data"), func(glob string) bool {
				ok, err := path.Match(glob, name)
				if err != nil {
					t.Fatal(err)
				}
				return ok
			})
		}
		for _, name := range names.own {
			if !matches(name) {
				t.Errorf("%s: %s is not named by %q", text, name, Globs(text, "/data"))
			}
		}
		for _, name := range names.others {
			if matches(name) {
				t.Errorf("%s: %s is named by %q", text, name, Globs(text, "/data"))
			}
		}
	}
}
