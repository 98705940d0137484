package discover

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/units"
)

func often(c *ContainerConfig) { c.ReconcileInterval = units.Duration(5 * time.Millisecond) }

func exitOfTarget(s map[string]source.Target, name string) *source.Exit {
	if c := s[name].Container; c != nil {
		return c.Exit
	}
	return nil
}

func TestTheEndOfARunIsToldByEventsAlone(t *testing.T) {
	engine := dockertest.New(t)
	r := receive(t, testContainers(t, engine.Host(), nil))
	r.until(t, "the first set", func(map[string]source.Target) bool { return true })
	engine.Create(dockertest.Container{ID: id("a"), Name: "web"})
	engine.Start(id("a"))
	web := r.until(t, "start", func(s map[string]source.Target) bool { return s["web"].Container != nil && s["web"].Container.Running })["web"]
	if web.Container.Exit != nil || web.Source.Streams[record.OutputNone] == nil {
		t.Errorf("a running container: %+v", web)
	}
	asked := engine.Inspects()
	before := time.Now()
	engine.Exit(id("a"), 3)
	end := exitOfTarget(r.until(t, "its end", func(s map[string]source.Target) bool { return exitOfTarget(s, "web") != nil }), "web")
	if end.Code != 3 || end.OOM || end.Time.Before(before) || end.Time.After(time.Now()) {
		t.Errorf("%+v", end)
	}
	engine.Start(id("a"))
	r.until(t, "the next run", func(s map[string]source.Target) bool { return exitOfTarget(s, "web") == nil })
	engine.OOM(id("a"))
	engine.Exit(id("a"), 137)
	end = exitOfTarget(r.until(t, "its end", func(s map[string]source.Target) bool { return exitOfTarget(s, "web") != nil }), "web")
	if end.Code != 137 || !end.OOM {
		t.Errorf("killed for want of memory: %+v", end)
	}
	engine.Start(id("a"))
	engine.Exit(id("a"), 137)
	r.until(t, "a plain kill, and not the run before", func(s map[string]source.Target) bool {
		e := exitOfTarget(s, "web")
		return e != nil && e.Code == 137 && !e.OOM
	})
	engine.OOM(id("a")) // the kernel's word came late
	late := exitOfTarget(r.until(t, "the late word", func(s map[string]source.Target) bool {
		e := exitOfTarget(s, "web")
		return e != nil && e.OOM
	}), "web")
	engine.Destroy(id("a"))
	gone := r.until(t, "its removal", func(s map[string]source.Target) bool { return s["web"].Gone })["web"]
	if gone.Container.Exit == nil || *gone.Container.Exit != *late {
		t.Errorf("removal changed the end: %+v", gone.Container.Exit)
	}
	if n := engine.Inspects(); n != asked {
		t.Errorf("%d inspects for ends", n-asked)
	}
}

