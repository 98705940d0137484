package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/test/harness"
)

// census is what the agent holds, by its own books and by the kernel's.
type census struct {
	owned, descriptors int // that scopes started; held for logs and the engine
	goroutines, fds    int // of the process, connections of HTTP clients included
}

func (w *world) census() (census, error) {
	m, err := w.agent.Scrape()
	if err != nil {
		return census{}, err
	}
	return census{
		owned:       int(m.Sum("log_capturer_task_goroutines")),
		descriptors: m.Open(),
		goroutines:  int(m.Sum("log_capturer_goroutines")),
		fds:         int(m.Sum("process_open_fds")),
	}, nil
}

// ready takes the census before there is anything to capture.
func (w *world) ready() {
	w.t.Helper()
	w.dockerHealth("healthy")
	harness.Eventually(w.t, 10*time.Second, "the stream of the engine's events", func() (bool, string) {
		var err error
		w.before, err = w.census()
		return err == nil && w.before.descriptors >= 1, fmt.Sprintf("%+v, error %v", w.before, err)
	})
}

// ends counts every line, removes the containers, and waits until the agent holds exactly
// what it held before there were any. ready was called then. It adds a row to the table
// of results, if one is asked for.
func (w *world) ends(scenario string, deadline time.Duration) {
	w.t.Helper()
	report := w.exactlyOnce(deadline)
	addResult(w.t, scenario, report, w.before, w.heldAgain())
}

// heldAgain removes the containers, and waits until the agent holds exactly what it held
// before there were any. It may hold the json-files of other tests' containers for half a
// minute: it opened them before it could know whose they are.
func (w *world) heldAgain() (after census) {
	w.t.Helper()
	w.removeContainers()
	harness.Eventually(w.t, time.Minute, "what was held before", func() (bool, string) {
		var err error
		after, err = w.census()
		same := after.owned == w.before.owned && after.descriptors == w.before.descriptors
		return err == nil && same, fmt.Sprintf("%+v, before %+v, error %v", after, w.before, err)
	})
	return after
}

// removeContainers removes what this test made.
func (w *world) removeContainers() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cli := w.engine.Client()
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", "e2e="+w.run)})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list.Items {
		if _, err := cli.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			w.t.Log("remove container: ", err) // it may be on its way already
		}
	}
}

// addResult appends a row to the Markdown table that LOG_CAPTURER_RESULTS names.
func addResult(t *testing.T, scenario string, r *harness.Report, before, after census) {
	t.Helper()
	path := os.Getenv("LOG_CAPTURER_RESULTS")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "| %s | `%s` | %d | %d | %d | %d → %d (%d → %d) | %d → %d (%d → %d) |\n", scenario, t.Name(), r.Expected, r.Lost.N, r.Repeated.N,
		before.owned, after.owned, before.goroutines, after.goroutines, before.descriptors, after.descriptors, before.fds, after.fds)
	if err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
