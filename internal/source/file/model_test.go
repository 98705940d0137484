package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/units"
)

// machine is a log in a real directory, what is done to it, and the agent that reads it.
// What is done is what programs and logrotate do; each line must come once, in order.
type machine struct {
	*host
	rt      *rapid.T
	clock   time.Time
	dated   bool // rotation by date, else by number
	r       *Reader
	cursor  position.Cursor
	wrote   int // lines
	got     []string
	pending bool // a line was begun
	days    int
	known   bool // the agent has read of the file
	shapes  []*shape.Shape
}

func newMachine(t *testing.T, rt *rapid.T) *machine {
	m := &machine{host: newHost(t), rt: rt, clock: time.Now(), dated: rapid.Bool().Draw(rt, "by date")}
	for _, change := range []func(*shape.Config){
		func(*shape.Config) {},
		func(c *shape.Config) { c.Multiline.Start = "[05]$" },
		func(c *shape.Config) { c.Multiline.Continue, c.Multiline.Flush = "[1-3]$", units.Duration(time.Minute) },
		func(c *shape.Config) { c.Encoding = "latin1" },
		func(c *shape.Config) { c.Timestamp.Format, c.Timestamp.After = "unix", "line " },
	} {
		c := shape.DefaultConfig()
		change(&c)
		s, err := c.Compile(units.MiB)
		m.must(err)
		m.shapes = append(m.shapes, s)
	}
	m.host.opener.Archives = &tail.Archives{Dir: t.TempDir()}
	m.host.opener.Now = func() time.Time { return m.clock }
	m.write("a.log", "")
	m.Start(rt) // what was rotated before the agent ever ran is no business of its
	m.Read(rt)
	m.cursor = m.r.Cursor()
	return m
}

// tick is what the clock does between two things.
func (m *machine) tick() { m.clock = m.clock.Add(time.Second) }

func (m *machine) exists(name string) bool {
	_, err := os.Stat(m.path(name))
	return !errors.Is(err, fs.ErrNotExist)
}

// Write appends lines, the last of which may be incomplete.
func (m *machine) Write(rt *rapid.T) {
	text := ""
	for range rapid.IntRange(1, 3).Draw(rt, "lines") {
		if !m.pending {
			m.wrote++
			text += fmt.Sprintf("line %d", m.wrote)
		}
		text += "\n"
		m.pending = false
	}
	if rapid.IntRange(0, 3).Draw(rt, "begun") == 0 {
		m.wrote++
		text += fmt.Sprintf("line %d", m.wrote)
		m.pending = true
	}
	m.tick()
	m.write("a.log", text)
	m.must(os.Chtimes(m.path("a.log"), m.clock, m.clock))
}

// Rotate renames, as logrotate does; the program has closed its file, and opens a new one
// when it writes, or at once.
func (m *machine) Rotate(rt *rapid.T) {
	if !m.exists("a.log") {
		rt.Skip("nothing to rotate")
	}
	m.end()
	m.shift()
	m.rename("a.log", m.newest())
	m.known = false
	if rapid.Bool().Draw(rt, "create") {
		m.tick()
		m.write("a.log", "")
		m.must(os.Chtimes(m.path("a.log"), m.clock, m.clock))
	}
}

// end ends the line that was begun: nobody will.
func (m *machine) end() {
	m.pending = false
}

func (m *machine) newest() string {
	if m.dated {
		return fmt.Sprintf("a.log-2026%04d", m.days)
	}
	return "a.log.1"
}

// shift makes the name of the newest rotated file free.
func (m *machine) shift() {
	m.days++
	if m.dated {
		return
	}
	for n := 30; n > 0; n-- {
		for _, ext := range []string{"", ".gz"} {
			if from := fmt.Sprint("a.log.", n, ext); m.exists(from) {
				m.rename(from, fmt.Sprint("a.log.", n+1, ext))
			}
		}
	}
}

// Compress compresses the rotated files that are not yet, perhaps all but the newest.
func (m *machine) Compress(rt *rapid.T) {
	names, err := os.ReadDir(m.dir)
	m.must(err)
	delay := rapid.Bool().Draw(rt, "delaycompress")
	for _, e := range names {
		name := e.Name()
		if name == "a.log" || name[len(name)-1] == 'z' || delay && name == m.newest() {
			continue
		}
		m.compress(name, name+".gz")
	}
}

