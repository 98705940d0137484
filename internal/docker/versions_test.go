package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
)

// works makes one call of every kind.
func works(ctx context.Context, c *docker.Client, id string) error {
	if _, err := c.List(ctx); err != nil {
		return err
	}
	if _, err := c.Inspect(ctx, id); err != nil {
		return err
	}
	if _, err := c.Info(ctx); err != nil {
		return err
	}
	body, err := c.Logs(ctx, id, docker.LogOptions{})
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := docker.NewDecoder(body, false).Next(); err != nil {
		return err
	}
	events, err := c.Events(ctx, 0)
	if err != nil {
		return err
	}
	events.Close()
	return nil
}

func TestEveryAPIVersionIsSpoken(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: "a", Name: "web", Records: []dockertest.Record{{Time: 1e18, Data: "x\n"}}})
	for minor := 40; minor <= 60; minor++ { // 1.40 is Docker 19.03; the last ones are newer than the client
		version := fmt.Sprint("1.", minor)
		engine.SetVersion(version)
		client := newClient(t, engine.Host())
		if v, err := client.Ping(t.Context()); v != version || err != nil {
			t.Fatalf("announced %q, %v; it is %s", v, err, version)
		}
		if err := works(t.Context(), client, "a"); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	engine.SetVersion("1.39")
	if _, err := newClient(t, engine.Host()).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "1.40") {
		t.Errorf("an engine that is too old: %v", err)
	}
}

func TestAnEngineThatIsReplacedIsSpokenToInItsVersion(t *testing.T) {
	engine := dockertest.New(t)
	engine.Hidden(dockertest.Container{ID: "a", Name: "web", Records: []dockertest.Record{{Time: 1e18, Data: "x\n"}}})
	client := newClient(t, engine.Host())
	for _, version := range []string{"1.41", "1.52", "1.40", "1.47"} {
		engine.SetVersion(version)
		// The connection may outlive the engine, behind a proxy: then one call fails, no more.
		if _, err := client.List(t.Context()); err != nil {
			t.Logf("%s: %v", version, err)
		}
		if err := works(t.Context(), client, "a"); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		if v, err := client.Ping(t.Context()); v != version || err != nil {
			t.Errorf("%s: announced %q, %v", version, v, err)
		}
	}
}

func TestAHostThatNeedsSSHIsRefused(t *testing.T) {
	t.Setenv("DOCKER_HOST", "ssh://root@far.example")
	for _, host := range []string{"", "ssh://root@far.example"} {
		if _, err := docker.New(host); err == nil || !strings.Contains(err.Error(), "forward") {
			t.Errorf("%q: %v", host, err)
		}
	}
	for _, host := range []string{"npipe:////./pipe/docker_engine", "ftp://x", "unix://"} {
		if _, err := docker.New(host); err == nil {
			t.Errorf("%q is taken", host)
		}
	}
}

// inMemory runs a scenario with an engine and a client inside a bubble.
func inMemory(t *testing.T, scenario func(t *testing.T, e *dockertest.Engine, c *docker.Client)) {
	synctest.Test(t, func(t *testing.T) {
		pipe := dockertest.NewPipe()
		engine := dockertest.Serve(t, pipe)
		client, err := docker.NewWithDial(engine.Host(), pipe.Dial)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		scenario(t, engine, client)
		if n := client.OpenStreams(); n != 0 {
			t.Errorf("%d streams were left open", n)
		}
	})
}

func TestARealClientRunsInMemory(t *testing.T) {
	inMemory(t, func(t *testing.T, e *dockertest.Engine, c *docker.Client) {
		e.Create(dockertest.Container{ID: "a", Name: "web", Running: true, Started: time.Now()})
		body, err := c.Logs(t.Context(), "a", docker.LogOptions{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		d := docker.NewDecoder(body, false)
		began := time.Now()
		for i := range 24 {
			time.AfterFunc(time.Hour, func() { e.Append("a", dockertest.Record{Time: time.Now().UnixNano(), Data: fmt.Sprintln(i)}) })
			if p, err := d.Next(); err != nil || string(p.Data) != fmt.Sprint(i) {
				t.Fatal(string(p.Data), err)
			}
		}
		if spent := time.Since(began); spent != 24*time.Hour {
			t.Errorf("%s of the bubble's time", spent)
		}
		e.Exit("a", 3)
		if _, err := d.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("at the container's end: %v", err)
		}
		if got, err := c.Inspect(t.Context(), "a"); err != nil || got.ExitCode != 3 || !got.Finished.Equal(time.Now()) || got.Running {
			t.Errorf("%+v, %v", got, err)
		}
		e.Down()
		if _, err := c.List(t.Context()); !errors.Is(err, docker.ErrUnreachable) {
			t.Errorf("an engine that is down: %v", err)
		}
		e.Up(t)
		if _, err := c.List(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAFrozenEngineCostsAsLongAsACallMayTake(t *testing.T) {
	inMemory(t, func(t *testing.T, e *dockertest.Engine, c *docker.Client) {
		e.Create(dockertest.Container{ID: "a", Name: "web", Running: true})
		body, err := c.Logs(t.Context(), "a", docker.LogOptions{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		e.Freeze()
		began := time.Now()
		if _, err := c.List(t.Context()); !errors.Is(err, docker.ErrUnreachable) {
			t.Errorf("list: %v", err)
		}
		if spent := time.Since(began); spent < time.Second || spent > time.Minute {
			t.Errorf("gave up after %s", spent)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if _, err := c.Logs(ctx, "a", docker.LogOptions{Follow: true}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("logs: %v", err)
		}
		if spent := time.Since(began); spent != time.Second {
			t.Errorf("a stream's context ended it after %s", spent)
		}
		e.Append("a", dockertest.Record{Time: 1e18, Data: "late\n"})
		thawed := time.Now().Add(time.Minute)
		time.AfterFunc(time.Minute, e.Thaw)
		if p, err := docker.NewDecoder(body, false).Next(); err != nil || string(p.Data) != "late" || time.Now().Before(thawed) {
			t.Errorf("a frozen engine sent %q, %v after %s", p.Data, err, time.Since(began))
		}
		if _, err := c.List(t.Context()); err != nil {
			t.Errorf("after the thaw: %v", err)
		}
	})
}

func TestAFollowerIsWokenByItsOwnContainerAlone(t *testing.T) {
	const n = 5000
	e := dockertest.New(t)
	for i := range n {
		e.Hidden(dockertest.Container{ID: fmt.Sprintf("%064d", i), Name: fmt.Sprint("c", i), Running: true})
	}
	c := newClient(t, e.Host())
	if list, err := c.List(t.Context()); err != nil || len(list) != n {
		t.Fatal(len(list), err)
	}
	decoders := make([]*docker.Decoder, 50)
	for i := range decoders {
		body, err := c.Logs(t.Context(), fmt.Sprintf("%064d", i), docker.LogOptions{Follow: true, Tail: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		decoders[i] = docker.NewDecoder(body, false)
	}
	if got := e.Followers(); got != len(decoders) {
		t.Errorf("%d followers", got)
	}
	for i := range n {
		e.Append(fmt.Sprintf("%064d", i), dockertest.Record{Time: 1e18, Data: fmt.Sprintln("line of", i)})
	}
	for i, d := range decoders {
		if p, err := d.Next(); err != nil || string(p.Data) != fmt.Sprint("line of ", i) {
			t.Fatal(string(p.Data), err)
		}
		if d.Ready() {
			t.Errorf("follower %d has more than its own line", i)
		}
	}
}
