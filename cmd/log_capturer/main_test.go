package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// command runs a command line and returns its exit code and what it printed.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	code = execute(t.Context(), root, &errs)
	return code, out.String(), errs.String()
}

// Every file in testdata is wrong; its lines "# want: …" are the exact errors.
func TestEveryMistakeHasItsMessage(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for line := range strings.Lines(string(text)) {
				if message, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(message))
				}
			}
			code, stdout, stderr := command(t, "check", "--config", file)
			for line := range strings.Lines(stderr) {
				got = append(got, strings.TrimPrefix(strings.TrimSpace(line), "error: "+file+":"))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s\nall:\n# want: %s", diff, strings.Join(got, "\n# want: "))
			}
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
		})
	}
}

func TestWrongUsageIsOneSentenceAndExitCode2(t *testing.T) {
	for args, want := range map[string]string{
		"chek":                      `unknown command "chek" (did you mean "check"?); see 'log_capturer --help'`,
		"frobnicate":                `unknown command "frobnicate"; see 'log_capturer --help'`,
		"check --nope":              "unknown flag: --nope; see 'log_capturer check --help'",
		"run now":                   `unknown command "now" for "log_capturer run"; see 'log_capturer run --help'`,
		"check --json --schema":     "--print, --schema and --json exclude each other, give one of them; see 'log_capturer check --help'",
		"doctor --for 5":            "--for \"5\": expected a duration from 100ms to 10m; see 'log_capturer doctor --help'",
		"doctor --for 1h":           "--for \"1h\": expected a duration from 100ms to 10m; see 'log_capturer doctor --help'",
		"doctor --container [":      "--container \"[\" is no glob; use *, ?, [a-z] and {a,b}; see 'log_capturer doctor --help'",
		"doctor -c testdata/none":   "testdata/none: no such file; give an existing one, or none to run with the defaults",
		"deadletter lst":            `unknown command "lst" (did you mean "ls"?); see 'log_capturer deadletter --help'`,
		"deadletter ls --source [":  "--source \"[\": not understood: it is no glob; use *, ** (also through /), ?, [a-z] and {a,b}; see 'log_capturer deadletter ls --help'",
		"deadletter show --limit 0": "--limit 0: expected 1 to 10000; see 'log_capturer deadletter show --help'",
		"check --config":            "flag needs an argument: --config; see 'log_capturer check --help'",
		"check -c testdata/none":    "testdata/none: no such file; give an existing one, or none to run with the defaults",
		"run -c testdata/log.yaml":  "testdata/log.yaml:1:7: log.level: got \"verbose\"; expected debug, info, warn or error\nerror: testdata/log.yaml:1:23: log.format: got \"xml\"; expected text or json",
	} {
		code, stdout, stderr := command(t, strings.Fields(args)...)
		if code != exitUsage || stdout != "" || stderr != "error: "+want+"\n" {
			t.Errorf("%s: exit code %d, stdout %q, stderr:\n%s", args, code, stdout, stderr)
		}
	}
}

func TestEveryVerbHasHelpWithAnExample(t *testing.T) {
	verbs := []string{""}
	for _, verb := range newRoot().Commands() {
		verbs = append(verbs, verb.Name())
		for _, below := range verb.Commands() {
			verbs = append(verbs, verb.Name()+" "+below.Name())
		}
	}
	for _, verb := range verbs {
		code, stdout, stderr := command(t, strings.Fields(verb+" --help")...)
		if code != exitDone || stderr != "" || !strings.Contains(stdout, "Examples:\n  ") || !strings.Contains(stdout, "--config FILE") {
			t.Errorf("%q: exit code %d, stderr %q, stdout:\n%s", verb, code, stderr, stdout)
		}
	}
}

func TestCompletionScriptsComeFromCobra(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, stdout, _ := command(t, "completion", shell); code != exitDone || !strings.Contains(stdout, "log_capturer") {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(stdout))
		}
	}
}

