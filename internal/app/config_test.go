package app

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/localfile"
	"github.com/logcapturer/log_capturer/internal/sink/loki"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

var update = flag.Bool("update", false, "write docs/configuration.md and docs/configuration.schema.json anew")

const (
	referenceFile = "../../docs/configuration.md"
	schemaFile    = "../../docs/configuration.schema.json"
)

func load(t *testing.T, text string, env map[string]string) (Config, error) {
	t.Helper()
	loader := config.Loader{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	c := DefaultConfig()
	return c, loader.Parse("test.yaml", []byte(text), &c)
}

func mustLoad(t *testing.T, text string, env map[string]string) Config {
	t.Helper()
	c, err := load(t, text, env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheEmptyFileIsValid(t *testing.T) {
	c := mustLoad(t, "", nil)
	if c.ContainerMonitor.DockerHost != "unix:///var/run/docker.sock" || c.ContainerMonitor.Read != source.Auto {
		t.Errorf("got %+v", c.ContainerMonitor)
	}
	if c.Dispatcher.Memory != 64*units.MiB || c.ShutdownTimeout.Std() != 10*time.Second || c.Server.Listen != "127.0.0.1:8001" {
		t.Errorf("got %+v", c)
	}
	if _, ok := c.Sinks["local_file"].Settings.(*localfile.Config); !ok || len(c.Sinks) != 1 {
		t.Errorf("without sinks, got %+v", c.Sinks)
	}
}

func TestTheDataDirectoryDependsOnTheUser(t *testing.T) {
	if got := defaultDataDir(0); got != "/var/lib/log_capturer" {
		t.Errorf("root gets %q", got)
	}
	if got := defaultDataDir(1000); got != "./data" {
		t.Errorf("others get %q", got)
	}
}

func TestDockerHostComesFromTheFileThenTheEnvironment(t *testing.T) {
	env := map[string]string{"DOCKER_HOST": "tcp://127.0.0.1:2375"}
	if c := mustLoad(t, "", env); c.ContainerMonitor.DockerHost != "tcp://127.0.0.1:2375" {
		t.Errorf("got %q", c.ContainerMonitor.DockerHost)
	}
	c := mustLoad(t, "container_monitor: {docker_host: unix:///x.sock}", env)
	if c.ContainerMonitor.DockerHost != "unix:///x.sock" {
		t.Errorf("got %q", c.ContainerMonitor.DockerHost)
	}
}

func TestASinksTypeDefaultsToItsName(t *testing.T) {
	c := mustLoad(t, "sinks:\n  loki: {tenant: a}\n  second: {type: loki, url: 'http://second:3100'}\n  local_file:\n", nil)
	first, ok := c.Sinks["loki"].Settings.(*loki.Config)
	if !ok || first.Tenant != "a" || first.URL != loki.DefaultConfig().URL {
		t.Errorf("got %+v", c.Sinks["loki"].Settings)
	}
	second, ok := c.Sinks["second"].Settings.(*loki.Config)
	if !ok || second.URL != "http://second:3100" || c.Sinks["second"].Type != "loki" {
		t.Errorf("got %+v", c.Sinks["second"].Settings)
	}
	if _, ok := c.Sinks["local_file"].Settings.(*localfile.Config); !ok {
		t.Errorf("got %+v", c.Sinks["local_file"])
	}
	if len(c.Sinks) != 3 {
		t.Errorf("the default sink was added to %+v", c.Sinks)
	}
}

func TestWordsOfDeliveryAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"dispatcher: {spool: {when_full: block}}":        "dispatcher.spool.when_full",
		"dispatcher: {rate_limit: {policy: slow}}":       "dispatcher.rate_limit.policy",
		"sinks: {loki: {delivery: maybe}}":               "sinks.loki.delivery",
		"sinks: {x: {type: local_file, delivery: none}}": "sinks.x.delivery",
	} {
		if _, err := load(t, text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error at %s", text, err, want)
		}
	}
	c := mustLoad(t, "sinks: {loki: {delivery: best_effort}, local_file: }", nil)
	if c.Sinks["loki"].Delivery() != sink.BestEffort || c.Sinks["local_file"].Delivery() != sink.Required {
		t.Errorf("got %v and %v", c.Sinks["loki"].Delivery(), c.Sinks["local_file"].Delivery())
	}
}

func TestSinceIsAMoment(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for text, want := range map[string]time.Time{"start": {}, "now": now, "10m": now.Add(-10 * time.Minute)} {
		c := mustLoad(t, "file_monitor: {since: "+text+"}", nil)
		if got := c.FileMonitor.Since.Time(now); !got.Equal(want) || c.FileMonitor.Since.String() != text {
			t.Errorf("%s: got %v and %q", text, got, c.FileMonitor.Since)
		}
	}
}

func TestEverySinkTypeHasSettings(t *testing.T) {
	for _, typ := range SinkTypes() {
		var s Sink
		if err := s.Select(typ); err != nil || s.Settings == nil || s.Type != typ {
			t.Errorf("%s: got %+v, %v", typ, s, err)
		}
	}
}

func TestThePrintedConfigurationReadsTheSame(t *testing.T) {
	c := mustLoad(t, "sinks: {loki: , other: {type: local_file}}\nfile_monitor: {since: 7d}", nil)
	printed, err := config.Print(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Print(mustLoad(t, string(printed), nil))
	if err != nil || string(again) != string(printed) {
		t.Errorf("%v\nfirst:\n%s\nthen:\n%s", err, printed, again)
	}
}

func TestTheSchemaFileIsUpToDate(t *testing.T) {
	want, err := ConfigSchema()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, schemaFile, string(want))
}

// The reference stands between two marks; the text around it is written by hand.
func TestTheReferenceIsUpToDate(t *testing.T) {
	const begin, end = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"
	old, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(old), begin)
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no marks %q and %q", referenceFile, begin, end)
	}
	compare(t, referenceFile, head+begin+reference()+end+tail)
}

// compare fails when the file is not what was generated, or writes it with -update.
func compare(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is out of date (%v); run: go test ./internal/app -run UpToDate -update", path, err)
	}
}

// reference writes one table for every section of the configuration.
func reference() string {
	c := DefaultConfig()
	c.DataDir = defaultDataDir(0)
	sections := map[string][]config.Key{}
	order := []string{""}
	for _, key := range config.Reference(&c, "") {
		section, _, nested := strings.Cut(key.Path, ".")
		if !nested {
			section = ""
		} else if _, known := sections[section]; !known {
			order = append(order, section)
		}
		sections[section] = append(sections[section], key)
	}
	for _, typ := range SinkTypes() {
		section := "sinks." + typ
		order = append(order, section)
		sections[section] = config.Reference(newSinkSettings(typ), section)
	}
	var b strings.Builder
	for _, section := range order {
		title := "`" + section + "`"
		if section == "" {
			title = "Top level"
		}
		b.WriteString("\n## " + title + "\n\n" + config.Markdown(sections[section]))
	}
	return b.String() + "\n"
}

func TestEveryKeyIsDescribed(t *testing.T) {
	c := DefaultConfig()
	keys := config.Reference(&c, "")
	for _, typ := range SinkTypes() {
		keys = append(keys, config.Reference(newSinkSettings(typ), "sinks."+typ)...)
	}
	for _, key := range keys {
		if key.Description == "" || key.Type == "" {
			t.Errorf("%s has no description or type: give its field a jsonschema_description tag", key.Path)
		}
	}
}
