package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// generations of a json-file that the engine keeps. Together they must last for a
// container's life: they are the oracle of what it wrote.
const generations = 20

// generation is the size of each.
const generation = "300k"

// member is a container of the fleet.
type member struct {
	c    *harness.Container
	read string
	path string // of its json-file
	// shaken: dockerd was restarted in its life, and may have lost a line that it had read.
	shaken bool
}

// launch starts containers, a few at a time.
func (r *rig) launch(ctx context.Context, reads ...string) error {
	var all errgroup.Group
	all.SetLimit(4)
	born := make([]*member, len(reads))
	for i, read := range reads {
		all.Go(func() (err error) {
			born[i], err = r.create(ctx, read)
			return err
		})
	}
	err := all.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fleet = append(r.fleet, slices.DeleteFunc(born, func(m *member) bool { return m == nil })...)
	return err
}

func (r *rig) create(ctx context.Context, read string) (*member, error) {
	r.mu.Lock()
	name := fmt.Sprintf("soak-%d", r.did.created)
	r.did.created++
	r.mu.Unlock()
	c, err := r.engine.RunContainer(ctx, harness.RunOptions{
		Name: name, Labels: map[string]string{"log_capturer.read": read},
		Args:    []string{"-rate", fmt.Sprint(r.o.rate), "-sizes", "100:400", "-state", "/seq"},
		LogOpts: map[string]string{"max-size": generation, "max-file": fmt.Sprint(generations)},
	})
	if err != nil {
		return nil, err
	}
	info, err := r.engine.Client().ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", name, err)
	}
	return &member{c: c, read: read, path: info.Container.LogPath}, nil
}

