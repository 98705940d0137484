package discover

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/logcapturer/log_capturer/internal/format/cri"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/shape"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/task"
)

const (
	// rescan is the time between two looks, of which hints make the next one come at once.
	// Where a look takes long, there are restTimes its time in between, up to maxRescan, and
	// hintTimes its time before the one that a hint asks for.
	rescan    = 2 * time.Second
	maxRescan = 30 * time.Second
	restTimes = 200
	hintTimes = 20
	// hintPause gathers hints that come close together into one look.
	hintPause = 50 * time.Millisecond
	// maxFiles bounds the number of files that are captured at a time.
	maxFiles = 10_000
)

// Files discovers log files by globs. It opens none of them: it looks at names and
// inodes only. A file that has several names is captured under one.
//
// A name that is not there any more stays in the set with Gone set until Forget tells
// that its reader is done; one that comes back first is taken back. A name is only
// Gone after a whole rescan interval, because a rotation takes it away for a moment.
type Files struct {
	host string
	log  *slog.Logger
	hint chan struct{}

	mu       sync.Mutex
	config   FileConfig
	shapes   *Shapes
	next     *wanted          // to be adopted by the next look
	taken    []chan struct{}  // closed when it was, and told
	known    map[string]*file // by path
	overflow int

	owners  map[inode]string  // which path has a file; Run's alone
	refused map[string]string // paths that the globs name and that are left out, and why; Run's alone
	warned  bool
	looked  bool // what appears from now on is new; Run's alone
}

// wanted is which files are captured, and how their text becomes entries.
type wanted struct {
	config FileConfig
	shapes *Shapes
}

// file is a path that is or was a log file.
type file struct {
	target  source.Target
	missing time.Time // since when the path is not there; zero = it is
}

// NewFiles returns a Discoverer that has not begun. shapes are those of config, nil to take
// every line for an entry; hostname becomes the label host.
func NewFiles(config FileConfig, shapes *Shapes, hostname string, log *slog.Logger) *Files {
	return &Files{
		config: config, shapes: shapes, host: hostname, log: log,
		hint: make(chan struct{}, 1), known: map[string]*file{}, owners: map[inode]string{},
	}
}

// Reconfigure has the files chosen as config says, and their text become entries as its
// shapes do, from the next look on, which it asks for. The channel is closed when that look
// was applied. What was found and is left out now keeps its position.
func (f *Files) Reconfigure(config FileConfig, shapes *Shapes) <-chan struct{} {
	taken := make(chan struct{})
	f.mu.Lock()
	f.next = &wanted{config, shapes}
	f.taken = append(f.taken, taken)
	f.mu.Unlock()
	f.Hint()
	return taken
}

// adopt makes the next configuration that of the moment, if there is one, also for the files
// that are known. fresh tells of a path whether the one of before did not name it.
func (f *Files) adopt() (config FileConfig, taken []chan struct{}, fresh func(path string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.config
	if taken, f.taken = f.taken, nil; f.next == nil || reflect.DeepEqual(f.next.config, was) {
		f.next = nil
		return was, taken, nil
	}
	f.config, f.shapes, f.next = f.next.config, f.next.shapes, nil
	maps.DeleteFunc(f.known, func(path string, _ *file) bool { return !f.config.names(path) })
	for path, k := range f.known {
		k.target.Shape = f.shapes.of(path)
		if was.shapeOf(path).Format != f.config.shapeOf(path).Format {
			k.target.Source = f.newSource(path) // with other labels, perhaps
		}
	}
	return f.config, taken, func(path string) bool { return !was.names(path) }
}

// Hint asks for a look now, for example because a directory changed. It never blocks.
func (f *Files) Hint() {
	select {
	case f.hint <- struct{}{}:
	default:
	}
}

// Forget takes a file that is Gone out of the set.
func (f *Files) Forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, k := range f.known {
		if k.target.Gone && k.target.Source.ID == id {
			delete(f.known, path)
			return
		}
	}
}

// Bases returns the fixed beginnings of the globs: directories worth watching for
// new names, besides those of the files found.
func (f *Files) Bases() (dirs []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, glob := range f.config.Include {
		base, _ := doublestar.SplitPattern(filepath.ToSlash(glob))
		dirs = append(dirs, filepath.FromSlash(base))
	}
	return dirs
}

