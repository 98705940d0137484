package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/source"
)

// schema is the part of an OpenAPI schema that the document uses.
type schema struct {
	Ref        string `yaml:"$ref"`
	Type       string
	Enum       []string
	Required   []string
	Properties map[string]*schema
	Additional any `yaml:"additionalProperties"`
	Items      *schema
}

type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct{ Schema *schema }
		}
	}
	Components struct{ Schemas map[string]*schema }
}

// served returns the document as the agent serves it.
func served(t *testing.T) document {
	t.Helper()
	code, body := get(t, Handler(Routes{}), "GET", "/api/v1/openapi.yaml")
	var d document
	if err := yaml.Load([]byte(body), &d, yaml.WithKnownFields(false)); err != nil || code != 200 || !strings.HasPrefix(d.OpenAPI, "3.") {
		t.Fatalf("%d, OpenAPI %q, %v", code, d.OpenAPI, err)
	}
	return d
}

func TestTheDescriptionHasEveryRouteAndNoOther(t *testing.T) {
	var want []string
	for _, r := range (Routes{Registry: prometheus.NewRegistry()}).table() {
		want = append(want, strings.ToLower(r.method)+" "+r.path)
	}
	var got []string
	for path, methods := range served(t).Paths {
		for method := range methods {
			got = append(got, method+" "+path)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("openapi.yaml (-routes +description):\n%s", diff)
	}
}

func TestRealAnswersAreAsDescribed(t *testing.T) {
	d, board := served(t), &health.Board{}
	board.Set("a", health.Degraded, "why")
	board.Set("b", health.Healthy, "")
	ready := false
	h := Handler(Routes{Registry: prometheus.NewRegistry(), Health: board.Report, Ready: func() bool { return ready }, Containers: someContainers, DeadLetters: someLetters(t), Reload: someReloads(), Resources: someResources, Components: &someComponents{}, Token: "secret"})
	for _, request := range []struct{ path, query, body string }{
		{path: "/"}, {path: "/metrics"}, {path: "/health"}, {path: "/ready"}, {path: "/api/v1/openapi.yaml"}, {path: PathResources},
		{path: "/api/v1/containers"}, {path: "/api/v1/containers", query: "?name=["},
		{path: office.PathList}, {path: office.PathList, query: "?sink=none"}, {path: office.PathList, query: "?source=["},
		{path: office.PathEntries}, {path: office.PathEntries, query: "?limit=0"},
		{path: office.PathReplay, body: `{"dry_run": true}`}, {path: office.PathReplay, body: `{"sink": "none"}`},
		{path: office.PathReplay, body: `{}`}, {path: office.PathReplay, body: `{"sinc": "loki"}`},
		{path: office.PathPurge, body: `{}`}, {path: office.PathPurge, body: `{"all": true}`},
		{path: PathReload, body: `{}`}, {path: PathReload, body: `{}`},
		{path: PathComponents}, {path: PathComponents + "/{name}", body: `{"running": false}`},
	} {
		method := "GET"
		if request.body != "" {
			method = "POST"
		}
		w := send(h, method, strings.ReplaceAll(request.path, "{name}", "canary")+request.query, request.body, "Authorization", "Bearer secret")
		response, ok := d.Paths[request.path][strings.ToLower(method)].Responses[fmt.Sprint(w.Code)]
		if !ok {
			t.Errorf("%s: code %d is not described", request.path, w.Code)
			continue
		}
		kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		content, ok := response.Content[kind]
		if !ok {
			t.Errorf("%s: answers with %s, described are %v", request.path, kind, slices.Collect(maps.Keys(response.Content)))
			continue
		}
		if kind != "application/json" {
			continue
		}
		var body any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range d.check(content.Schema, body, request.path) {
			t.Error(wrong)
		}
	}
}

func someResources() (ledger.Snapshot, error) {
	return ledger.Snapshot{
		Goroutines:  ledger.Goroutines{Owners: []ledger.GoroutineOwner{{Owner: "a", Oldest: time.Now()}}},
		Descriptors: ledger.Descriptors{Kinds: map[string]int{"socket": 1}},
		Heap:        ledger.Heap{Sites: []ledger.HeapSite{{}}},
		Held:        []ledger.Held{{Kind: "connection", Endpoint: "http://loki"}},
		Components:  []ledger.ComponentState{{Name: "canary"}},
	}, nil
}

// The fields of the answer and of the description are the same, both ways, whatever
// an example happens to leave out.
func TestEveryFieldIsDescribed(t *testing.T) {
	schemas := served(t).Components.Schemas
	for name, of := range map[string]reflect.Type{
		"Resources": reflect.TypeFor[ledger.Snapshot](), "Goroutines": reflect.TypeFor[ledger.Goroutines](),
		"GoroutineOwner": reflect.TypeFor[ledger.GoroutineOwner](), "Descriptors": reflect.TypeFor[ledger.Descriptors](),
		"Heap": reflect.TypeFor[ledger.Heap](), "HeapSite": reflect.TypeFor[ledger.HeapSite](),
		"Held":      reflect.TypeFor[ledger.Held](),
		"Container": reflect.TypeFor[source.Status](), "DeadLetterRequest": reflect.TypeFor[office.Request](),
		"DeadLetterGroups": reflect.TypeFor[office.Listing](), "DeadLetterGroup": reflect.TypeFor[office.Group](),
		"DeadLetters": reflect.TypeFor[office.Shown](), "DeadLetterPurge": reflect.TypeFor[office.Purged](),
		"Switch": reflect.TypeFor[Component](), "DeadLetterReplay": reflect.TypeFor[office.Replayed](), "DeadLetterSinkReplay": reflect.TypeFor[office.SinkReplay](),
	} {
		described := schemas[name]
		var want []string
		for _, f := range reflect.VisibleFields(of) {
			if f.Anonymous {
				continue
			}
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, field)
			if required := options == ""; required != slices.Contains(described.Required, field) {
				t.Errorf("%s.%s: always there is %v, the description says otherwise", name, field, required)
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(described.Properties))); diff != "" {
			t.Errorf("%s (-fields +description):\n%s", name, diff)
		}
	}
}

