package discover

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

func id(c string) string { return strings.Repeat(c, 64) }

func testContainers(t *testing.T, host string, change func(*ContainerConfig)) *Containers {
	t.Helper()
	return loggedContainers(t, host, change, quiet())
}

func loggedContainers(t *testing.T, host string, change func(*ContainerConfig), log *slog.Logger) *Containers {
	t.Helper()
	client, err := docker.New(host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := client.OpenStreams(); n != 0 {
			t.Errorf("%d streams were left open", n)
		}
		client.Close()
	})
	config := DefaultContainerConfig()
	config.ReconcileInterval = units.Duration(time.Hour)
	if change != nil {
		change(&config)
	}
	return NewContainers(config, client, "host1", log)
}

// jsonDir makes the directory of a container's json-file.
func jsonDir(t *testing.T, engine *dockertest.Engine, id string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(engine.Root, "containers", id), 0o755); err != nil {
		t.Fatal(err)
	}
}

// healthy waits until discovery says that it is connected: it does so after the first set.
func healthy(t *testing.T, d *Containers) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for h := d.Health(); !h.OK || h.Name != "container_monitor"; h = d.Health() {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("health %+v", h)
		}
	}
}

func TestAContainersLifeByEvents(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "old", Image: "i", Running: true, Driver: "local"})
	d := testContainers(t, engine.Host(), nil)
	r := receive(t, d)
	old := r.has(t, "old")
	if old.Mode != source.Stream || !strings.Contains(old.Reason, "local") || !old.Container.Running || old.Source.CanWait {
		t.Errorf("the container that was there: %+v", old)
	}
	healthy(t, d)

	jsonDir(t, engine, id("a"))
	engine.Create(dockertest.Container{ID: id("a"), Name: "web", Image: "nginx:1", Labels: map[string]string{
		"com.docker.compose.project": "shop", "com.docker.compose.service": "front",
	}})
	web := r.has(t, "web")
	path := filepath.Join(engine.Root, "containers", id("a"), id("a")+"-json.log")
	if web.Mode != source.File || web.Path != path || web.Container.Running || !web.Source.CanWait {
		t.Errorf("at create: %+v", web)
	}
	if want := `{compose_project="shop", compose_service="front", container="web", host="host1", job="containers", stream="stderr"}`; web.Source.Streams[record.Stderr].Key != want {
		t.Errorf("labels %s", web.Source.Streams[record.Stderr].Key)
	}
	if diff := cmp.Diff(record.Labels{{Name: "container_id", Value: "aaaaaaaaaaaa"}, {Name: "image", Value: "nginx:1"}}, web.Source.Streams[record.Stdout].Metadata); diff != "" {
		t.Error("metadata", diff)
	}

	engine.Start(id("a"))
	started := r.until(t, "start", func(s map[string]source.Target) bool { return s["web"].Container.Running })["web"]
	if started.Container.Started.IsZero() || started.Source != web.Source {
		t.Errorf("at start: %+v", started)
	}
	engine.Die(id("a"))
	r.until(t, "die", func(s map[string]source.Target) bool { return !s["web"].Container.Running })
	engine.Start(id("a"))
	again := r.until(t, "restart", func(s map[string]source.Target) bool { return s["web"].Container.Running })["web"]
	if !again.Container.Started.After(started.Container.Started) {
		t.Error("a restart does not change Started")
	}
	engine.Rename(id("a"), "shop")
	shop := r.has(t, "shop")
	if shop.Source == web.Source || shop.Source.ID != web.Source.ID || shop.Path != path {
		t.Errorf("at rename: %+v", shop)
	}
	engine.Destroy(id("a"))
	r.until(t, "destroy", func(s map[string]source.Target) bool { return s["shop"].Gone && !s["shop"].Container.Running })
	d.Forget(old.Source.ID) // not gone: it stays
	d.Forget(shop.Source.ID)
	engine.Create(dockertest.Container{ID: id("b"), Name: "next", Image: "i"})
	set := r.until(t, "next", func(s map[string]source.Target) bool { return s["next"].Source != nil })
	if len(set) != 2 || set["old"].Source != old.Source {
		t.Errorf("the full set is %+v", set)
	}
	if n := engine.Inspects(); n != 3 {
		t.Errorf("%d inspects of 3 containers", n)
	}
}

