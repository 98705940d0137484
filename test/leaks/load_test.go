package leaks

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/test/harness"
)

var (
	cycles     = flag.Int("cycles", 2, "how often the load goes up and down")
	containers = flag.Int("containers", 30, "how many containers it goes up to")
)

// rest is how long the load stays up, and down: two looks of the leak watch.
const rest = 30 * time.Second

// Load goes from one container to many and back, all followed by streams. Never does the
// leak watch take any of it for a leak.
func TestLoadThatComesAndGoesIsNoLeak(t *testing.T) {
	t.Parallel()
	engine := harness.Engine(t)
	agent := harness.StartShippedAgent(t, fmt.Sprintf(`
container_monitor: {docker_host: %q, read: stream, include: {names: ["ebb-*"]}, streams: {max: 50, rotation_interval: 10s}}
canary: {enabled: true}
sinks: {loki: {url: %q}}
`, engine.Host(), harness.NewFakeLoki(t, 1<<20).URL))
	options := func(n int) harness.RunOptions {
		return harness.RunOptions{Name: fmt.Sprintf("ebb-%d", n), Args: []string{"-rate", "10"}}
	}
	engine.Run(t, options(0))
	for cycle := range *cycles {
		began := time.Now()
		fleet := make([]*harness.Container, *containers-1)
		var starting, ending errgroup.Group
		starting.SetLimit(4)
		for i := range fleet {
			starting.Go(func() (err error) {
				fleet[i], err = engine.RunContainer(t.Context(), options(i+1))
				return err
			})
		}
		if err := starting.Wait(); err != nil {
			t.Fatal(err)
		}
		follows(t, agent, *containers)
		<-time.After(rest)
		ending.SetLimit(4)
		for _, c := range fleet {
			ending.Go(func() error { return engine.RemoveContainer(t.Context(), c.ID) })
		}
		if err := ending.Wait(); err != nil {
			t.Fatal(err)
		}
		follows(t, agent, 1)
		<-time.After(rest)
		t.Logf("up and down, %d of %d: %.0f s", cycle+1, *cycles, time.Since(began).Seconds())
	}
	if n := alarms(agent.Metrics(t)); len(n) > 0 {
		t.Errorf("alarms: %v\n%s", n, agent.Log())
	}
	harness.Eventually(t, 20*time.Second, "a ledger that is exact", func() (bool, string) {
		census, err := agent.Resources()
		wrong := exact(census)
		return err == nil && len(wrong) == 0, fmt.Sprint(wrong, err)
	})
}

// follows waits for so many streams. Meanwhile, as before, nothing is a leak.
func follows(t *testing.T, agent *harness.AgentProcess, streams int) {
	t.Helper()
	harness.Eventually(t, time.Minute, fmt.Sprintf("%d streams", streams), func() (bool, string) {
		n := int(agent.Metrics(t).Sum("container_streams_active", `mode="stream"`))
		return n == streams, fmt.Sprint(n)
	})
	if status, reason := agent.Health(t).Of("leak_watch"); status != "healthy" {
		t.Fatalf("%s: %s", status, reason)
	}
}