func TestTheCheckSeesWhatIsWrong(t *testing.T) {
	d := served(t)
	for _, body := range []string{
		`{"containers": 1}`, `{}`, `{"containers": [], "more": 1}`, `{"containers": [{}]}`, `{"containers": [{"id": 7}]}`,
	} {
		var value any
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Fatal(err)
		}
		if len(d.check(d.Components.Schemas["Containers"], value, "x")) == 0 {
			t.Errorf("%s passes", body)
		}
	}
}

// check returns how value differs from the schema.
func (d document) check(s *schema, value any, at string) (wrong []string) {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if s = d.Components.Schemas[name]; s == nil {
			return []string{at + ": there is no schema " + name}
		}
	}
	kind := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Float64: "number", reflect.Slice: "array", reflect.Map: "object",
	}[reflect.ValueOf(value).Kind()]
	if n, ok := value.(float64); ok && s.Type == "integer" && n == float64(int64(n)) {
		kind = "integer"
	}
	if kind != s.Type {
		return []string{fmt.Sprintf("%s: is %s, described as %s", at, kind, s.Type)}
	}
	switch v := value.(type) {
	case string:
		if s.Enum != nil && !slices.Contains(s.Enum, v) {
			wrong = append(wrong, fmt.Sprintf("%s: %q is none of %v", at, v, s.Enum))
		}
	case []any:
		for i, item := range v {
			wrong = append(wrong, d.check(s.Items, item, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				wrong = append(wrong, at+"."+name+": is missing")
			}
		}
		for name, field := range v {
			if s.Properties[name] != nil {
				wrong = append(wrong, d.check(s.Properties[name], field, at+"."+name)...)
			} else if s.Additional == false {
				wrong = append(wrong, at+"."+name+": is not described")
			}
		}
	}
	return wrong
}

// someReloads are one that works and one that does not.
func someReloads() func() ([]string, error) {
	n := 0
	return func() ([]string, error) {
		if n++; n == 1 {
			return []string{"sinks.loki.url"}, nil
		}
		return nil, errors.New("log_capturer.yaml:1:1: there is no such key")
	}
}

func TestAReloadNeedsNoBodyAndIsPrivate(t *testing.T) {
	h := Handler(Routes{Registry: prometheus.NewRegistry(), Reload: someReloads()})
	for _, header := range [][]string{{"Origin", "http://evil.example"}, {"Host", "evil.example"}, {"from", "192.0.2.1:1"}} {
		if code := send(h, "POST", PathReload, "", header...).Code; code != 403 {
			t.Errorf("%v: %d", header, code)
		}
	}
	if w := send(h, "POST", PathReload, "", "Content-Type", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"sinks.loki.url"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := send(h, "POST", PathReload, ""); w.Code != 422 || !strings.Contains(w.Body.String(), "no such key") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