func TestAContainerThatIsGoneBeforeItIsLookedAtIsAnnouncedByItsEvent(t *testing.T) {
	engine := dockertest.New(t)
	r := receive(t, testContainers(t, engine.Host(), nil))
	r.until(t, "the first set", func(map[string]source.Target) bool { return true })
	engine.Emit(dockertest.Container{ID: id("c"), Name: "brief", Image: "job"}, "create")
	brief := r.has(t, "brief")
	if !brief.Gone || brief.Mode != source.File || !strings.HasSuffix(brief.Path, id("c")+"-json.log") {
		t.Errorf("%+v", brief)
	}
}

func TestWhatEventsDidNotTellAReconcileFinds(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "old"})
	r := receive(t, testContainers(t, engine.Host(), func(c *ContainerConfig) { c.ReconcileInterval = units.Duration(20 * time.Millisecond) }))
	r.has(t, "old")
	for i := range 50 {
		engine.Hidden(dockertest.Container{ID: fmt.Sprintf("%064d", i+1), Name: fmt.Sprint("n", i), Running: true})
	}
	r.until(t, "fifty more", func(s map[string]source.Target) bool { return len(s) == 51 })
	engine.Destroy(fmt.Sprintf("%064d", 7))
	r.until(t, "one less", func(s map[string]source.Target) bool { return s["n6"].Gone })
	before := r.count()
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "old", Running: true})
	r.until(t, "its start", func(s map[string]source.Target) bool { return s["old"].Container.Running })
	if n := r.count() - before; n != 1 {
		t.Errorf("one change was applied %d times", n)
	}
}

func TestAnEngineThatIsAbsentOrComesBack(t *testing.T) {
	engine := dockertest.New(t)
	engine.Down()
	var text bytes.Buffer
	d := loggedContainers(t, engine.Host(), nil, slog.New(slog.NewTextHandler(&text, nil)))
	if h := d.Health(); h.OK || h.Reason == "" {
		t.Errorf("health before the first attempt: %+v", h)
	}
	t.Cleanup(func() { // runs after the Discoverer ended
		if lost, back := strings.Count(text.String(), "lost the Docker"), strings.Count(text.String(), "connected to"); lost != 2 || back != 2 {
			t.Errorf("the loss was logged %d times, the return %d times:\n%s", lost, back, text.String())
		}
	})
	r := receive(t, d)
	waitHealth(t, d, false, "cannot be reached")
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "one", Running: true})
	engine.Up(t)
	one := r.has(t, "one")
	waitHealth(t, d, true, "")

	engine.Down()
	waitHealth(t, d, false, "")
	engine.Hidden(dockertest.Container{ID: id("1"), Name: "two", Running: true})
	engine.Up(t)
	set := r.until(t, "both", func(s map[string]source.Target) bool { return len(s) == 2 })
	if set["one"].Gone || set["one"].Source != one.Source {
		t.Error("an engine that was away made a container Gone")
	}
	waitHealth(t, d, true, "")
}

