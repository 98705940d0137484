package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
)

// disk is a disk in memory. It remembers what was synced and what was not, so that the
// power can be cut (power_test.go). Its faults are set by the script and drawn per call.
// It outlives the agents; each has handles of its own, which are dead when it is.
type disk struct {
	dice dice
	log  *trace

	mu    sync.Mutex
	dirs  map[string]*names
	calls map[string]int64 // by directory
	// Faults; the ends are times.
	failing map[string]fault // by directory
	full    bool
	slow    bool
	failed  int             // fsyncs that failed
	hurt    map[string]int  // calls that failed, by directory
	uncut   map[string]bool // directories in which a truncation could not be synced
	saved   []byte          // the positions that were saved last, for certain
}

// fault makes calls of one kind fail, each with a probability.
type fault struct {
	call string
	p    float64
}

// inode is a file: what is seen of it, what is on disk for certain, and what was changed since.
type inode struct {
	now, safe []byte
	pending   []change
}

// change is a write at off, or, when cut, a truncation to off.
type change struct {
	off  int
	data []byte
	cut  bool
}

// names is a directory.
type names struct {
	now, safe map[string]*inode
	pending   []naming
}

// naming gives a name to a file, or takes it away (nil). from is the name that it had, if
// both change at once.
type naming struct {
	name, from string
	file       *inode
}

func (n naming) apply(m map[string]*inode) {
	if n.file == nil {
		delete(m, n.name)
		return
	}
	if n.from != "" && m[n.from] == n.file {
		delete(m, n.from)
	}
	m[n.name] = n.file
}

func (c change) apply(b []byte) []byte {
	if c.cut && c.off < len(b) {
		return slices.Clone(b[:c.off])
	}
	if end := c.off + len(c.data); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[c.off:], c.data)
	return b
}

func newDisk(d dice, log *trace) *disk {
	return &disk{log: log, dice: d.of("disk"), dirs: map[string]*names{}, calls: map[string]int64{}, failing: map[string]fault{}, hurt: map[string]int{}, uncut: map[string]bool{}}
}

func (d *disk) dir(name string) *names {
	n := d.dirs[name]
	if n == nil {
		n = &names{now: map[string]*inode{}, safe: map[string]*inode{}}
		d.dirs[name] = n
	}
	return n
}

// life is what the handles of one agent know of it.
type life struct {
	number int
	mu     sync.Mutex
	dead   bool
	died   chan struct{} // closed when it was killed at a call of the disk
	// doom kills it before that many calls more in the directory, once there was one of a kind.
	doomed string
	after  string
	doom   int
	power  bool
	faulty map[string]bool // directories in which calls failed
}

var errDead = errors.New("this process was killed")

func (l *life) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *life) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// call counts one that a life makes, and says whether it fails.
func (l *life) call(dir, call string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errDead
	}
	if l.doomed == "" || l.doomed != dir {
		return nil
	}
	if l.after != "" {
		if l.after == call {
			l.after = ""
		}
		return nil
	}
	if l.doom--; l.doom < 0 {
		l.dead = true
		close(l.died)
		return errDead
	}
	return nil
}

// folder is a directory as one life sees it: a spool.FS.
type folder struct {
	d    *disk
	l    *life
	name string
}

// begin is the start of every call; mu is held when it returns nil.
func (f folder) begin(call string) error {
	if err := f.l.call(f.name, call); err != nil {
		return err
	}
	f.d.log.detail("%s in %s", call, f.name)
	f.d.mu.Lock()
	f.d.calls[f.name]++
	bad, ok := f.d.failing[f.name]
	if ok && bad.call == call && f.d.dice.of(f.name, call).at(f.d.calls[f.name]).chance(bad.p) {
		f.hurt()
		if call != "fsync" { // that does something before it fails
			f.d.mu.Unlock()
			return &fs.PathError{Op: call, Path: f.name, Err: syscall.EIO}
		}
		return errFsync
	}
	return nil
}

// hurt notes that a call fails. mu is held.
func (f folder) hurt() {
	f.d.hurt[f.name]++
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	f.l.faulty[f.name] = true
}

var errFsync = fmt.Errorf("fsync: %w", syscall.EIO)

// dawdle makes a call slow, where nobody waits for a lock meanwhile: see the package. Each
// directory has its own time at least, or chance would decide between two that are synced
// at the same instant, before one of which the agent is killed.
func (f folder) dawdle() {
	f.d.mu.Lock()
	slow := f.d.slow
	wait := f.d.dice.of(f.name, "slow").at(f.d.calls[f.name]).between(time.Millisecond, 3*time.Second)
	if !slow {
		wait = f.d.dice.of(f.name, "swift").between(time.Microsecond, 100*time.Microsecond)
	}
	f.d.mu.Unlock()
	task.Sleep(context.Background(), wait)
}

