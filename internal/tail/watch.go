package tail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"golang.org/x/sys/unix"
)

// Watcher turns inotify events into calls. It needs one goroutine (Run) however
// many logs it watches.
//
// A busy file costs no events: Arm watches a file for its next write only, and a
// reader arms it when it has nothing left to read. Directories are watched all the
// time, for names that appear (new generations, new files). The general-purpose
// fsnotify cannot do either: it reports every write to every file of a directory.
type Watcher struct {
	// Overflows counts the times that events were lost, since more came than were read.
	Overflows atomic.Int64

	fd *os.File

	mu    sync.Mutex
	dirs  map[string]*dirWatch
	byWD  map[int32][]*dirWatch // several where paths lead to one directory
	armed map[int32][]arming    // several where logs have one file
}

// arming outlives its file, which may be closed, and is then not kept.
type arming struct {
	file weak.Pointer[File]
	fn   func()
}

// of tells whether it is f's.
func (a arming) of(f *File) bool { return a.file.Value() == f }

// closed tells whether its file is.
func (a arming) closed() bool {
	f := a.file.Value()
	return f == nil || f.closed()
}

type dirWatch struct {
	path  string
	wd    int32
	names map[string]*NameWatch        // by base name
	any   map[string]func(name string) // by who watches
}

// NameWatch is one watched name.
type NameWatch struct{ fn func() }

// NewWatcher opens an inotify instance; Close frees it.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w; raise fs.inotify.max_user_instances", err)
	}
	return &Watcher{
		fd:   os.NewFile(uintptr(fd), "inotify"),
		dirs: map[string]*dirWatch{}, byWD: map[int32][]*dirWatch{}, armed: map[int32][]arming{},
	}, nil
}

// Close ends Run.
func (w *Watcher) Close() error { return w.fd.Close() }

const dirMask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR

// WatchName calls fn, in Run's goroutine, whenever a file called name appears in
// dir. fn must be quick. One name of a directory has one watcher.
func (w *Watcher) WatchName(dir, name string, fn func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.dir(dir)
	if err != nil {
		return err
	}
	d.names[name] = &NameWatch{fn}
	return nil
}

// WatchNew is WatchName unless somebody watches that name already, or it fails: then
// it returns nil.
func (w *Watcher) WatchNew(dir, name string, fn func()) *NameWatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.dir(dir)
	if err != nil || d.names[name] != nil {
		return nil
	}
	d.names[name] = &NameWatch{fn}
	return d.names[name]
}

// Unwatch ends what WatchNew began, unless another watch has taken its place.
func (w *Watcher) Unwatch(dir, name string, n *NameWatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.dirs[dir]; d != nil && d.names[name] == n {
		delete(d.names, name)
		w.drop(d)
	}
}

// UnwatchName ends WatchName.
func (w *Watcher) UnwatchName(dir, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.dirs[dir]; d != nil {
		delete(d.names, name)
		w.drop(d)
	}
}

// WatchDir calls fn with every name that appears in dir, an empty one when names were
// missed. who tells several watchers of one directory apart.
func (w *Watcher) WatchDir(dir, who string, fn func(name string)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.dir(dir)
	if err != nil {
		return err
	}
	d.any[who] = fn
	return nil
}

// dir returns the watch of a directory, made if need be. A directory that was
// removed and made again is watched anew.
func (w *Watcher) dir(path string) (*dirWatch, error) {
	if d := w.dirs[path]; d != nil {
		return d, nil
	}
	wd, err := w.add(path, dirMask)
	if err != nil {
		return nil, err
	}
	d := &dirWatch{path: path, wd: wd, names: map[string]*NameWatch{}, any: map[string]func(string){}}
	w.dirs[path], w.byWD[wd] = d, append(w.byWD[wd], d)
	return d, nil
}

func (w *Watcher) drop(d *dirWatch) {
	if len(d.names)+len(d.any) > 0 {
		return
	}
	delete(w.dirs, d.path)
	w.byWD[d.wd] = slices.DeleteFunc(w.byWD[d.wd], func(o *dirWatch) bool { return o == d })
	if len(w.byWD[d.wd]) > 0 {
		return // under another path
	}
	delete(w.byWD, d.wd)
	w.control(func(fd int) { _, _ = unix.InotifyRmWatch(fd, uint32(d.wd)) })
}

