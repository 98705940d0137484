package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/units"
)

func TestPrintWritesEveryKey(t *testing.T) {
	c := defaults()
	c.Secret = units.NewSecret("hunter2")
	c.Server.Host = "http://user:hunter2@host/path"
	c.Things = map[string]thing{"z": {"circle", &circle{1024}}, "a": {"square", &square{3}}}
	got, err := Print(&c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `name: default
enabled: true
count: -1
unsigned: 0
ratio: 0.5
wait: 1m
size: 1MiB
secret: '***'
list:
- one
map: {}
server:
  host: http://user:***@host/path
  port: 80
  key_file: ''
hosts: []
things:
  a:
    type: square
    side: 3
  z:
    type: circle
    radius: 1KiB
mode: fast
`
	if string(got) != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestPasswordsInURLsAreMasked(t *testing.T) {
	for text, want := range map[string]string{
		"http://u:p@h": "http://u:***@h", "http://u@h": "http://u@h", "http://h": "http://h", "u:p@h": "u:p@h",
		"http://u:@h": "http://u:@h", "mail: a@b://": "mail: a@b://", "http://u:p%40q@h/x@y": "http://u:***@h/x@y",
	} {
		if got := maskURL(text); got != want {
			t.Errorf("%q prints as %q; want %q", text, got, want)
		}
	}
}

// What is printed and read again is the same configuration, whatever text is in it.
func TestPrintedConfigurationReadsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`[a-z${}:\- #'"\n\t!&*]{0,12}`),
			rapid.SampledFrom([]string{"true", "null", "~", "1", "1.0", "${WORD}", "$$", "- a", "<<", "2026-01-01", "é☃", "0x1F", "no"}),
		)
		c := defaults()
		c.Name = text.Draw(t, "name")
		c.List = rapid.SliceOfN(text, 0, 3).Draw(t, "list")
		c.Map = rapid.MapOfN(text, text, 0, 3).Draw(t, "map")
		c.Count = rapid.Int().Draw(t, "count")
		c.Unsigned = rapid.Uint16().Draw(t, "unsigned")
		c.Ratio = rapid.Float64().Draw(t, "ratio")
		c.Size = units.Size(rapid.Int64Min(0).Draw(t, "size"))
		c.Hosts = []server{}
		c.Things = map[string]thing{"mine": {"square", &square{rapid.Int().Draw(t, "side")}}}
		if c.Name == "forbidden" {
			return
		}
		printed, err := Print(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(string(printed))
		if err != nil {
			t.Fatalf("%v\nprinted:\n%s", err, printed)
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("got  %+v\nwant %+v\nprinted:\n%s", got, c, printed)
		}
	})
}

func TestSchemaHasKeysDefaultsAndDescriptions(t *testing.T) {
	c := defaults()
	out, err := Schema(&c, "a title")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Schema, Title string
		Properties    map[string]struct {
			Type, Description    string
			Default              any
			Enum                 []string
			Properties           map[string]any
			AdditionalProperties any
		}
		AdditionalProperties bool
		Required             []string
	}
	if err := json.Unmarshal(bytes.Replace(out, []byte("$schema"), []byte("schema"), 1), &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Title != "a title" || !strings.Contains(schema.Schema, "2020-12") || schema.AdditionalProperties || len(schema.Required) > 0 {
		t.Errorf("the head is %q %q %v %v", schema.Title, schema.Schema, schema.AdditionalProperties, schema.Required)
	}
	p := schema.Properties
	for got, want := range map[string]string{
		p["name"].Description: "What it is called, for short.", p["server"].Description: "A server, with a comma",
		fmt.Sprint(p["size"].Default): "1MiB", fmt.Sprint(p["list"].Default): "[one]", fmt.Sprint(p["mode"].Enum): "[fast slow]",
		p["count"].Type: "integer", fmt.Sprint(p["server"].AdditionalProperties): "false",
	} {
		if got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
	if len(p) != 14 || len(p["server"].Properties) != 3 {
		t.Errorf("there are %d and %d properties", len(p), len(p["server"].Properties))
	}
}

func TestReference(t *testing.T) {
	c := defaults()
	rows := map[string]string{}
	for line := range strings.Lines(Markdown(Reference(&c, "x"))) {
		cells := strings.SplitN(line, " | ", 2)
		rows[cells[0]] = strings.TrimSpace(line)
	}
	for key, want := range map[string]string{
		"| `x.name`":        "| `x.name` | text | `default` | What it is called, for short. |",
		"| `x.enabled`":     "| `x.enabled` | true or false | `true` |  |",
		"| `x.wait`":        "| `x.wait` | duration | `1m` |  |",
		"| `x.list`":        "| `x.list` | list of text | `[\"one\"]` |  |",
		"| `x.map`":         "| `x.map` | map of name to text | `{}` |  |",
		"| `x.mode`":        "| `x.mode` | fast, slow | `fast` |  |",
		"| `x.server.port`": "| `x.server.port` | whole number | `80` |  |",
		"| `x.secret`":      "| `x.secret` | secret | `\"\"` |  |",
	} {
		if rows[key] != want {
			t.Errorf("got %q; want %q", rows[key], want)
		}
	}
}