// noRoom tells that n bytes more do not fit.
func (f folder) noRoom(n int) error {
	if n <= 0 || !f.d.full {
		return nil
	}
	f.hurt()
	return &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
}

func (f folder) open(name string, flag int) (*handle, error) {
	if err := f.begin("open"); err != nil {
		return nil, err
	}
	defer f.d.mu.Unlock()
	dir := f.d.dir(f.name)
	file := dir.now[name]
	switch {
	case file == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case file != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case file == nil:
		if err := f.noRoom(1); err != nil {
			return nil, err
		}
		file = &inode{}
		dir.change(naming{name: name, file: file})
	}
	return &handle{folder: f, name: name, file: file}, nil
}

func (n *names) change(c naming) {
	c.apply(n.now)
	n.pending = append(n.pending, c)
}

// Rename renames a file.
func (f folder) Rename(from, to string) error {
	return f.rename("rename", from, to, from)
}

// Link gives a file another name.
func (f folder) Link(from, to string) error { return f.rename("link", from, to, "") }

func (f folder) rename(call, from, to, gone string) error {
	if err := f.begin(call); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	dir := f.d.dir(f.name)
	file := dir.now[from]
	if file == nil {
		return &fs.PathError{Op: call, Path: from, Err: fs.ErrNotExist}
	}
	dir.change(naming{name: to, from: gone, file: file})
	return nil
}

// Remove removes a name.
func (f folder) Remove(name string) error {
	if err := f.begin("remove"); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	dir := f.d.dir(f.name)
	if dir.now[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	dir.change(naming{name: name})
	return nil
}

// List returns the names, sorted.
func (f folder) List() ([]string, error) {
	if err := f.begin("list"); err != nil {
		return nil, err
	}
	defer f.d.mu.Unlock()
	return sorted(f.d.dir(f.name).now), nil
}

// Sync makes the names durable.
func (f folder) Sync() error {
	switch err := f.begin("syncdir"); {
	case err != nil:
		return err
	}
	defer f.d.mu.Unlock()
	dir := f.d.dir(f.name)
	for _, c := range dir.pending {
		c.apply(dir.safe)
	}
	dir.pending = nil
	return nil
}

// Close does nothing.
func (folder) Close() error { return nil }

// handle is an open file: a spool.File.
type handle struct {
	folder
	name string
	file *inode
	// hasty: it was cut, and its next fsync is under the lock of those who write.
	hasty bool
}

// ReadAt reads what is seen of the file.
func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	if err := h.begin("read"); err != nil {
		return 0, err
	}
	defer h.d.mu.Unlock()
	if off >= int64(len(h.file.now)) {
		return 0, io.EOF
	}
	n := copy(b, h.file.now[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes all of it, or, on a full disk, what needs no room and half of the rest.
func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if err := h.begin("write"); err != nil {
		return 0, err
	}
	defer h.d.mu.Unlock()
	err := h.noRoom(int(off) + len(b) - len(h.file.now))
	if err != nil {
		b = b[:len(b)/2]
	}
	h.file.change(change{off: int(off), data: slices.Clone(b)})
	return len(b), err
}

func (i *inode) change(c change) {
	i.now = c.apply(i.now)
	i.pending = append(i.pending, c)
}

// Truncate changes the size.
func (h *handle) Truncate(size int64) error {
	if err := h.begin("truncate"); err != nil {
		return err
	}
	defer h.d.mu.Unlock()
	h.file.change(change{off: int(size), cut: true})
	h.hasty = true
	return nil
}

// Sync makes the content durable. One that fails has lost some of it for good, and the
// next one says that all is well.
func (h *handle) Sync() error {
	err := h.begin("fsync")
	if err != nil && !errors.Is(err, errFsync) {
		return err
	}
	defer h.d.mu.Unlock()
	f := h.file
	if err != nil {
		for _, c := range f.pending {
			h.d.uncut[h.folder.name] = h.d.uncut[h.folder.name] || c.cut
		}
		h.d.failed++
		c := cut{dice: h.d.dice.of("failed").at(int64(h.d.failed)), keep: 0.5}
		f.safe, f.pending = c.content(f), nil
		return err
	}
	for _, c := range f.pending {
		f.safe = c.apply(f.safe)
	}
	f.pending = nil
	return nil
}

// Size returns what is seen.
func (h *handle) Size() (int64, error) {
	if err := h.begin("size"); err != nil {
		return 0, err
	}
	defer h.d.mu.Unlock()
	return int64(len(h.file.now)), nil
}

// Close does nothing: there is nothing that only an open file has.
func (h *handle) Close() error { return nil }

func sorted(m map[string]*inode) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
