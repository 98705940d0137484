package discover

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/source"
)

func write(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(set map[string]source.Target) (out []string) {
	for name := range set {
		out = append(out, filepath.Base(name))
	}
	slices.Sort(out)
	return out
}

func TestFilesByGlobs(t *testing.T) {
	dir := t.TempDir()
	app := write(t, filepath.Join(dir, "a", "b", "app.log"))
	write(t, filepath.Join(dir, "top.log"))
	write(t, filepath.Join(dir, "top.log.gz"))
	write(t, filepath.Join(dir, "secret.log"))
	write(t, filepath.Join(dir, "other.txt"))
	must(t, os.Mkdir(filepath.Join(dir, "dir.log"), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.log"), 0o600))
	must(t, os.Symlink("/dev/null", filepath.Join(dir, "device.log")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling.log")))
	must(t, os.Symlink(write(t, filepath.Join(dir, "pods", "0.txt")), filepath.Join(dir, "linked.log")))
	must(t, os.Symlink("top.log", filepath.Join(dir, "twice.log")))
	must(t, os.Link(app, filepath.Join(dir, "hard.log")))
	d := NewFiles(FileConfig{
		Include: []string{dir + "/**/*.log*", dir + "/top.log"}, Exclude: []string{"**/*.gz", dir + "/secret.*"}, Since: SinceNow(),
	}, nil, "host1", quiet())
	r := receive(t, d)
	set := r.until(t, "the set", func(s map[string]source.Target) bool { return len(s) > 0 })
	if got := fmt.Sprint(names(set)); got != "[app.log linked.log top.log]" {
		t.Error("found", got)
	}
	target := set[app]
	if target.Source.ID != "file:"+app || target.Path != app || target.Mode != source.File || !target.Source.CanWait || target.Since.IsZero() {
		t.Errorf("%+v", target)
	}
	if want := fmt.Sprintf(`{filename=%q, host="host1", job="files"}`, app); target.Source.Streams[record.OutputNone].Key != want {
		t.Error("labels", target.Source.Streams[record.OutputNone].Key)
	}
	later := write(t, filepath.Join(dir, "later.log"))
	d.Hint()
	if target := r.has(t, later); !target.Since.IsZero() {
		t.Error("a file that appears later is not read from its start")
	}
}

func TestAFileThatDisappearsIsGoneUntilForgotten(t *testing.T) {
	dir := t.TempDir()
	one, two := write(t, filepath.Join(dir, "one.log")), write(t, filepath.Join(dir, "two.log"))
	d := NewFiles(FileConfig{Include: []string{dir + "/*.log"}}, nil, "h", quiet())
	r := receive(t, d)
	first := r.until(t, "both", func(s map[string]source.Target) bool { return len(s) == 2 })
	must(t, os.Remove(one))
	d.Hint()
	r.until(t, "gone", func(s map[string]source.Target) bool { return s[one].Gone && !s[two].Gone })
	d.Forget(first[two].Source.ID) // not gone: it stays
	d.Forget(first[one].Source.ID)
	write(t, filepath.Join(dir, "three.log"))
	d.Hint()
	set := r.until(t, "three", func(s map[string]source.Target) bool { return s[filepath.Join(dir, "three.log")].Source != nil })
	if got := fmt.Sprint(names(set)); got != "[three.log two.log]" {
		t.Error("found", got)
	}
	if set[two].Source != first[two].Source {
		t.Error("an unchanged file got a new source")
	}
}

func TestARotatedFileKeepsItsOneTarget(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "app.log"))
	d := NewFiles(FileConfig{Include: []string{dir + "/app.log*"}}, nil, "h", quiet())
	r := receive(t, d)
	first := r.has(t, path)
	must(t, os.Rename(path, path+".1"))
	d.Hint()
	write(t, path)
	marker := write(t, filepath.Join(dir, "app.log-other"))
	d.Hint()
	r.has(t, marker)
	set := r.until(t, "all", func(s map[string]source.Target) bool { return len(s) >= 2 })
	if set[path].Source != first.Source || set[path].Gone {
		t.Errorf("after a rotation: %+v", set[path])
	}
	if inodeOf(path, stat(t, path)).born != 0 && len(set) != 2 {
		t.Error("the rotated file became a target of its own:", names(set))
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info
}

// A new configuration changes nothing for files that the one of before named too: one that
// has just appeared is new, and read from its beginning.
func TestANewFileIsNewAlsoAfterAReload(t *testing.T) {
	dir := t.TempDir()
	config := FileConfig{Include: []string{dir + "//a*.log"}, Since: SinceNow()}
	f := NewFiles(config, nil, "host1", quiet())
	touch := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	touch("a1.log")
	touch("b1.log")
	f.look(t.Context(), true)
	touch("a2.log")
	config.Include = append(config.Include, dir+"/b*.log")
	f.Reconfigure(config, nil)
	f.look(t.Context(), false)
	for name, history := range map[string]bool{"a1.log": false, "a2.log": true, "b1.log": false} {
		k := f.known[filepath.Join(dir, name)]
		if k == nil || k.target.Since.IsZero() != history {
			t.Errorf("%s: %+v", name, k)
		}
	}
	before := f.known[filepath.Join(dir, "a1.log")]
	f.Reconfigure(config, nil)
	if changed, taken := f.look(t.Context(), false); changed || len(taken) != 1 || f.known[filepath.Join(dir, "a1.log")] != before {
		t.Error("the same configuration again changes something")
	}
}

// A file that appears while nobody looks, between two Runs, is new too.
func TestAFileIsNewToTheNextRun(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.log"))
	f := NewFiles(FileConfig{Include: []string{dir + "/*.log"}, Since: SinceNow()}, nil, "host1", quiet())
	t.Run("first", func(t *testing.T) {
		receive(t, f).until(t, "one file", func(s map[string]source.Target) bool { return len(s) == 1 })
	})
	write(t, filepath.Join(dir, "b.log"))
	receive(t, f).until(t, "both files", func(s map[string]source.Target) bool { return len(s) == 2 })
	for name, history := range map[string]bool{"a.log": false, "b.log": true} {
		f.mu.Lock()
		since := f.known[filepath.Join(dir, name)].target.Since
		f.mu.Unlock()
		if since.IsZero() != history {
			t.Errorf("%s is read since %v", name, since)
		}
	}
}

func TestTheNumberOfFilesIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 3 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".log")), nil, 0o600))
	}
	d := NewFiles(FileConfig{Include: []string{dir + "/*.log"}}, nil, "h", quiet())
	r := receive(t, d)
	set := r.until(t, "the set", func(s map[string]source.Target) bool { return len(s) > 0 })
	if len(set) != maxFiles || d.Overflow() != 3 {
		t.Errorf("%d captured, %d left out", len(set), d.Overflow())
	}
}