func TestABurstOfBriefContainersHasAllItsEnds(t *testing.T) {
	const n = 100
	engine := dockertest.New(t)
	engine.Driver = jsonFile
	if err := os.MkdirAll(filepath.Join(engine.Root, "containers"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := testContainers(t, engine.Host(), nil)
	r := receive(t, d)
	r.until(t, "the first set", func(map[string]source.Target) bool { return true })
	var burst sync.WaitGroup
	for i := range n {
		burst.Go(func() {
			key := fmt.Sprintf("%064d", i)
			engine.Create(dockertest.Container{ID: key, Name: fmt.Sprint("job-", i)})
			engine.Start(key)
			engine.Exit(key, i)
			engine.Destroy(key)
		})
	}
	burst.Wait()
	set := r.until(t, "all to be gone", func(s map[string]source.Target) bool {
		gone := 0
		for _, target := range s {
			if target.Gone {
				gone++
			}
		}
		return gone == n
	})
	for i := range n {
		target := set[fmt.Sprint("job-", i)]
		if target.Mode != source.File || target.Container.Exit == nil || target.Container.Exit.Code != i {
			t.Errorf("job-%d: %s, %+v", i, target.Mode, target.Container.Exit)
		}
	}
}

func TestAnEndThatNoEventToldIsFound(t *testing.T) {
	engine := dockertest.New(t)
	began, ended := time.Now().Add(-time.Hour).UTC(), time.Now().Add(-time.Minute).UTC()
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "before", Started: began, Finished: ended, ExitCode: 4, OOM: true})
	engine.Hidden(dockertest.Container{ID: id("1"), Name: "missed", Started: began, Running: true, Finished: began.Add(-time.Hour), ExitCode: 9})
	engine.Hidden(dockertest.Container{ID: id("2"), Name: "fresh"})
	d := testContainers(t, engine.Host(), often)
	r := receive(t, d)
	set := r.until(t, "the set", func(s map[string]source.Target) bool { return len(s) == 3 })
	if e := exitOfTarget(set, "before"); e == nil || e.Code != 4 || !e.OOM || !e.Time.Equal(ended) {
		t.Errorf("one that ended before the agent came: %+v", e)
	}
	if exitOfTarget(set, "missed") != nil || exitOfTarget(set, "fresh") != nil {
		t.Error("one that runs, or never ran, has an end")
	}
	engine.Hidden(dockertest.Container{ID: id("1"), Name: "missed", Started: began, Finished: ended, ExitCode: 5})
	e := exitOfTarget(r.until(t, "its end", func(s map[string]source.Target) bool { return exitOfTarget(s, "missed") != nil }), "missed")
	if e.Code != 5 || e.OOM || !e.Time.Equal(ended) {
		t.Errorf("%+v", e)
	}
	// Away from the engine: it ended meanwhile.
	engine.Hidden(dockertest.Container{ID: id("2"), Name: "fresh", Started: began, Running: true})
	r.until(t, "its start", func(s map[string]source.Target) bool {
		return s["fresh"].Container.Running && s["fresh"].Container.Started.Equal(began)
	})
	engine.Down()
	waitHealth(t, d, false, "")
	engine.Hidden(dockertest.Container{ID: id("2"), Name: "fresh", Started: began, Finished: ended, ExitCode: 6})
	engine.Up(t)
	e = exitOfTarget(r.until(t, "the end while away", func(s map[string]source.Target) bool { return exitOfTarget(s, "fresh") != nil }), "fresh")
	if e.Code != 6 || !e.Time.Equal(ended) {
		t.Errorf("%+v", e)
	}
}

func TestAKilledContainerIsAskedWhetherMemoryWasShort(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "web", Running: true, Started: time.Now().Add(-time.Hour), OOM: true})
	r := receive(t, testContainers(t, engine.Host(), often))
	r.has(t, "web")
	// Its oom event was lost, and the first inspect told of no such thing.
	engine.Exit(id("0"), 137)
	r.until(t, "the engine's word", func(s map[string]source.Target) bool {
		e := exitOfTarget(s, "web")
		return e != nil && e.OOM
	})
}

func TestAnEndWhoseCodeTheEventDoesNotTellIsAskedFor(t *testing.T) {
	engine := dockertest.New(t)
	began, ended := time.Now().Add(-time.Hour), time.Now()
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "web", Running: true, Started: began})
	r := receive(t, testContainers(t, engine.Host(), often))
	r.has(t, "web")
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "web", Started: began, Finished: ended, ExitCode: 7})
	engine.Emit(dockertest.Container{ID: id("0"), Name: "web", ExitCode: -1}, "die")
	r.until(t, "the engine's word", func(s map[string]source.Target) bool {
		e := exitOfTarget(s, "web")
		if e != nil && e.Code != 7 {
			t.Fatalf("a code was made up: %+v", e)
		}
		return e != nil
	})
}