// Overflow returns how many files were left out at the last look because there are
// more than can be captured.
func (f *Files) Overflow() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.overflow
}

// Run looks until ctx ends. It may be called again then: what appeared meanwhile is new.
func (f *Files) Run(ctx context.Context, apply func([]source.Target)) error {
	timer := time.NewTimer(rescan)
	defer timer.Stop()
	for first := true; ; first = false {
		began := time.Now()
		changed, taken := f.look(ctx, !f.looked)
		looked := time.Now()
		took := looked.Sub(began)
		if (changed || first) && ctx.Err() == nil {
			apply(f.targets())
		}
		for _, c := range taken {
			close(c)
		}
		timer.Reset(min(max(rescan, restTimes*took), maxRescan))
		select {
		case <-timer.C:
		case <-f.hint:
			task.Sleep(ctx, max(hintPause, time.Until(looked.Add(hintTimes*took))))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look compares the set with the file system and tells whether it changed, and who waits
// for that to be told.
func (f *Files) look(ctx context.Context, first bool) (changed bool, taken []chan struct{}) {
	config, taken, fresh := f.adopt()
	found, refused := scan(ctx, config)
	if ctx.Err() != nil {
		return false, taken
	}
	f.tell(refused)
	now := time.Now()
	owned := make(map[inode]string, len(found))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.overflow = 0
	changed = fresh != nil
	// Paths that are known come first: of two names of one file the earlier stays.
	for _, path := range f.ordered(found) {
		node := found[path]
		if owner, ok := owned[node]; ok && owner != path {
			continue
		}
		// A file that was renamed is still read under the name that it was found by.
		if owner := f.owners[node]; node.born != 0 && owner != "" && owner != path && f.known[owner] != nil {
			owned[node] = owner
			continue
		}
		owned[node] = path
		k := f.known[path]
		switch {
		case k != nil:
			changed = changed || k.target.Gone
			k.target.Gone, k.missing = false, time.Time{}
		case len(f.known) >= maxFiles:
			f.overflow++
		default:
			f.known[path] = f.newFile(path, first || fresh != nil && fresh(path), now)
			changed = true
		}
	}
	f.owners = owned
	for path, k := range f.known {
		if _, ok := found[path]; ok || k.target.Gone {
			continue
		}
		if k.missing.IsZero() {
			k.missing = now
		} else if now.Sub(k.missing) >= rescan {
			k.target.Gone, changed = true, true
		}
	}
	if f.overflow > 0 && !f.warned {
		f.log.Warn("more log files than can be captured; narrow file_monitor.include", "limit", maxFiles, "left_out", f.overflow)
	}
	f.warned, f.looked = f.overflow > 0, true
	return changed, taken
}

// ordered returns the paths of found, known ones first, each sorted.
func (f *Files) ordered(found map[string]inode) []string {
	var known, fresh []string
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if f.known[path] != nil {
			known = append(known, path)
		} else {
			fresh = append(fresh, path)
		}
	}
	return append(known, fresh...)
}

func (f *Files) newFile(path string, first bool, now time.Time) *file {
	k := &file{target: source.Target{Source: f.newSource(path), Mode: source.File, Reason: "a log file", Path: path, Shape: f.shapes.of(path)}}
	if first { // what appears later is new, so all of it is wanted
		k.target.Since = f.config.Since.Time(now)
	}
	return k
}

// newSource returns what a file's entries are told by.
func (f *Files) newSource(path string) *record.Source {
	s := &record.Source{ID: "file:" + path, Kind: "file", Name: path, CanWait: true}
	labels := record.Labels{{Name: "job", Value: "files"}, {Name: "host", Value: f.host}, {Name: "filename", Value: path}}
	s.Streams[record.OutputNone] = record.NewStream(labels, nil)
	if f.config.shapeOf(path).Format == shape.CRI {
		labels, metadata := podLabels(f.host, path, labels)
		for _, o := range []record.Output{record.OutputNone, record.Stdout, record.Stderr} {
			own := labels
			if o != record.OutputNone {
				own = append(labels[:len(labels):len(labels)], record.Label{Name: "stream", Value: o.String()})
			}
			s.Streams[o] = record.NewStream(own, metadata)
		}
	}
	return s
}

// podLabels are those of a container of Kubernetes, if its log's path tells which.
func podLabels(host, path string, otherwise record.Labels) (labels, metadata record.Labels) {
	pod, err := cri.ParsePath(path)
	if err != nil {
		if pod, err = cri.ParseLink(path); err != nil {
			return otherwise, nil
		}
	}
	labels = record.Labels{
		{Name: "job", Value: "pods"}, {Name: "host", Value: host},
		{Name: "namespace", Value: pod.Namespace}, {Name: "pod", Value: pod.Name}, {Name: "container", Value: pod.Container},
	}
	metadata = record.Labels{{Name: "filename", Value: path}}
	if pod.UID != "" {
		metadata = append(metadata, record.Label{Name: "pod_uid", Value: pod.UID})
	}
	if pod.ID != "" {
		metadata = append(metadata, record.Label{Name: "container_id", Value: pod.ID})
	}
	return labels, metadata
}

func (f *Files) targets() []source.Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]source.Target, 0, len(f.known))
	for _, path := range slices.Sorted(maps.Keys(f.known)) {
		out = append(out, f.known[path].target)
	}
	return out
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// tell says once of each path why it is left out.
func (f *Files) tell(refused map[string]string) {
	for _, path := range slices.Sorted(maps.Keys(refused)) {
		if why := refused[path]; f.refused[path] != why {
			f.log.Warn("what a glob of file_monitor.include names is left out", "path", path, "reason", why)
		}
	}
	f.refused = refused
}