func TestWhatIsLeftOutIsToldOnce(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.log"), 0o600))
	must(t, os.Symlink("/dev/null", filepath.Join(dir, "device.log")))
	must(t, os.Symlink(write(t, filepath.Join(outside, "out.txt")), filepath.Join(dir, "out.log")))
	must(t, os.Symlink(write(t, filepath.Join(dir, "in.txt")), filepath.Join(dir, "in.log")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling.log")))
	var out bytes.Buffer
	d := NewFiles(FileConfig{Include: []string{dir + "/*.log"}, Roots: []string{dir}}, nil, "h", slog.New(slog.NewTextHandler(&out, nil)))
	for range 3 {
		d.look(t.Context(), true)
	}
	if got := fmt.Sprint(len(d.targets()), " ", d.targets()[0].Path); got != "1 "+filepath.Join(dir, "in.log") {
		t.Error("found", got)
	}
	for _, want := range []string{"pipe.log", "a pipe", "device.log", "a device", "out.log", "leads out of"} {
		if n := strings.Count(out.String(), want); n != 1 {
			t.Errorf("%q is told %d times:\n%s", want, n, out.String())
		}
	}
	must(t, os.Remove(filepath.Join(dir, "pipe.log")))
	d.look(t.Context(), false)
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.log"), 0o600))
	d.look(t.Context(), false)
	if n := strings.Count(out.String(), "pipe.log"); n != 2 {
		t.Errorf("a pipe that came back is told %d times in all:\n%s", n, out.String())
	}
}

func TestTheContainersOfPodsAreNamed(t *testing.T) {
	c := FileConfig{Config: shape.DefaultConfig(), Rules: []FileRule{{Include: []string{"/var/log/pods/**"}, Config: shape.Config{Format: shape.CRI}}}}
	d := NewFiles(c, nil, "h", quiet())
	path := "/var/log/pods/shop_cart-1_0a/web/0.log"
	s := d.newFile(path, true, time.Now()).target.Source
	for o, want := range map[record.Output]string{
		record.Stdout:     `{container="web", host="h", job="pods", namespace="shop", pod="cart-1", stream="stdout"}`,
		record.OutputNone: `{container="web", host="h", job="pods", namespace="shop", pod="cart-1"}`,
	} {
		if got := s.Streams[o].Key; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if s := d.newFile("/var/log/syslog", true, time.Now()).target.Source; s.Streams[record.Stdout] != nil {
		t.Error("a plain file has outputs")
	}
}

// A reload of how text becomes entries tells each file that it is for, and no other, and the
// labels follow.
func TestFilesAreShapedAnew(t *testing.T) {
	dir := t.TempDir()
	app, pod := write(t, filepath.Join(dir, "app.log")), write(t, filepath.Join(dir, "shop_cart-1_0a", "web", "0.log"))
	config := DefaultFileConfig()
	config.Include = []string{dir + "/**/*.log"}
	shapes, err := config.Shapes(nil)
	must(t, err)
	d := NewFiles(config, shapes, "h", quiet())
	r := receive(t, d)
	was := r.until(t, "both", func(s map[string]source.Target) bool { return len(s) == 2 })
	if was[app].Shape == nil || was[app].Shape != was[pod].Shape {
		t.Error("files that are shaped alike have not the same shape")
	}
	config.Rules = []FileRule{{Include: []string{"**/web/*"}, Config: shape.DefaultConfig()}}
	config.Rules[0].Format = shape.CRI
	shapes, err = config.Shapes(shapes)
	must(t, err)
	d.Reconfigure(config, shapes)
	is := r.until(t, "another shape", func(s map[string]source.Target) bool { return s[pod].Shape != was[pod].Shape })
	if is[app].Shape != was[app].Shape || is[app].Source != was[app].Source {
		t.Error("a file that is shaped as before has another shape or source")
	}
	if s := is[pod].Source; s.ID != was[pod].Source.ID || s.Streams[record.Stdout] == nil {
		t.Errorf("the pod's log has the source %+v", s)
	}
	config.Rules = slices.Clone(config.Rules)
	config.Rules[0].Timestamp.Zone = "UTC"
	again, err := config.Shapes(shapes)
	must(t, err)
	d.Reconfigure(config, again)
	last := r.until(t, "yet another shape", func(s map[string]source.Target) bool { return s[pod].Shape != is[pod].Shape })
	if last[pod].Source != is[pod].Source {
		t.Error("the labels are as before, and the source is another one")
	}
}