func TestEventsOfWhatAnInspectToldAreOfThePast(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1_000_000, int64(s*1e9)) }
	running := docker.Details{Running: true, Started: at(100)}
	ended := docker.Details{Started: at(100), Finished: at(100.01)}
	waiting := docker.Details{Running: true, Restarting: true, Started: at(100), Finished: at(100.01)}
	for name, c := range map[string]struct {
		d      docker.Details
		action string
		at     time.Time
		want   bool
	}{
		"the start of the run that was seen": {running, "start", at(100.1), true},
		"a start before":                     {running, "start", at(90), true},
		"another start":                      {running, "start", at(103), false},
		"the first start":                    {docker.Details{}, "start", at(100), false},
		"the start of a run that was over":   {ended, "start", at(100.005), true},
		"its restart":                        {ended, "start", at(100.2), false},
		"its restart, which was waited for":  {waiting, "start", at(100.2), false},
		"the start of a run that was briefer than its bookkeeping": {docker.Details{Started: at(100), Finished: at(99.9)}, "start", at(100.01), true},
		"a restart long after the end":                             {docker.Details{Started: at(100), Finished: at(500)}, "start", at(501), false},
		"the end of a run before":                                  {running, "die", at(99), true},
		"the end of the run":                                       {running, "die", at(101), false},
		"the end that was seen":                                    {ended, "die", at(100.2), true},
		"the end that was seen, slowly":                            {waiting, "die", at(112), true},
		"a later end":                                              {ended, "die", at(200), false},
		"want of memory of a run before":                           {running, "oom", at(99), true},
		"want of memory, told after the end":                       {ended, "oom", at(101), false},
	} {
		k := &container{details: c.d, inspected: true}
		if got := k.past(c.action, c.at); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		k.inspected = false
		if k.past(c.action, c.at) {
			t.Errorf("%s: events that follow events are never of the past", name)
		}
	}
}

func TestTheTimesOfEventsStayWhenAnInspectMeansTheSameRun(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(1_000_000+s, 0) }
	byEvents := docker.Details{Started: at(100), Finished: at(200), OOMKilled: true}
	if got := merge(byEvents, docker.Details{Started: at(99), Finished: at(198), ExitCode: 1}); !got.Started.Equal(at(100)) || !got.Finished.Equal(at(200)) || !got.OOMKilled || got.ExitCode != 1 {
		t.Errorf("the same run: %+v", got)
	}
	if got := merge(byEvents, docker.Details{Started: at(300), Finished: at(400)}); !got.Started.Equal(at(300)) || !got.Finished.Equal(at(400)) || got.OOMKilled {
		t.Errorf("the next run: %+v", got)
	}
	if got := merge(byEvents, docker.Details{Running: true, Started: at(300), Finished: at(198), ExitCode: 7}); !got.Finished.IsZero() || got.ExitCode != 0 {
		t.Errorf("a run that goes on: %+v", got)
	}
}

func TestAJSONFileThatBecomesReadableIsReturnedTo(t *testing.T) {
	engine := dockertest.New(t)
	path := filepath.Join(t.TempDir(), "mounted", "later", "containers", id("0"), id("0")+"-json.log")
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "web", Running: true, LogPath: path})
	d := testContainers(t, engine.Host(), often)
	d.relookAfter = 20 * time.Millisecond
	r := receive(t, d)
	before := r.has(t, "web")
	if before.Mode != source.Stream || before.Path != path || before.Fallback || before.Source.CanWait {
		t.Errorf("not readable: %+v", before)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	after := r.until(t, "its file", func(s map[string]source.Target) bool { return s["web"].Mode == source.File })["web"]
	if after.Path != path || !after.Fallback || !after.Source.CanWait || after.Source.ID != before.Source.ID {
		t.Errorf("readable: %+v", after)
	}
	n := r.count()
	engine.Create(dockertest.Container{ID: id("1"), Name: "next"})
	r.has(t, "next")
	if r.count() != n+1 {
		t.Errorf("it was announced %d more times", r.count()-n-1)
	}
}

func TestThePresentAreToldOncePerRun(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: id("0"), Name: "one"})
	d := testContainers(t, engine.Host(), often)
	told := make(chan map[string]bool, 100)
	d.OnListed = func(present map[string]bool) { told <- present }
	engine.Down()
	r := receive(t, d)
	waitHealth(t, d, false, "cannot be reached")
	if len(told) != 0 {
		t.Fatal("told of what is present while the engine is away")
	}
	engine.Up(t)
	r.has(t, "one")
	if present := <-told; len(present) != 1 || !present[id("0")] {
		t.Errorf("present: %v", present)
	}
	engine.Down()
	waitHealth(t, d, false, "")
	engine.Hidden(dockertest.Container{ID: id("1"), Name: "two"})
	engine.Up(t)
	r.has(t, "two")
	waitHealth(t, d, true, "") // the list is done
	if len(told) != 0 {
		t.Error("told again in the same run")
	}
}
