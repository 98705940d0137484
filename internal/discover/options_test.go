package discover

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

func TestAContainerSaysByItsLabelsHowItIsCaptured(t *testing.T) {
	engine := dockertest.New(t)
	old := time.Now().Add(-time.Hour)
	ended := time.Now().Add(-time.Minute)
	for i, c := range []dockertest.Container{
		{Name: "chosen", Labels: map[string]string{"log_capturer.enable": "true"}},
		{Name: "web-shy", Labels: map[string]string{"log_capturer.enable": "false"}},
		{Name: "web-self", Labels: map[string]string{"log_capturer.enable": "true", SelfLabel: "true"}},
		{Name: "other"},
		{Name: "web-polled", Labels: map[string]string{"log_capturer.read": "poll"}},
		{Name: "web-late", Created: old, Labels: map[string]string{"log_capturer.since": "10m"}},
		{Name: "web-early", Created: old, Labels: map[string]string{"log_capturer.since": "start"}},
		{Name: "web-quiet", Started: old, Finished: ended, Labels: map[string]string{"log_capturer.exit_events": "false", "log_capturer.loss_markers": "true"}},
		{Name: "web-plain", Started: old, Finished: ended, Created: old},
	} {
		c.ID = fmt.Sprintf("%064d", i)
		engine.Hidden(c)
	}
	d := testContainers(t, engine.Host(), func(c *ContainerConfig) {
		c.Include.Names = []string{"web-*"}
		c.Since = SinceNow()
		c.Read = source.Stream
	})
	r := receive(t, d)
	set := r.until(t, "the set", func(s map[string]source.Target) bool { return len(s) > 0 })
	for _, name := range []string{"chosen", "web-polled", "web-late", "web-early", "web-quiet", "web-plain"} {
		if set[name].Source == nil {
			t.Fatalf("%s is left out of %+v", name, set)
		}
	}
	if diff := cmp.Diff(map[string]int{skipExcluded: 1, skipSelf: 1, skipDisabled: 1}, d.Skipped()); diff != "" || len(set) != 6 {
		t.Error("skipped:", diff)
	}
	if p := set["web-polled"]; p.Mode != source.Poll || !strings.Contains(p.Reason, "label log_capturer.read") {
		t.Errorf("polled by its label: %s because %s", p.Mode, p.Reason)
	}
	if ago := time.Since(set["web-late"].Since); ago < 9*time.Minute || ago > 11*time.Minute {
		t.Errorf("history of %s", ago)
	}
	if s := set["web-early"].Since; !s.IsZero() {
		t.Errorf("all history is wanted, not since %s", s)
	}
	if q := set["web-quiet"]; q.Container.Exit != nil || !q.LossMarkers {
		t.Errorf("as its labels say: %+v", q)
	}
	if p := set["web-plain"]; p.Container.Exit == nil || p.LossMarkers || p.Since.IsZero() {
		t.Errorf("as configured: %+v", p)
	}
}

func TestALabelThatIsNotUnderstoodIsToldOnceAndHasNoEffect(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: id("1"), Name: "web", Labels: map[string]string{
		"log_capturer.enable": "yes", "log_capturer.read": "tail", "log_capturer.since": "yesterday", "log_capturer.exit_events": "1",
		"log_capturer.enabel": "false", "log_capturer.labels.team": "x", "log_capturer.label": "y", "log_capturer.metadata.": "z",
		"log_capturer.label.job": "mine", "log_capturer.harness": "run-1", "log_capturer.enable.x": "true", "com.example": "1",
	}})
	d := loggedContainers(t, engine.Host(), func(c *ContainerConfig) { c.ReconcileInterval = units.Duration(5 * time.Millisecond) }, log)
	t.Cleanup(func() { // runs after the Discoverer ended
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		got := map[string]string{}
		for _, line := range lines {
			if !strings.Contains(line, "level=WARN") {
				continue
			}
			_, after, _ := strings.Cut(line, " label=")
			label, rest, _ := strings.Cut(after, " ")
			_, want, _ := strings.Cut(rest, "expected=")
			if got[label] != "" {
				t.Errorf("%s is told twice", label)
			}
			got[label] = strings.Trim(want, `"`)
			if !strings.Contains(line, "container=web") || !strings.Contains(rest, "value=") {
				t.Errorf("the line lacks something: %s", line)
			}
		}
		if diff := cmp.Diff(map[string]string{
			"log_capturer.enable": "true or false", "log_capturer.read": "auto, file, stream or poll",
			"log_capturer.since": "start, now or a duration such as 10m", "log_capturer.exit_events": "true or false",
			"log_capturer.enabel": "log_capturer.enable", "log_capturer.enable.x": "log_capturer.enable",
			"log_capturer.labels.team": "log_capturer.label.NAME", "log_capturer.label": "log_capturer.label.NAME=VALUE",
			"log_capturer.metadata.": "a name behind the last dot", "log_capturer.label.job": "another name: job is set by the agent",
		}, got); diff != "" {
			t.Error(diff)
		}
	})
	r := receive(t, d)
	if web := r.has(t, "web"); web.Mode != source.Stream || !web.Since.IsZero() || web.Source.Streams[record.Stdout].Labels.Get("job") != "containers" {
		t.Errorf("%+v", web)
	}
	engine.Hidden(dockertest.Container{ID: id("2"), Name: "next"})
	r.has(t, "next") // so it was listed again
}

// labelled returns the streams of a container with these labels.
func labelled(names []string, labels map[string]string) (s *record.Source, leftOut int) {
	o, _ := optionsOf(labels, DefaultContainerConfig())
	l := labeller{host: "h", names: names}
	return l.source(docker.Details{ID: id("a"), Name: "web", Image: "nginx", Labels: labels}, o, true)
}

