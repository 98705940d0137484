package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/logcapturer/log_capturer/internal/units"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The structs below have every shape that a component's Config may have.

type root struct {
	Name     string            `yaml:"name" jsonschema_description:"What it is called, for short."`
	Enabled  bool              `yaml:"enabled"`
	Count    int               `yaml:"count"`
	Unsigned uint16            `yaml:"unsigned"`
	Ratio    float64           `yaml:"ratio"`
	Wait     units.Duration    `yaml:"wait"`
	Size     units.Size        `yaml:"size"`
	Secret   units.Secret      `yaml:"secret"`
	List     []string          `yaml:"list"`
	Map      map[string]string `yaml:"map"`
	Server   server            `yaml:"server" jsonschema:"description=A server\\, with a comma"`
	Hosts    []server          `yaml:"hosts"`
	Things   map[string]thing  `yaml:"things"`
	Ignored  string            `yaml:"-"`
	Common   `yaml:",inline"`
}

type Common struct {
	Mode string `yaml:"mode" jsonschema:"enum=fast,enum=slow"`
}

type server struct {
	Host    string `yaml:"host"`
	Port    int    `yaml:"port"`
	KeyFile string `yaml:"key_file"`
}

func (r root) Validate() []units.FieldError {
	if r.Name == "forbidden" {
		return []units.FieldError{units.Errorf("name", "forbidden; use another"), units.Errorf("", "the whole is wrong")}
	}
	return nil
}

func (s *server) Validate() []units.FieldError {
	if s.Port > 65535 {
		return []units.FieldError{units.Errorf("port", "%d is no port; expected at most 65535", s.Port)}
	}
	if s.Host == "needs-port" {
		return []units.FieldError{units.Errorf("port", "missing; give one")}
	}
	return nil
}

type circle struct {
	Radius units.Size `yaml:"radius"`
}

type square struct {
	Side int `yaml:"side"`
}

type thing struct {
	typ      string
	settings any
}

func (t *thing) Select(typ string) error {
	t.typ = typ
	switch typ {
	case "circle":
		t.settings = &circle{Radius: 1}
	case "square":
		t.settings = &square{Side: 1}
	default:
		return fmt.Errorf("no such type %q; %s", typ, suggest(typ, []string{"circle", "square"}))
	}
	return nil
}

func (t *thing) Selected() (string, any) { return t.typ, t.settings }

func defaults() root {
	return root{
		Name: "default", Enabled: true, Count: -1, Ratio: 0.5, Wait: units.Duration(time.Minute), Size: units.MiB,
		List: []string{"one"}, Server: server{Host: "localhost", Port: 80}, Common: Common{Mode: "fast"},
	}
}

func testEnv(name string) (string, bool) {
	value, set := map[string]string{
		"WORD": "word", "NUMBER": "17", "EMPTY": "", "TRUE": "true", "NESTED": "${WORD}", "LINES": "a: b\n- c",
	}[name]
	return value, set
}

func parse(text string) (root, error) {
	c := defaults()
	return c, Loader{Env: testEnv}.Parse("test.yaml", []byte(text), &c)
}

// Every file in testdata is wrong; its lines "# want: …" are the exact errors.
func TestEveryMistakeHasItsMessage(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if message, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(message))
				}
			}
			c := defaults()
			err = Loader{Env: testEnv}.Load(file, &c)
			var mistakes Errors
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v; want Errors", err)
			}
			var got []string
			for _, mistake := range mistakes {
				got = append(got, strings.TrimPrefix(mistake.Error(), file+":"))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s\nall:\n# want: %s", diff, strings.Join(got, "\n# want: "))
			}
		})
	}
}

func TestEmptyFilesKeepTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "---\n...\n", "{}", "null", "~\n", "\ufeff", "name:\nserver:\nlist: ~\nwait: null\n"} {
		got, err := parse(text)
		if err != nil || !reflect.DeepEqual(got, defaults()) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestValuesAreRead(t *testing.T) {
	got, err := parse(`
name: 007          # a number where text is wanted is taken as it is written
enabled: false
count: -5
unsigned: 65535
ratio: 1
wait: 1h
size: 4096
secret: hunter2
list: [a, "true", 1.10]
map: {"x.y": z, a: ""}
server: &server {host: h}
hosts: [*server, {port: 1}]
mode: slow
things:
  circle: {radius: 1k}
  mine: {side: 2, type: square}
  square:
`)
	if err != nil {
		t.Fatal(err)
	}
	want := root{
		Name: "007", Count: -5, Unsigned: 65535, Ratio: 1, Wait: units.Duration(time.Hour), Size: 4096, Secret: units.NewSecret("hunter2"),
		List: []string{"a", "true", "1.10"}, Map: map[string]string{"x.y": "z", "a": ""}, Server: server{Host: "h", Port: 80},
		Hosts: []server{{Host: "h"}, {Port: 1}}, Common: Common{Mode: "slow"},
		Things: map[string]thing{"circle": {"circle", &circle{1000}}, "mine": {"square", &square{2}}, "square": {"square", &square{1}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestVariablesAreExpanded(t *testing.T) {
	for value, want := range map[string]string{
		"${WORD}": "word", "a${WORD}b${NUMBER}": "awordb17", "${EMPTY}": "", "${EMPTY:-x}": "x", "${NONE:-x y}": "x y",
		"${NONE:-}": "", "${WORD:-x}": "word", "$$": "$", "$${WORD}": "${WORD}", "$WORD": "$WORD", "a$": "a$", "$$$${": "$${",
		"${NESTED}": "${WORD}", "'${LINES}'": "a: b\n- c", "${NONE:-a:-b}": "a:-b",
	} {
		got, err := parse("name: " + value)
		if err != nil || got.Name != want {
			t.Errorf("%s: got %q, %v; want %q", value, got.Name, err, want)
		}
	}
	got, err := parse("count: ${NUMBER}\nenabled: \"${TRUE}\"\nwait: ${NUMBER}m\nsize: ${NUMBER}\nratio: '${NUMBER}'\nthings: {a: {type: '${NONE:-circle}'}}")
	if err != nil || got.Count != 17 || !got.Enabled || got.Wait != units.Duration(17*time.Minute) || got.Size != 17 || got.Ratio != 17 || got.Things["a"].typ != "circle" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheProcessEnvironmentIsTheDefault(t *testing.T) {
	t.Setenv("LOG_CAPTURER_TEST_NAME", "from the environment")
	c := defaults()
	if err := (Loader{}).Parse("test.yaml", []byte("name: ${LOG_CAPTURER_TEST_NAME}"), &c); err != nil || c.Name != "from the environment" {
		t.Errorf("got %q, %v", c.Name, err)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# comment\n", maxFile/10+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"testdata/none.yaml": "testdata/none.yaml: no such file; give an existing one, or none to run with the defaults",
		"testdata":           "testdata: cannot read the file: is a directory; give a YAML file",
		large:                large + ": larger than 4MiB; that is no configuration file",
	} {
		c := defaults()
		if err := (Loader{}).Load(path, &c); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if err := (Loader{}).Parse("x", nil, defaults()); err == nil {
		t.Error("a struct that cannot be filled was accepted")
	}
}

type completed struct {
	Name string `yaml:"name"`
}

func (c *completed) Complete(env Environment) { c.Name, _ = env("WORD") }

func (c completed) Validate() []units.FieldError {
	return []units.FieldError{units.Errorf("name", "got %s", c.Name)}
}

func TestDefaultsAreCompletedThenValidated(t *testing.T) {
	err := Loader{Env: testEnv}.Load("", &completed{})
	if err == nil || err.Error() != "name: got word" {
		t.Errorf("got %v", err)
	}
}

func TestControlCharactersAreAnError(t *testing.T) {
	if _, err := parse("name: \x01"); err == nil || !strings.HasPrefix(err.Error(), "test.yaml:1:1: not valid YAML: control characters") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsAreSortedAndOnce(t *testing.T) {
	e := Errors{{Line: 2, Column: 1}, {Line: 1, Column: 5}, {Line: 1, Column: 2}, {Line: 2, Column: 1}}.sort()
	if !slices.Equal(e, Errors{{Line: 1, Column: 2}, {Line: 1, Column: 5}, {Line: 2, Column: 1}}) {
		t.Errorf("got %v", e)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"listen", "pprof", "max_bytes", "on"}
	for word, want := range map[string]string{
		"lsten": "listen", "Listen": "listen", "lisetn": "listen", "maxbytes": "max_bytes", "prof": "pprof",
		"quite_another": "", "": "", "no": "on", strings.Repeat("x", 1000): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%.20q) = %q; want %q", word, got, want)
		}
	}
}

// Whatever the file holds, loading ends with a value or with Errors that have a place.
func FuzzLoader(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a [*a]\nthings: {x: &x {type: *x}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := defaults()
		err := Loader{Env: testEnv}.Parse("test.yaml", text, &c)
		if err == nil {
			if _, err := Print(c); err != nil {
				t.Errorf("what was read cannot be printed: %v", err)
			}
			return
		}
		var mistakes Errors
		if !errors.As(err, &mistakes) || len(mistakes) == 0 {
			t.Fatalf("got %T %v", err, err)
		}
		for _, mistake := range mistakes {
			if mistake.Line < 1 || mistake.Column < 1 || mistake.Message == "" {
				t.Errorf("no place or message: %+v", mistake)
			}
		}
	})
}
