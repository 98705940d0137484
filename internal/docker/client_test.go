package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/test/harness"
)

func newClient(t testing.TB, host string) *docker.Client {
	t.Helper()
	c, err := docker.New(host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := c.OpenStreams(); n != 0 {
			t.Errorf("%d streams were left open", n)
		}
		c.Close()
	})
	return c
}

// read returns a log as lines of "1 time text".
func read(t testing.TB, c *docker.Client, id string, tty bool, o docker.LogOptions) (out []string) {
	t.Helper()
	body, err := c.Logs(t.Context(), id, o)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	d := docker.NewDecoder(body, tty)
	for {
		p, err := d.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(p.Stderr, p.Time, string(p.Data), p.End))
	}
}

func TestTheFakeEngineAnswersLikeTheRealOne(t *testing.T) {
	engine := harness.Engine(t)
	box := engine.Run(t, harness.RunOptions{
		Args: []string{"-n", "40", "-stderr-every", "3", "-long-every", "10", "-exit", "3"}, Labels: map[string]string{"a": "b"},
	})
	box.Wait(t)
	real := newClient(t, engine.Host())
	details, err := real.Inspect(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	if details.ExitCode != 3 || details.Finished.IsZero() || details.Running || details.Restarting || details.OOMKilled {
		t.Errorf("how it ended: %+v", details)
	}
	var summary docker.Summary
	find := func(c *docker.Client) docker.Summary {
		list, err := c.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if s.ID == box.ID {
				return s
			}
		}
		t.Fatal("the list lacks the container")
		return summary
	}
	summary = find(real)

	fake := dockertest.New(t)
	fake.PerRecord = true
	copied := dockertest.Container{
		ID: box.ID, Name: box.Name, Image: details.Image, Labels: details.Labels,
		Created: summary.Created, Started: details.Started, LogPath: details.LogPath,
		Finished: details.Finished, ExitCode: details.ExitCode, LogOpts: details.LogOpts,
	}
	body, err := real.Logs(t.Context(), box.ID, docker.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := docker.NewDecoder(body, false)
	for {
		p, err := d.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rec := dockertest.Record{Stderr: p.Stderr, Time: p.Time, Data: string(p.Data)}
		if p.End {
			rec.Data += "\n"
		}
		copied.Records = append(copied.Records, rec)
	}
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
	fake.Hidden(copied)
	double := newClient(t, fake.Host())

	if diff := cmp.Diff(summary, find(double)); diff != "" {
		t.Error("list:", diff)
	}
	again, err := double.Inspect(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(details, again); diff != "" {
		t.Error("inspect:", diff)
	}
	at := copied.Records[len(copied.Records)/2].Time
	for _, o := range []docker.LogOptions{
		{}, {Follow: true}, {Stdout: true}, {Stderr: true}, {Tail: 3}, {Tail: -1}, {Since: at}, {Since: at + 1},
		{Since: at, Tail: 5}, {Since: at, Tail: 1000}, {Until: at}, {Until: at - 1, Tail: 30}, {Since: at, Until: at + 1}, {Since: time.Now().Add(time.Hour).UnixNano()},
	} {
		if diff := cmp.Diff(read(t, real, box.ID, false, o), read(t, double, box.ID, false, o)); diff != "" {
			t.Errorf("logs %+v: %.500s", o, diff)
		}
	}
	for _, c := range []*docker.Client{real, double} {
		_, err := c.Logs(t.Context(), strings.Repeat("f", 64), docker.LogOptions{})
		if !errors.Is(err, docker.ErrNotFound) {
			t.Errorf("logs of no container: %v", err)
		}
		if _, err := c.Inspect(t.Context(), strings.Repeat("f", 64)); !errors.Is(err, docker.ErrNotFound) {
			t.Errorf("inspect of no container: %v", err)
		}
	}
}

func TestEventsOfARealContainersLife(t *testing.T) {
	engine := harness.Engine(t)
	client := newClient(t, engine.Host())
	if _, err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, err := client.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if client.OpenStreams() != 1 || client.StreamGoroutines() != 3 {
		t.Errorf("%d streams, %d goroutines", client.OpenStreams(), client.StreamGoroutines())
	}
	box := engine.Run(t, harness.RunOptions{Args: []string{"-n", "1", "-exit", "4"}, Labels: map[string]string{"k": "v"}})
	box.Wait(t)
	name, renamed := box.Name, box.Name+"-new"
	box.Rename(t, renamed)
	box.Remove(t)
	want := []string{"create " + name, "start " + name, "die " + name, "rename " + renamed, "destroy " + renamed}
	var got []string
	var first docker.Event
	for len(got) < len(want) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		e, err := events.Next(ctx)
		cancel()
		if err != nil {
			t.Fatal(err, got)
		}
		if e.ID != box.ID {
			continue
		}
		if first.ID == "" {
			first = e
		}
		got = append(got, e.Action+" "+e.Name)
		if code := map[bool]int{true: 4, false: -1}[e.Action == "die"]; e.ExitCode != code {
			t.Errorf("%s has the exit code %d", e.Action, e.ExitCode)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if first.Labels["k"] != "v" || first.Image == "" || first.Time == 0 {
		t.Errorf("an event lacks what it should carry: %+v", first)
	}
	// What happened is told again to who asks since then.
	again, err := client.Events(t.Context(), first.Time)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	e, err := again.Next(t.Context())
	if err != nil || e.ID != box.ID || e.Action != "create" || e.Time != first.Time {
		t.Errorf("since the first event came %+v, %v", e, err)
	}
}

func TestAFollowedStreamEndsWithItsContainerAndIsCounted(t *testing.T) {
	engine := harness.Engine(t)
	client := newClient(t, engine.Host())
	box := engine.Run(t, harness.RunOptions{Args: []string{"-n", "3", "-hold"}})
	body, err := client.Logs(t.Context(), box.ID, docker.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if client.OpenStreams() != 1 || client.StreamGoroutines() != 2 {
		t.Errorf("%d streams, %d goroutines", client.OpenStreams(), client.StreamGoroutines())
	}
	d := docker.NewDecoder(body, false)
	for range 3 {
		if _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
	}
	box.Kill(t)
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestAnAbsentEngineIsUnreachableAndComesBackAsAnotherVersion(t *testing.T) {
	fake := dockertest.New(t)
	client := newClient(t, fake.Host())
	if v, err := client.Ping(t.Context()); v != "1.41" || err != nil {
		t.Fatal(v, err)
	}
	fake.Down()
	if _, err := client.List(t.Context()); !errors.Is(err, docker.ErrUnreachable) {
		t.Errorf("list without an engine: %v", err)
	}
	if _, err := client.Events(t.Context(), 0); !errors.Is(err, docker.ErrUnreachable) {
		t.Errorf("events without an engine: %v", err)
	}
	fake.SetVersion("1.40")
	fake.Up(t)
	if _, err := client.List(t.Context()); err != nil {
		t.Errorf("list after the engine came back: %v", err)
	}
	if v, err := client.Ping(t.Context()); v != "1.40" || err != nil {
		t.Errorf("version %q, %v", v, err)
	}
}

func TestAHostThatIsNoneIsAnErrorThatHelps(t *testing.T) {
	_, err := docker.New("docker.sock")
	if err == nil || !strings.Contains(err.Error(), "unix:///") {
		t.Error(err)
	}
	client := newClient(t, "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	if _, err := client.Ping(t.Context()); !errors.Is(err, docker.ErrUnreachable) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