func TestMetadataOfComposeAndSwarm(t *testing.T) {
	s, _ := labelled([]string{"compose_service", "tier"}, map[string]string{
		"com.docker.compose.project": "shop", "com.docker.compose.service": "front", "com.docker.compose.container-number": "2",
		"com.docker.swarm.service.name": "svc", "com.docker.swarm.task.name": "svc.1.x", "com.docker.swarm.node.id": "n0", "tier": "gold",
	})
	for o, name := range map[record.Output]string{record.Stdout: "stdout", record.Stderr: "stderr", record.OutputNone: "event"} {
		want := `{compose_service="front", container="web", host="h", job="containers", stream="` + name + `", tier="gold"}`
		if got := s.Streams[o].Key; got != want {
			t.Errorf("labels %s, want %s", got, want)
		}
		if diff := cmp.Diff(record.Labels{
			{Name: "compose_number", Value: "2"}, {Name: "compose_project", Value: "shop"}, {Name: "container_id", Value: "aaaaaaaaaaaa"},
			{Name: "image", Value: "nginx"}, {Name: "swarm_node", Value: "n0"}, {Name: "swarm_service", Value: "svc"}, {Name: "swarm_task", Value: "svc.1.x"},
		}, s.Streams[o].Metadata); diff != "" {
			t.Error("metadata", diff)
		}
	}
	plain, _ := labelled(nil, nil)
	if m := plain.Streams[record.Stdout].Metadata; len(m) != 2 {
		t.Errorf("a container of neither has %+v", m)
	}
}

func TestLabelsOfAContainerHaveBoundedRoom(t *testing.T) {
	labels := map[string]string{
		"log_capturer.label.container": "fake", "log_capturer.label.team": "payments", "log_capturer.label.no-dash": "v",
		"log_capturer.label.compose_service": "stolen", "com.docker.compose.service": "front",
		"log_capturer.label.compose_project": "given", "log_capturer.metadata.zone": "b", "log_capturer.metadata.team": "other", "log_capturer.label.void": "",
	}
	names := DefaultContainerConfig().Labels
	s, leftOut := labelled(names, labels)
	want := `{compose_project="given", compose_service="front", container="web", host="h", job="containers", no_dash="v", stream="stdout", team="payments"}`
	if got := s.Streams[record.Stdout].Key; got != want || leftOut != 0 {
		t.Errorf("labels %s, want %s; left out %d", got, want, leftOut)
	}
	if got := s.Streams[record.Stdout].Metadata.String(); got != `{container_id="aaaaaaaaaaaa", image="nginx", zone="b"}` {
		t.Error("metadata", got)
	}

	for i := range 30 {
		labels[fmt.Sprintf("log_capturer.label.a%02d", i)] = "v"
	}
	s, leftOut = labelled(names, labels)
	out := s.Streams[record.Stdout]
	if len(out.Labels) != record.MaxLabels || len(out.Metadata) != record.MaxLabels {
		t.Errorf("%d labels and %d metadata", len(out.Labels), len(out.Metadata))
	}
	// 9 of the names are labels, 13 metadata; 8 of them, no_dash, team and zone have no room.
	if leftOut != 11 {
		t.Errorf("%d were left out", leftOut)
	}
	for _, name := range []string{"job", "host", "container", "stream", "compose_service", "a08"} {
		if out.Labels.Get(name) == "" {
			t.Errorf("the label %s is lost in %s", name, out.Key)
		}
	}
	for _, name := range []string{"container_id", "image", "a09"} {
		if out.Metadata.Get(name) == "" {
			t.Errorf("the metadata %s is lost in %s", name, out.Metadata)
		}
	}
}

func TestMistakesInTheSettingsAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ContainerConfig)
		want   string
	}{
		"read":     {func(c *ContainerConfig) { c.Read = "tail" }, "read: got \"tail\"; expected auto, file, stream or poll"},
		"poll":     {func(c *ContainerConfig) { c.PollInterval = units.Duration(time.Millisecond) }, "poll_interval: 1ms is out of range; expected 100ms to 1h"},
		"no slots": {func(c *ContainerConfig) { c.Streams.Max = 0 }, "max: 0 is out of range; expected 1 to 10000"},
		"too many": {func(c *ContainerConfig) { c.Streams.Max = 10_001 }, "max: 10001 is out of range; expected 1 to 10000"},
		"rotation": {func(c *ContainerConfig) { c.Streams.RotationInterval = 5 }, "rotation_interval: 5ns is too often; expected 1s or more, or 0 for never"},
		"held":     {func(c *ContainerConfig) { c.Held.MaxBytes = 5 }, "max_bytes: 5B is too little; expected 1MiB or more"},
		"ssh":      {func(c *ContainerConfig) { c.DockerHost = "ssh://root@far" }, "goes through SSH"},
		"a host":   {func(c *ContainerConfig) { c.DockerHost = "docker.sock" }, "is no address of a Docker engine"},
	} {
		config := DefaultContainerConfig()
		if errs := append(append(config.Validate(), config.Streams.Validate()...), config.Held.Validate()...); len(errs) > 0 {
			t.Fatal("the defaults:", errs)
		}
		c.change(&config)
		errs := append(append(config.Validate(), config.Streams.Validate()...), config.Held.Validate()...)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, errs, c.want)
		}
	}
	config := DefaultContainerConfig()
	config.Read, config.Streams.RotationInterval, config.DockerHost = source.Poll, 0, "tcp://127.0.0.1:2376"
	if errs := append(config.Validate(), config.Streams.Validate()...); len(errs) > 0 {
		t.Error(errs)
	}
}