// scan returns the regular files that the globs name, with what they are, and what else
// they name, with the reason why it is left out. What cannot be looked at is not there.
func scan(ctx context.Context, config FileConfig) (found map[string]inode, refused map[string]string) {
	found, refused = map[string]inode{}, map[string]string{}
	for _, glob := range config.Include {
		base, pattern := doublestar.SplitPattern(filepath.ToSlash(glob))
		visit := func(rel string, entry fs.DirEntry) error {
			if ctx.Err() != nil || len(found) >= 2*maxFiles {
				return errEnough
			}
			path := filepath.Join(base, rel)
			if entry.IsDir() || anyPath(config.Exclude, path) {
				return nil
			}
			// Stat follows a link, which is welcome if a regular file is at its end. A pipe
			// or a device is never opened.
			if info, err := os.Stat(path); errors.Is(err, fs.ErrPermission) {
				refused[path] = "it may not be looked at: give the agent's user the right to search its directories"
			} else if err == nil && !info.IsDir() { // neither a link to nothing, nor one to a directory
				if why := config.refuses(path, info); why != "" {
					refused[path] = why
				} else {
					found[path] = inodeOf(path, info)
				}
			}
			return nil
		}
		// The only error is ours: directories that cannot be read are passed over.
		_ = doublestar.GlobWalk(os.DirFS(base), pattern, visit)
	}
	return found, refused
}

// refuses returns why what is at a path is not read, "" when it is.
func (c FileConfig) refuses(path string, info fs.FileInfo) string {
	switch {
	case !info.Mode().IsRegular():
		return "it is no file but a " + kindOf(info.Mode())
	case !c.within(path):
		return "it is a link that leads out of file_monitor.roots"
	}
	return ""
}

// kindOf is what a person calls what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return mode.Type().String()
}

// within tells whether a file is below one of the roots, if there are any, when all links
// are followed.
func (c FileConfig) within(path string) bool {
	if len(c.Roots) == 0 {
		return true
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(c.Roots, func(root string) bool {
		if real, err := filepath.EvalSymlinks(root); err == nil {
			root = real
		}
		rel, err := filepath.Rel(root, path)
		return err == nil && filepath.IsLocal(rel)
	})
}

// names tells whether a path is one of those that are captured.
func (c FileConfig) names(path string) bool {
	clean := func(glob string) bool { return doublestar.MatchUnvalidated(filepath.Clean(glob), path) }
	return slices.ContainsFunc(c.Include, clean) && !anyPath(c.Exclude, path)
}

func anyPath(globs []string, path string) bool {
	for _, glob := range globs {
		if doublestar.MatchUnvalidated(glob, path) {
			return true
		}
	}
	return false
}