func waitHealth(t *testing.T, d *Containers, ok bool, reason string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		h := d.Health()
		if h.OK == ok && strings.Contains(h.Reason, reason) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("health stays %+v", h)
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func TestFiltersAndSelf(t *testing.T) {
	engine := dockertest.New(t)
	for i, c := range []dockertest.Container{
		{Name: "web-1", Image: "acme/web:1"},
		{Name: "web-2", Image: "acme/web:2", Labels: map[string]string{"log": "no/thanks"}},
		{Name: "db", Image: "postgres"},
		{Name: "web-me", Image: "acme/web:1", Labels: map[string]string{SelfLabel: "true"}},
		{Name: "web-mute", Image: "acme/web:1", Driver: "none"},
		{Name: "web-last", Image: "ghcr.io/acme/web:1"},
	} {
		c.ID = fmt.Sprintf("%064d", i)
		engine.Hidden(c)
	}
	d := testContainers(t, engine.Host(), func(c *ContainerConfig) {
		c.Include = Filter{Names: []string{"web-*"}, Images: []string{"acme/*", "ghcr.io/**"}}
		c.Exclude = Filter{Labels: map[string]string{"log": "*"}}
	})
	r := receive(t, d)
	set := r.until(t, "the set", func(s map[string]source.Target) bool { return len(s) > 0 })
	if len(set) != 2 || set["web-1"].Source == nil || set["web-last"].Source == nil {
		t.Errorf("captured: %+v", set)
	}
	if diff := cmp.Diff(map[string]int{skipExcluded: 2, skipSelf: 1, skipNone: 1}, d.Skipped()); diff != "" {
		t.Error("skipped:", diff)
	}
	// Compose creates under another name, and renames.
	engine.Create(dockertest.Container{ID: id("e"), Name: "0123_web-3", Image: "acme/web:3"})
	engine.Rename(id("e"), "web-3")
	r.has(t, "web-3")
}

// A new configuration holds at once, long before the next reconcile, for containers that
// are known too. Those that it does not concern keep their targets.
func TestContainersAreChosenAnew(t *testing.T) {
	engine := dockertest.New(t)
	for _, name := range []string{"web-1", "web-2", "db"} {
		engine.Hidden(dockertest.Container{
			ID: id(name[len(name)-1:]), Name: name, Image: "acme/" + name, Running: true, Started: time.Now(),
			Driver: "local", Labels: map[string]string{"com.docker.compose.service": name},
		})
	}
	d := testContainers(t, engine.Host(), func(c *ContainerConfig) { c.Include = Filter{Names: []string{"web-*"}} })
	r := receive(t, d)
	named := func(names ...string) func(s map[string]source.Target) bool {
		return func(s map[string]source.Target) bool { return slices.Equal(slices.Sorted(maps.Keys(s)), names) }
	}
	before := r.until(t, "the set", named("web-1", "web-2"))

	config := DefaultContainerConfig()
	config.ReconcileInterval = units.Duration(time.Hour)
	config.Exclude = Filter{Names: []string{"web-2"}}
	config.Since = SinceNow()
	d.Reconfigure(config)
	after := r.until(t, "another set", named("db", "web-1"))
	if after["web-1"].Source != before["web-1"].Source {
		t.Error("a container that is not concerned has another source")
	}
	if since := after["db"].Since; time.Since(since) > time.Minute {
		t.Errorf("a container that is wanted from now on is read since %v", since)
	}

	config.Read, config.Labels = source.Poll, nil
	d.Reconfigure(config)
	changed := r.until(t, "another way to read", func(s map[string]source.Target) bool { return s["web-1"].Mode == source.Poll })
	if src := changed["web-1"].Source; src == after["web-1"].Source || strings.Contains(src.Streams[record.Stdout].Key, "compose_service") {
		t.Errorf("its labels are %s", src.Streams[record.Stdout].Key)
	}
	config.Exclude = Filter{}
	d.Reconfigure(config)
	r.until(t, "all", named("db", "web-1", "web-2"))
}

func TestOwnID(t *testing.T) {
	own, other := id("a"), id("b")
	mounts := "611 585 254:1 /var/lib/docker/containers/" + own + "/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n"
	host := "55 27 0:49 / /var/lib/docker/containers/" + other + "/mounts/shm rw - tmpfs shm rw\n" +
		"30 1 254:1 / /etc/hosts rw - ext4 /dev/vda1 rw\n"
	for name, c := range map[string]struct {
		mounts, groups, hostname string
		dockerenv                bool
		want                     string
	}{
		"by its mounts":        {mounts: host + mounts, want: own},
		"on the host":          {mounts: host, groups: "0::/user.slice\n", hostname: "0123456789ab"},
		"by cgroup v1":         {groups: "3:cpu:/docker/" + own + "\n", want: own},
		"by systemd's cgroup":  {groups: "0::/system.slice/docker-" + own + ".scope\n", want: own},
		"the innermost":        {groups: "3:cpu:/docker/" + other + "/docker/" + own + "\n", want: own},
		"by its hostname":      {groups: "0::/\n", hostname: "0123456789ab", dockerenv: true, want: "0123456789ab"},
		"a hostname of a user": {groups: "0::/\n", hostname: "web", dockerenv: true},
	} {
		if got := ownID(c.mounts, c.groups, c.hostname, c.dockerenv); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestModes(t *testing.T) {
	engine := dockertest.New(t)
	jsonDir(t, engine, id("a"))
	local := testContainers(t, engine.Host(), nil)
	forced := testContainers(t, engine.Host(), func(c *ContainerConfig) { c.Read = source.Stream })
	remote := testContainers(t, "tcp://127.0.0.1:1", nil)
	for _, c := range []*Containers{local, forced, remote} {
		c.root = engine.Root
	}
	readableNow := docker.Details{ID: id("a"), Driver: jsonFile}
	path := filepath.Join(engine.Root, "containers", id("a"), id("a")+"-json.log")
	polled := testContainers(t, engine.Host(), func(c *ContainerConfig) { c.Read = source.Poll })
	direct := testContainers(t, engine.Host(), func(c *ContainerConfig) { c.Read = source.File })
	missing := docker.Details{ID: id("f"), Driver: jsonFile, LogPath: "/nowhere/containers/f/f-json.log"}
	for name, c := range map[string]struct {
		d      *Containers
		in     docker.Details
		label  source.Mode
		gone   bool
		want   choice
		reason string
	}{
		"json-file":          {d: local, in: readableNow, want: choice{mode: source.File, fallback: true, path: path}, reason: "readable"},
		"another driver":     {d: local, in: docker.Details{ID: id("a"), Driver: "journald"}, want: choice{mode: source.Stream}, reason: "journald"},
		"a driver's copy":    {d: local, in: docker.Details{ID: id("a"), Driver: "syslog"}, want: choice{mode: source.Stream}, reason: "copy of the log is read"},
		"no copy":            {d: local, in: docker.Details{ID: id("a"), Driver: "syslog", LogOpts: map[string]string{"cache-disabled": "true"}}, want: choice{mode: source.Stream}, reason: "remove that log option"},
		"being removed":      {d: local, in: docker.Details{ID: id("f"), Driver: jsonFile}, want: choice{mode: source.File, fallback: true, path: strings.ReplaceAll(path, id("a"), id("f"))}, reason: "readable"},
		"not mounted":        {d: local, in: missing, want: choice{mode: source.Stream, path: missing.LogPath, blocked: true}, reason: "mount"},
		"gone":               {d: local, in: docker.Details{ID: id("a")}, gone: true, want: choice{mode: source.File, path: path}, reason: "removed already"},
		"an engine far away": {d: remote, in: readableNow, want: choice{mode: source.Stream}, reason: "not on this host"},
		"as configured":      {d: forced, in: readableNow, want: choice{mode: source.Stream}, reason: "container_monitor.read is stream"},
		"polled":             {d: polled, in: readableNow, want: choice{mode: source.Poll}, reason: "container_monitor.read is poll"},
		"file and no other":  {d: direct, in: missing, want: choice{mode: source.File, path: missing.LogPath}, reason: "container_monitor.read is file"},
		"file in vain":       {d: direct, in: docker.Details{ID: id("a"), Driver: "local"}, want: choice{mode: source.Stream}, reason: "is file, but the log driver is local"},
		"by its label":       {d: forced, in: readableNow, label: source.Auto, want: choice{mode: source.File, fallback: true, path: path}, reason: "readable"},
		"polled by label":    {d: local, in: readableNow, label: source.Poll, want: choice{mode: source.Poll}, reason: "label log_capturer.read is poll"},
	} {
		got := c.d.mode(c.in, options{read: c.label}, c.gone)
		if !strings.Contains(got.reason, c.reason) {
			t.Errorf("%s: because %q, which lacks %q", name, got.reason, c.reason)
		}
		got.reason = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestSinceIsForContainersThatWereThereBefore(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "old", Created: time.Now().Add(-time.Hour)})
	r := receive(t, testContainers(t, engine.Host(), func(c *ContainerConfig) { c.Since = SinceNow() }))
	if old := r.has(t, "old"); old.Since.IsZero() {
		t.Error("an old container is read from its start")
	}
	engine.Create(dockertest.Container{ID: id("1"), Name: "new"})
	if fresh := r.has(t, "new"); !fresh.Since.IsZero() {
		t.Error("a new container is not read from its start")
	}
}