// ErrRemote is returned for a file that others may write to without a hint.
var ErrRemote = errors.New("it is on a network file system")

// Arm calls fn, in Run's goroutine, at the next write to f, once. The caller looks
// at the file's size again afterwards, for what was written before it was armed. Two
// Files of one inode are armed each for itself; the same File again replaces its call.
func (w *Watcher) Arm(f *File, fn func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.remote {
		return ErrRemote
	}
	wd, err := w.addFile(f)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(w.armed[wd], func(a arming) bool { return a.of(f) || a.closed() })
	w.armed[wd] = append(others, arming{weak.Make(f), fn})
	return nil
}

func (w *Watcher) addFile(f *File) (wd int32, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, errLetGo
	}
	return w.add(fmt.Sprintf("/proc/self/fd/%d", f.fd), unix.IN_MODIFY|unix.IN_ONESHOT)
}

func (w *Watcher) add(path string, mask uint32) (wd int32, err error) {
	err = os.ErrClosed
	w.control(func(fd int) {
		var n int
		n, err = unix.InotifyAddWatch(fd, path, mask)
		wd = int32(n)
	})
	if errors.Is(err, unix.ENOSPC) {
		return 0, fmt.Errorf("watch %s: the limit of inotify watches is reached; raise fs.inotify.max_user_watches", path)
	}
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", path, err)
	}
	return wd, nil
}

// control calls fn with the descriptor unless the watcher is closed.
func (w *Watcher) control(fn func(fd int)) {
	if c, err := w.fd.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { fn(int(fd)) })
	}
}

// With more reads of events a second than hurried, Run leaves gather between two of them: it
// costs more to wake up for a write than to read it. Not for quiet after a name appeared,
// since a new generation or a new container is to be opened before it is gone.
const (
	hurried = 125
	gather  = 5 * time.Millisecond
	quiet   = time.Second
)

// Run reads events until ctx ends or the watcher is closed.
func (w *Watcher) Run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = w.fd.Close() })()
	buf := make([]byte, 64<<10)
	hurry := NewBucket(hurried, hurried/5)
	var named time.Time
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		n, err := w.fd.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if w.handle(buf[:n]) {
			named = now
		}
		if hurry.Take(now) || now.Sub(named) < quiet {
			continue
		}
		pause.Reset(gather)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// handle decodes struct inotify_event records (inotify(7)): wd, mask, cookie, len, name. It
// tells whether there is a name among them, of a file that appeared.
func (w *Watcher) handle(events []byte) (named bool) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:min(size, len(events))]), "\x00")
		events = events[min(size, len(events)):]
		named = named || name != ""
		for _, fn := range w.calls(wd, mask, name) {
			fn()
		}
	}
	return named
}

// calls returns what an event asks for, to be called without the lock.
func (w *Watcher) calls(wd int32, mask uint32, name string) []func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if mask&unix.IN_Q_OVERFLOW != 0 {
		w.Overflows.Add(1)
		return w.all()
	}
	var out []func()
	if armed := w.armed[wd]; armed != nil {
		delete(w.armed, wd)
		if mask&unix.IN_IGNORED != 0 {
			return nil // nothing was written: the file is gone that nobody held open
		}
		for _, a := range armed {
			out = append(out, a.fn)
		}
		return out
	}
	for _, d := range w.byWD[wd] {
		if mask&unix.IN_IGNORED != 0 { // the directory is gone
			delete(w.dirs, d.path)
			continue
		}
		if n := d.names[name]; n != nil {
			out = append(out, n.fn)
		}
		for _, fn := range d.any {
			out = append(out, func() { fn(name) })
		}
	}
	if mask&unix.IN_IGNORED != 0 {
		delete(w.byWD, wd)
	}
	return out
}

// all returns every call there is: events were lost, so everybody looks.
func (w *Watcher) all() []func() {
	var out []func()
	for wd, armed := range w.armed {
		delete(w.armed, wd)
		for _, a := range armed {
			out = append(out, a.fn)
		}
	}
	for _, d := range w.dirs {
		for _, n := range d.names {
			out = append(out, n.fn)
		}
		for _, fn := range d.any {
			out = append(out, func() { fn("") })
		}
	}
	return out
}