func TestWhichConfigurationIsRead(t *testing.T) {
	all := func(string) bool { return true }
	none := func(string) bool { return false }
	second := func(path string) bool { return path == "/etc/log_capturer/log_capturer.yaml" }
	env := func(name string) (string, bool) { return "from-env.yaml", name == "LOG_CAPTURER_CONFIG" }
	noEnv := func(string) (string, bool) { return "", false }
	for _, c := range []struct{ got, want string }{
		{findConfig("flag.yaml", env, all), "flag.yaml"},
		{findConfig("", env, all), "from-env.yaml"},
		{findConfig("", env, none), "from-env.yaml"},
		{findConfig("", noEnv, all), "./log_capturer.yaml"},
		{findConfig("", noEnv, second), "/etc/log_capturer/log_capturer.yaml"},
		{findConfig("", noEnv, none), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q; want %q", c.got, c.want)
		}
	}
}

func TestCheckSaysWhatIsValid(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("log_capturer.yaml", []byte("sinks: {loki: {url: 'http://${LOKI_TEST_HOST}:3100'}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOKI_TEST_HOST", "loki.example")
	t.Setenv("LOG_CAPTURER_CONFIG", "")
	code, stdout, stderr := command(t, "check")
	if code != exitDone || stdout != "configuration is valid: ./log_capturer.yaml\n" || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	code, stdout, _ = command(t, "check", "--print")
	if code != exitDone || !strings.Contains(stdout, "url: http://loki.example:3100\n") || strings.Contains(stdout, "local_file") {
		t.Errorf("exit code %d, stdout:\n%s", code, stdout)
	}
	t.Setenv("LOG_CAPTURER_CONFIG", "none.yaml")
	if code, _, stderr = command(t, "check"); code != exitUsage || !strings.HasPrefix(stderr, "error: none.yaml: no such file") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestCheckJSON(t *testing.T) {
	code, stdout, stderr := command(t, "check", "--json", "-c", "testdata/listen_remote.yaml")
	var result checkResult
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	if code != exitUsage || stderr != "" || result.Valid || len(result.Errors) != 1 {
		t.Fatalf("exit code %d, stderr %q, %+v", code, stderr, result)
	}
	if e := result.Errors[0]; e.File != "testdata/listen_remote.yaml" || e.Line != 2 || e.Column != 3 || e.Path != "server.listen" {
		t.Errorf("got %+v", e)
	}
	good := filepath.Join(t.TempDir(), "good.yaml")
	if err := os.WriteFile(good, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ = command(t, "check", "--json", "-c", good)
	if code != exitDone || !strings.Contains(stdout, `"valid": true`) || !strings.Contains(stdout, `"errors": []`) {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
}

func TestCheckSchemaNeedsNoFile(t *testing.T) {
	code, stdout, stderr := command(t, "check", "--schema", "-c", "none.yaml")
	var schema map[string]any
	if err := json.Unmarshal([]byte(stdout), &schema); err != nil || code != exitDone || stderr != "" {
		t.Errorf("exit code %d, stderr %q, %v", code, stderr, err)
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := command(t, "version", "--json")
	var info app.BuildInfo
	if err := json.Unmarshal([]byte(stdout), &info); err != nil || code != exitDone || stderr != "" {
		t.Fatalf("exit code %d, stderr %q, %v", code, stderr, err)
	}
	if info.Version == "" || info.Commit == "" || !strings.HasPrefix(info.Go, "go") || len(info.Features) == 0 {
		t.Errorf("got %+v", info)
	}
	if _, stdout, _ = command(t, "version"); !strings.HasPrefix(stdout, "log_capturer ") || strings.Count(stdout, "\n") != 4 {
		t.Errorf("got %q", stdout)
	}
}

func TestWhereTheVersionComesFrom(t *testing.T) {
	build := &debug.BuildInfo{
		Main:     debug.Module{Version: "v1.0.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "abc"}},
	}
	if got := describeBuild("v2.0.0", build); got.Version != "v2.0.0" || got.Commit != "abc+dirty" {
		t.Errorf("got %+v", got)
	}
	if got := describeBuild("", build); got.Version != "v1.0.0" {
		t.Errorf("got %+v", got)
	}
	if got := describeBuild("", nil); got.Version != "(devel)" || got.Commit != "unknown" {
		t.Errorf("got %+v", got)
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	var out bytes.Buffer
	printError(&out, "x")
	if out.String() != "error: x\n" {
		t.Errorf("got %q", out.String())
	}
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !isTerminal(terminal) {
		t.Error("no colours on a terminal")
	}
	t.Setenv("NO_COLOR", "1")
	if isTerminal(terminal) {
		t.Error("colours despite NO_COLOR")
	}
}