// CopyTruncate copies the file and empties it in place, whether the agent runs or not, and
// however far it has read.
func (m *machine) CopyTruncate(rt *rapid.T) {
	if !m.exists("a.log") || m.pending || !m.known {
		rt.Skip("lines would be lost")
	}
	m.tick()
	m.shift()
	data, err := os.ReadFile(m.path("a.log"))
	m.must(err)
	m.must(os.WriteFile(m.path(m.newest()), data, 0o600))
	m.must(os.Chtimes(m.path(m.newest()), m.clock, m.clock))
	m.must(os.Truncate(m.path("a.log"), 0))
	m.tick()
	m.must(os.Chtimes(m.path("a.log"), m.clock, m.clock))
	for rapid.Bool().Draw(rt, "written before it is looked at") {
		m.Write(rt)
	}
}

// Delete removes the file once all of it is read.
func (m *machine) Delete(rt *rapid.T) {
	if m.r == nil || !m.exists("a.log") {
		rt.Skip("lines would be lost")
	}
	if m.pending {
		m.tick()
		m.write("a.log", "\n")
		m.must(os.Chtimes(m.path("a.log"), m.clock, m.clock))
		m.pending = false
	}
	m.become(m.shapes[0]) // or what is held would be lost, if the agent stops before the next file
	m.Read(rt)
	m.must(os.Remove(m.path("a.log")))
	m.known = false
}

// Reshape reloads the configuration: lines become entries in another way.
func (m *machine) Reshape(rt *rapid.T) {
	m.become(rapid.SampledFrom(m.shapes).Draw(rt, "shape"))
}

func (m *machine) become(s *shape.Shape) {
	if m.shape = s; m.r != nil {
		m.r.Update(m.target("a.log"))
	}
}

// Start starts the agent where the one before stopped.
func (m *machine) Start(rt *rapid.T) {
	if m.r != nil || !m.exists("a.log") {
		rt.Skip("it runs, or would find nothing")
	}
	o := m.host.opener
	m.host.opener = &Opener{Pool: o.Pool, MaxLine: o.MaxLine, Stats: o.Stats, Archives: o.Archives, Now: o.Now}
	m.host.opener.Restore(map[string]position.Cursor{"file:" + m.path("a.log"): m.cursor})
	m.r = m.open("a.log", m.cursor)
}

// Stop stops it.
func (m *machine) Stop(rt *rapid.T) {
	if m.r == nil {
		rt.Skip("it does not run")
	}
	if !m.exists("a.log") && rapid.Bool().Draw(rt, "all is read first") {
		m.Read(rt)
	}
	m.r.Close()
	m.r = nil
}

// Read reads what there is, or a part of it.
func (m *machine) Read(rt *rapid.T) {
	if m.r == nil {
		rt.Skip("it does not run")
	}
	for {
		m.tick()
		b, err := m.r.Next(m.t.Context())
		if errors.Is(err, source.ErrIdle) || errors.Is(err, io.EOF) {
			m.cursor = m.r.Cursor() // as the pool does when all is delivered
			info, err := os.Stat(m.path("a.log"))
			m.known = err == nil && info.Size() > 0
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		for i := range b.Entries {
			m.got = append(m.got, strings.Split(string(b.Line(i)), "\n")...)
		}
		b.Done(record.Delivered)
		m.cursor = m.r.Cursor()
	}
}

// Check implements rapid.StateMachine. The agent sees, if not what is written, that there is
// another file: it is told so.
func (m *machine) Check(rt *rapid.T) {
	if m.r != nil {
		if _, err := m.r.Look(); err != nil {
			rt.Fatal(err)
		}
	}
	for i, got := range m.got {
		if want := fmt.Sprintf("line %d", i+1); got != want {
			rt.Fatalf("line %d is %q", i+1, got)
		}
	}
}

func TestEachLineComesOnceWhateverIsDoneToTheLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t, rt)
		rt.Repeat(rapid.StateMachineActions(m))
		if m.r != nil && rapid.Bool().Draw(rt, "one more stop") {
			m.r.Close()
			m.r = nil
		}
		end := "" // of the last line; a file that was rotated away may go on until the next one is written to
		if m.pending {
			end = "\n"
		}
		m.wrote++
		m.tick()
		m.write("a.log", fmt.Sprintf("%sline %d\n", end, m.wrote))
		m.must(os.Chtimes(m.path("a.log"), m.clock, m.clock))
		if m.r == nil {
			m.Start(rt)
		}
		m.become(m.shapes[0])
		m.Read(rt)
		m.Check(rt)
		if len(m.got) != m.wrote {
			rt.Fatalf("%d lines came of %d: %v", len(m.got), m.wrote, m.got)
		}
		m.r.Close()
	})
}
