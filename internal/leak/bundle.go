package leak

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

const (
	// maxFile bounds each file of a bundle, in bytes.
	maxFile = 4 << 20
	// unfinished is how the directory of a bundle begins while it is written.
	unfinished = ".unfinished-"
	cutNote    = "\n[cut off: the rest is left out]\n"
)

// part is one file of a bundle. Text that is too long is cut, anything else left out.
type part struct {
	name  string
	text  bool
	write func(io.Writer) error
}

// dump writes a bundle and returns its directory; "" when there is none. It fails with
// a line in the log: the watch goes on.
func (w *Watch) dump(v Verdict, sample Sample, keep int) string {
	dir, err := w.bundle(v, sample)
	if err != nil {
		w.Log.Warn("the leak watch could not write all of its dumps", "dir", w.Dir, "error", err)
	}
	if dir != "" {
		w.Log.Info("the leak watch has written its dumps", "dir", dir)
	}
	if err := prune(w.Dir, keep); err != nil {
		w.Log.Warn("the leak watch could not remove its oldest dumps", "dir", w.Dir, "error", err)
	}
	return dir
}

// bundle writes the files into a directory that gets its name when they are complete.
func (w *Watch) bundle(v Verdict, sample Sample) (string, error) {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of dumps: %w", err)
	}
	name := freeName(w.Dir, sample.Time.UTC().Format("20060102T150405Z"))
	temporary := filepath.Join(w.Dir, unfinished+name)
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of dumps: %w", err)
	}
	var errs []error
	for _, p := range w.parts(v, sample) {
		if err := p.save(temporary); err != nil {
			errs = append(errs, err)
		}
	}
	dir := filepath.Join(w.Dir, name)
	if err := os.Rename(temporary, dir); err != nil {
		os.RemoveAll(temporary)
		return "", errors.Join(append(errs, fmt.Errorf("finish the dumps: %w", err))...)
	}
	return dir, errors.Join(errs...)
}

func (w *Watch) parts(v Verdict, sample Sample) []part {
	census := sample.Census
	if census == nil {
		census = sample
	}
	parts := []part{
		{"verdict.json", true, asJSON(v)},
		{"snapshot.json", true, asJSON(census)},
		{"goroutines.txt", true, goroutines},
		{"goroutines_by_stack.txt", true, profile("goroutine", 1)},
		{"goroutines.pb.gz", false, profile("goroutine", 0)},
		{"heap.pb.gz", false, profile("heap", 0)},
		{"descriptors.txt", true, func(out io.Writer) error { return openFiles(out, sample) }},
	}
	if w.Effective != nil {
		parts = append(parts, part{"config.yaml", true, func(out io.Writer) error {
			text, err := w.Effective()
			if err != nil {
				return err
			}
			_, err = out.Write(text)
			return err
		}})
	}
	if w.LastLines != nil {
		parts = append(parts, part{"agent.log", true, func(out io.Writer) error {
			_, err := out.Write(w.LastLines())
			return err
		}})
	}
	return parts
}

// save writes the part into dir.
func (p part) save(dir string) error {
	path := filepath.Join(dir, p.name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", p.name, err)
	}
	out := &capped{to: f, left: maxFile}
	err = p.write(out)
	if out.cut && p.text && err == nil {
		_, err = io.WriteString(f, cutNote)
	}
	err = errors.Join(err, f.Close())
	if out.cut && !p.text {
		err = errors.Join(err, fmt.Errorf("it is larger than %s and left out", units.HumanBytes(maxFile)), os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", p.name, err)
	}
	return nil
}

// capped takes everything and passes on what there is room for.
type capped struct {
	to   io.Writer
	left int
	cut  bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := p
	if len(p) > c.left {
		room, c.cut = p[:c.left], true
	}
	n, err := c.to.Write(room)
	c.left -= n
	if err != nil {
		return n, err
	}
	return len(p), nil
}

func asJSON(v any) func(io.Writer) error {
	return func(out io.Writer) error {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
}

func profile(name string, debug int) func(io.Writer) error {
	return func(out io.Writer) error {
		p := pprof.Lookup(name)
		if p == nil {
			return errors.New("the runtime has no such profile")
		}
		return p.WriteTo(out, debug)
	}
}

// goroutines writes every goroutine with its stack, in the form of a SIGQUIT. The
// profile with debug=2 is the same text, but takes up to 64 MiB for it.
func goroutines(out io.Writer) error {
	for size := 64 << 10; ; size *= 4 {
		text := make([]byte, min(size, maxFile))
		n := runtime.Stack(text, true)
		if n < len(text) || len(text) == maxFile {
			_, err := out.Write(text[:n])
			return err
		}
	}
}

// openFiles writes what the process has open: kinds first, then each descriptor.
func openFiles(out io.Writer, sample Sample) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "open: %d, limit: %d\n\n", sample.Descriptors, sample.DescriptorLimit)
	for _, s := range sample.Series {
		if kind, ok := strings.CutPrefix(s.What, Descriptors); ok {
			fmt.Fprintf(&text, "%-16s %s\n", kind, number(s.Value))
		}
	}
	text.WriteString("\n")
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if target, err := os.Readlink(dir + "/" + strconv.Itoa(n)); err == nil { // else it was closed by now
			fmt.Fprintf(&text, "%-6d %s\n", n, units.Printable(target))
		}
	}
	_, writeErr := out.Write(text.Bytes())
	return errors.Join(err, writeErr)
}

// freeName returns name, or name-2 and so on when there is one already.
func freeName(dir, name string) string {
	for i, try := 2, name; ; i++ {
		if _, err := os.Lstat(filepath.Join(dir, try)); err != nil {
			return try
		}
		try = fmt.Sprintf("%s-%d", name, i)
	}
}

// prune keeps the newest bundles, and nothing unfinished. It touches no directory that
// is not named as a bundle is.
func prune(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	var names []string // sorted: the oldest first
	for _, e := range entries {
		name, left := strings.CutPrefix(e.Name(), unfinished)
		if !e.IsDir() || !isBundle(name) {
			continue
		}
		if left {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
			continue
		}
		names = append(names, e.Name())
	}
	for len(names) > keep {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, names[0])))
		names = names[1:]
	}
	return errors.Join(errs...)
}

// isBundle tells whether it is named as 20261121T120000Z, or 20261121T120000Z-2.
func isBundle(name string) bool {
	const form = "20060102T150405Z"
	if len(name) < len(form) || name[8] != 'T' || name[15] != 'Z' {
		return false
	}
	for i, r := range name {
		if i != 8 && i != 15 && (r < '0' || r > '9') && !(r == '-' && i == len(form)) {
			return false
		}
	}
	return true
}
