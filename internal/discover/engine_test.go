package discover

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/test/harness"
)

// mine lets a test see its own containers only, on an engine that others use too.
func mine(prefix string) func(*ContainerConfig) {
	return func(c *ContainerConfig) { c.Include.Names = []string{prefix + "*"} }
}

func TestBriefContainersOfARealEngineAreAnnouncedWhileTheirFileCanBeOpened(t *testing.T) {
	const n = 30
	engine := harness.Engine(t)
	if _, err := engine.EnsureImage(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := testContainers(t, engine.Host(), mine("brief-"))
	r := &receiver{changed: make(chan struct{}, 1)}
	var mu sync.Mutex
	opened := map[string]*os.File{}
	defer func() {
		for _, f := range opened {
			_ = f.Close()
		}
	}()
	ready := make(chan struct{})
	var once sync.Once
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx, func(set []source.Target) {
			once.Do(func() { close(ready) })
			mu.Lock()
			defer mu.Unlock()
			for _, target := range set { // as a reader does, which then waits for the file
				if opened[target.Source.Name] == nil {
					if dir, err := os.Open(target.Path[:strings.LastIndexByte(target.Path, '/')]); err == nil {
						opened[target.Source.Name] = dir
					}
				}
			}
			r.apply(set)
		})
	}()
	<-ready
	for i := range n {
		if _, err := engine.RunContainer(t.Context(), harness.RunOptions{
			Name: fmt.Sprint("brief-", i), Args: []string{"-n", "1", "-exit", "3"}, AutoRemove: true,
		}); err != nil {
			t.Fatal(err)
		}
	}
	set := r.until(t, "all to be gone", func(s map[string]source.Target) bool {
		gone := 0
		for _, target := range s {
			if target.Gone {
				gone++
			}
		}
		return gone == n
	})
	cancel()
	<-done
	for name, target := range set {
		if target.Mode != source.File || opened[name] == nil {
			t.Errorf("%s: %s because %s, opened %v", name, target.Mode, target.Reason, opened[name] != nil)
		}
		if e := target.Container.Exit; e == nil || e.Code != 3 || e.OOM {
			t.Errorf("%s ended by %+v", name, e)
		}
	}
}

func TestARealContainersPathIsPredictedRightly(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Create(t, harness.RunOptions{Name: "predicted", Args: []string{"-hold", "-n", "1"}})
	r := receive(t, testContainers(t, engine.Host(), mine("predicted")))
	before := r.has(t, "predicted")
	box.Start(t)
	after := r.until(t, "its start", func(s map[string]source.Target) bool { return s["predicted"].Container.Running })["predicted"]
	if path := box.LogPath(t); before.Path != path || after.Path != path || path == "" {
		t.Errorf("predicted %q, then %q; it is %q", before.Path, after.Path, path)
	}
	if after.Mode != source.File || after.Source != before.Source {
		t.Errorf("%+v", after)
	}
}

func TestARealEngineRestartsAndAllIsFoundAgain(t *testing.T) {
	engine := harness.PrivateEngine(t, harness.EngineOptions{})
	for i := range 3 {
		engine.Run(t, harness.RunOptions{Name: fmt.Sprint("kept-", i), Args: []string{"-hold", "-n", "1"}, Restart: "always"})
	}
	d := testContainers(t, engine.Host(), nil)
	r := receive(t, d)
	first := r.until(t, "all", func(s map[string]source.Target) bool { return len(s) == 3 })
	engine.Stop(t)
	waitHealth(t, d, false, "")
	engine.Start(t)
	set := r.until(t, "all again, restarted", func(s map[string]source.Target) bool {
		for name, target := range s {
			if target.Gone || !target.Container.Running || !target.Container.Started.After(first[name].Container.Started) {
				return false
			}
		}
		return len(s) == 3
	})
	waitHealth(t, d, true, "")
	for name, target := range set {
		if target.Source != first[name].Source {
			t.Errorf("%s got a new source", name)
		}
	}
	engine.Run(t, harness.RunOptions{Name: "later", Args: []string{"-n", "1"}})
	r.has(t, "later")
}
