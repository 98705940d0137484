package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// R24: the configuration is reloaded all the time while containers write and sinks come
// and go; some of the files are wrong. Nothing is lost or repeated, nothing is left over.
func TestReloadsUnderLoad(t *testing.T) {
	forEachReaderAtOnce(t, func(t *testing.T, read string) {
		w := newWorld(t, harness.Engine(t), harness.Loki(t))
		dir := t.TempDir()
		files := fmt.Sprintf("  files: {type: local_file, path: \"%s/{source}.{stream}.log\", format: raw}\n", dir)
		plain := w.config(read, "", "") + files
		w.startAgent(plain)
		w.ready()
		for range 5 {
			w.container(10_000, harness.RunOptions{Args: []string{"-rate", "500", "-stderr-every", "3"}})
		}
		versions := []struct {
			config string
			right  bool
		}{
			{plain + fmt.Sprintf("  more: {type: local_file, path: \"%s/more/{source}.log\"}\n", dir), true},
			{strings.Replace(plain, "labels: {run:", "timeout: 5s, labels: {run:", 1) + "dispatcher: {memory: 8MiB, batch: {linger: 1ms}}\n", false},
			{strings.Replace(plain, "    labels: {run:", "    timeout: 5s\n    labels: {run:", 1) + "dispatcher: {memory: 8MiB, batch: {linger: 1ms}}\n", true},
			{strings.Replace(plain, "streams: {", "streams: {max: 2, ", 1), true},
			{plain + "dispatcher: {memory: little}\n", false},
			{strings.Replace(plain, "labels: [e2e]", "labels: [e2e]\n  exclude: {names: [nobody]}", 1), true},
			{plain, true},
		}
		pace := time.NewTicker(500 * time.Millisecond)
		defer pace.Stop()
		began, reloads := time.Now(), 0
		for ; time.Since(began) < 20*time.Second; reloads++ {
			v := versions[reloads%len(versions)]
			if err := w.agent.SetConfig(v.config); err != nil {
				t.Fatal(err)
			}
			if w.agent.Reload(t) != v.right {
				t.Fatalf("a reload that should work: %v\n%s", v.right, v.config)
			}
			<-pace.C
		}
		if err := w.agent.SetConfig(plain); err != nil || !w.agent.Reload(t) {
			t.Fatal("the last reload failed: ", err)
		}
		t.Logf("%d reloads", reloads)
		w.ends("R24: the configuration is reloaded", time.Minute)
		w.agent.Stop(t)
		w.exactlyOnceInFiles(dir)
	})
}