// churn replaces, restarts, stops and starts containers, and runs short-lived ones, until
// ctx ends. Of the fleet the oldest goes first, so that nobody's log outgrows its oracle.
func (r *rig) churn(ctx context.Context) error {
	random := rand.New(rand.NewPCG(2, 2))
	for n := 0; task.Sleep(ctx, r.o.pace); n++ {
		if err := r.change(context.WithoutCancel(ctx), n, random); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) change(ctx context.Context, n int, random *rand.Rand) error {
	r.up.Lock()
	defer r.up.Unlock()
	if n%4 == 3 {
		return r.brief(ctx)
	}
	r.mu.Lock()
	oldest, young := r.fleet[0], r.fleet[len(r.fleet)/2+random.IntN(len(r.fleet)/2)]
	r.mu.Unlock()
	switch n % 8 {
	case 1:
		r.mu.Lock()
		r.did.restarted++
		r.mu.Unlock()
		_, err := r.engine.Client().ContainerRestart(ctx, young.c.ID, client.ContainerRestartOptions{})
		return err
	case 5:
		r.mu.Lock()
		r.did.stopped++
		r.mu.Unlock()
		if err := young.c.StopContext(ctx); err != nil {
			return err
		}
		_, err := r.engine.Client().ContainerStart(ctx, young.c.ID, client.ContainerStartOptions{})
		return err
	}
	if err := r.retire(ctx, oldest); err != nil {
		return err
	}
	r.mu.Lock()
	r.fleet = r.fleet[1:]
	r.mu.Unlock()
	return r.launch(ctx, oldest.read)
}

// brief is docker run --rm. It ends once its stream is open: what a container said that was
// gone before is lost, as the documentation says.
func (r *rig) brief(ctx context.Context) error {
	const lines = 30
	r.mu.Lock()
	r.did.brief++
	name := fmt.Sprintf("brief-%d", r.did.brief)
	r.mu.Unlock()
	c, err := r.engine.RunContainer(ctx, harness.RunOptions{
		Name: name, AutoRemove: true, Labels: map[string]string{"log_capturer.read": "stream"},
		Args: []string{"-n", fmt.Sprint(lines), "-burst", fmt.Sprint(lines / 3), "-every", "300ms", "-hold"},
	})
	if err != nil {
		return err
	}
	if err := r.delivered(ctx, r.calm, name, lines-lines/3+1); err != nil { // of the last burst, written in no time
		return err
	}
	r.mu.Lock()
	r.ledger.Expect(name, 1, lines)
	r.mu.Unlock()
	return c.StopContext(ctx)
}

// retire stops a container, expects what the engine has of it, and removes it.
func (r *rig) retire(ctx context.Context, m *member) error {
	if err := m.c.StopContext(ctx); err != nil {
		return err
	}
	n, err := r.expect(m)
	if err == nil && m.read == "poll" { // what comes after the last poll would be lost, as the documentation says
		err = r.delivered(ctx, r.calm, m.c.Name, n)
		r.polled(ctx)
	}
	_, removing := r.engine.Client().ContainerRemove(ctx, m.c.ID, client.ContainerRemoveOptions{Force: true})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did.removed++
	return errors.Join(err, removing)
}

// polled waits until containers were polled again a few times, so that a poll of one that
// stands still found nothing more: else the agent counts a loss that may be. Who was read to
// its end is polled no more, so it does not wait for long.
func (r *rig) polled(ctx context.Context) {
	began, first := time.Now(), -1.0
	for time.Since(began) < 10*time.Second {
		m, err := r.agent.Scrape()
		if err == nil && first < 0 {
			first = m.Sum("container_polls_total")
		}
		if err == nil && time.Since(began) > 2*time.Second && m.Sum("container_polls_total") >= first+float64(3*r.o.others) {
			return
		}
		if !task.Sleep(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// expect adds to the ledger what the engine wrote of a container, and returns how much.
func (r *rig) expect(m *member) (n int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := int64(0)
	for g := generations - 1; g >= 0; g-- {
		path := m.path
		if g > 0 {
			path = fmt.Sprintf("%s.%d", m.path, g)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("read what %s wrote: %w", m.c.Name, err)
		}
		for record := range bytes.Lines(data) {
			text, whole := bytes.CutPrefix(record, []byte(`{"log":"`)) // plain lines have nothing to escape
			text, _, ok := bytes.Cut(text, []byte(`\n"`))
			if !whole || !ok {
				return n, fmt.Errorf("read what %s wrote: %.200q is no record", m.c.Name, record)
			}
			id, seq, err := line.Parse(text)
			if err != nil || id != m.c.Name || seq <= last {
				return n, fmt.Errorf("read what %s wrote: after line %d comes %.200q, error %w", m.c.Name, last, record, err)
			}
			missing := seq - last - 1
			if missing > 0 && (!m.shaken || last == 0) {
				return n, fmt.Errorf("read what %s wrote: lines %d to %d are missing though dockerd was not restarted, or are not kept any more", m.c.Name, last+1, seq-1)
			}
			r.did.engineLost += missing
			last = seq
			n++
			r.ledger.Expect(id, seq, seq)
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("read what %s wrote: nothing", m.c.Name)
	}
	return n, nil
}

// disband stops and removes all, and expects what they wrote.
func (r *rig) disband(ctx context.Context) error {
	var all errgroup.Group
	all.SetLimit(4)
	for _, m := range r.fleet {
		all.Go(func() error { return r.retire(ctx, m) })
	}
	r.fleet = nil
	return all.Wait()
}

// logFile is a log file that is rotated by renaming.
type logFile struct {
	path string
	keep int
	f    *os.File
	seq  int64
}

func (l *logFile) id() string { return "file-" + strings.TrimSuffix(filepath.Base(l.path), ".log") }

// write appends n lines.
func (l *logFile) write(n int) error {
	if l.f == nil {
		f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		l.f = f
	}
	var buf []byte
	for range n {
		l.seq++
		buf = append(line.Append(buf, line.Plain, l.id(), l.seq, 200, time.Now()), '\n')
	}
	_, err := l.f.Write(buf)
	return err
}

func (l *logFile) rotate() error {
	if err := l.f.Close(); err != nil {
		return err
	}
	l.f = nil
	for n := l.keep - 1; n > 0; n-- {
		_ = os.Rename(fmt.Sprintf("%s.%d", l.path, n), fmt.Sprintf("%s.%d", l.path, n+1)) // may not be there
	}
	return os.Rename(l.path, l.path+".1")
}

// remove removes all that it wrote.
func (l *logFile) remove() error {
	err := l.f.Close()
	for n := range l.keep + 1 {
		_ = os.Remove(fmt.Sprintf("%s.%d", l.path, n)) // may not be there
	}
	return errors.Join(err, os.Remove(l.path))
}

// writeFile writes a log file under load, rotated every half minute, until ctx ends.
func (r *rig) writeFile(ctx context.Context, l *logFile) error {
	const each, turns = 10, 300 // 100 lines a second
	for n := 1; task.Sleep(ctx, 100*time.Millisecond); n++ {
		if err := l.write(each); err != nil {
			return err
		}
		if n%turns == 0 {
			if err := l.rotate(); err != nil {
				return err
			}
		}
	}
	return nil
}
