package crash

import (
	"context"
	"slices"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// box is a disk that writes down, in order, what is done to it, so that the state after
// a power cut at any moment can be made (image_test.go). It is mounted with FUSE: the
// real packages use real system calls on it. It is a journal, too: what is acknowledged
// is in the same order as what was written.
type box struct {
	mu    sync.Mutex
	log   []event
	files int
	// failing decides whether an fsync of a file fails; nil means none does.
	failing func() bool
	// unplugged: nothing is written down any more; what goes on does not matter.
	unplugged bool
}

type op uint8

const (
	opWrite op = iota
	opTruncate
	opSync     // of a file's contents
	opSyncFail // the system forgets that there was something to write
	opName     // name in dir is file from now on
	opUnname
	opRename
	opSyncDir
	opNote
)

// event is one line of the log. file is the number of the file or directory it is about,
// or that a name leads to; dir that of the directory.
type event struct {
	op        op
	dir, file int
	name, to  string
	data      []byte
	off       int64
	isDir     bool

	kind   kind
	source int
	n      int64
}

func (b *box) add(e event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.unplugged {
		b.log = append(b.log, e)
	}
}

func (b *box) note(k kind, source int, n int64) {
	b.add(event{op: opNote, kind: k, source: source, n: n})
}

func (b *box) number() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files++
	return b.files
}

// events returns the log so far.
func (b *box) events() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clip(b.log)
}

// node is a file or a directory of the box; the root is number 0. Names are kept by the
// library.
type node struct {
	fusefs.Inode
	box    *box
	number int
	dir    bool

	mu   sync.Mutex
	data []byte
}

var (
	_ fusefs.NodeCreater   = (*node)(nil)
	_ fusefs.NodeMkdirer   = (*node)(nil)
	_ fusefs.NodeLinker    = (*node)(nil)
	_ fusefs.NodeRenamer   = (*node)(nil)
	_ fusefs.NodeUnlinker  = (*node)(nil)
	_ fusefs.NodeOpener    = (*node)(nil)
	_ fusefs.NodeReader    = (*node)(nil)
	_ fusefs.NodeWriter    = (*node)(nil)
	_ fusefs.NodeFsyncer   = (*node)(nil)
	_ fusefs.NodeGetattrer = (*node)(nil)
	_ fusefs.NodeSetattrer = (*node)(nil)
)

// mountBox mounts a new box; unmount ends it.
func mountBox(dir string) (b *box, unmount func() error, err error) {
	b = &box{}
	server, err := fusefs.Mount(dir, &node{box: b, dir: true}, &fusefs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "box", Name: "box"},
	})
	if err != nil {
		return nil, nil, err
	}
	return b, func() error {
		err := server.Unmount()
		if err == nil {
			server.Wait()
		}
		return err
	}, nil
}

func (d *node) child(ctx context.Context, dir bool) (*node, *fusefs.Inode) {
	n := &node{box: d.box, number: d.box.number(), dir: dir}
	mode := uint32(syscall.S_IFREG)
	if dir {
		mode = syscall.S_IFDIR
	}
	return n, d.NewPersistentInode(ctx, n, fusefs.StableAttr{Mode: mode, Ino: uint64(n.number) + 2})
}

func (d *node) Create(ctx context.Context, name string, _, _ uint32, _ *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	n, inode := d.child(ctx, false)
	d.box.add(event{op: opName, dir: d.number, name: name, file: n.number})
	return inode, nil, 0, 0
}

func (d *node) Mkdir(ctx context.Context, name string, _ uint32, _ *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	n, inode := d.child(ctx, true)
	d.box.add(event{op: opName, dir: d.number, name: name, file: n.number, isDir: true})
	return inode, 0
}

func (d *node) Link(_ context.Context, target fusefs.InodeEmbedder, name string, _ *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	n, ok := target.(*node)
	if !ok {
		return nil, syscall.EIO
	}
	d.box.add(event{op: opName, dir: d.number, name: name, file: n.number})
	return n.EmbeddedInode(), 0
}

func (d *node) Rename(_ context.Context, name string, parent fusefs.InodeEmbedder, to string, _ uint32) syscall.Errno {
	child := d.GetChild(name)
	if child == nil {
		return syscall.ENOENT
	}
	n, ok := child.Operations().(*node)
	if p, same := parent.(*node); !ok || !same || p != d {
		return syscall.EXDEV // nobody renames across directories
	}
	d.box.add(event{op: opRename, dir: d.number, name: name, to: to, file: n.number})
	return 0
}

func (d *node) Unlink(_ context.Context, name string) syscall.Errno {
	d.box.add(event{op: opUnname, dir: d.number, name: name})
	return 0
}

func (n *node) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (n *node) Read(_ context.Context, _ fusefs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if off >= int64(len(n.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.data[off:])]), 0
}

func (n *node) Write(_ context.Context, _ fusefs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.data = write(n.data, data, off)
	n.box.add(event{op: opWrite, file: n.number, data: slices.Clone(data), off: off})
	return uint32(len(data)), 0
}

func write(file, data []byte, off int64) []byte {
	if need := int(off) + len(data); need > len(file) {
		file = append(file, make([]byte, need-len(file))...)
	}
	copy(file[off:], data)
	return file
}

func (n *node) Fsync(context.Context, fusefs.FileHandle, uint32) syscall.Errno {
	if n.dir {
		n.box.add(event{op: opSyncDir, dir: n.number})
		return 0
	}
	n.box.mu.Lock()
	failing := n.box.failing
	n.box.mu.Unlock()
	if failing != nil && failing() {
		n.box.add(event{op: opSyncFail, file: n.number})
		return syscall.EIO
	}
	n.box.add(event{op: opSync, file: n.number})
	return 0
}

func (n *node) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	out.Size = uint64(len(n.data))
	out.Mode = 0o700
	return 0
}

func (n *node) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		n.mu.Lock()
		if int(size) < len(n.data) {
			n.data = n.data[:size:size]
		} else {
			n.data = write(n.data, nil, int64(size))
		}
		n.box.add(event{op: opTruncate, file: n.number, off: int64(size)})
		n.mu.Unlock()
	}
	return n.Getattr(ctx, f, out)
}
