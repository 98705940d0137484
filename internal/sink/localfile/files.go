package localfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// osFile is what the sink needs of a file that it appends to.
type osFile interface {
	io.Writer
	io.ReaderAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Close() error
}

// handle is an open file.
type handle struct {
	file    osFile
	info    fs.FileInfo
	size    int64
	written time.Time // when it was last written to
	fresh   bool      // created by this process, its name not synced
	used    int64     // the last use, for the choice of which to close
	held    *ledger.Holding
}

const (
	dirMode  = 0o750
	fileMode = 0o640
)

func openFile(root *os.Root, name string, flag int) (osFile, error) {
	f, err := root.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ready opens the fixed directory, and cuts back what an earlier Send could not.
func (s *Sink) ready() error {
	if s.root == nil {
		if err := os.MkdirAll(s.template.dir, dirMode); err != nil {
			return fmt.Errorf("make the directory of the local files: %w; let the agent's user write there, or change the sink's path", err)
		}
		root, err := os.OpenRoot(s.template.dir)
		if err != nil {
			return fmt.Errorf("open the directory of the local files: %w", err)
		}
		s.root = root
	}
	return s.heal()
}

// handle returns the open file at name, which is the one that is there now: one that
// was moved or removed by others is left to them.
func (s *Sink) handle(name string) (*handle, error) {
	s.tick++
	if h := s.handles[name]; h != nil {
		info, err := s.root.Lstat(name)
		if err == nil && os.SameFile(info, h.info) {
			h.size, h.used = info.Size(), s.tick
			return h, nil
		}
		if err := s.drop(name); err != nil {
			return nil, err
		}
	}
	if len(s.handles) >= maxOpen {
		if err := s.drop(s.oldest()); err != nil {
			return nil, err
		}
	}
	h, err := s.openHandle(name)
	if err != nil {
		return nil, err
	}
	h.used, h.held = s.tick, ledger.Open("", &s.files, h)
	s.handles[name] = h
	return h, nil
}

func (s *Sink) openHandle(name string) (*handle, error) {
	if err := s.makeDirs(path.Dir(name)); err != nil {
		return nil, err
	}
	flag := os.O_RDWR | os.O_APPEND | syscall.O_NONBLOCK
	before, err := s.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		flag |= os.O_CREATE | os.O_EXCL // which follows no link
	case err != nil:
		return nil, err
	case !before.Mode().IsRegular():
		return nil, fmt.Errorf("it is %s, not a regular file; remove it or change the sink's path", kind(before.Mode()))
	}
	file, err := s.open(s.root, name, flag)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || before != nil && !os.SameFile(before, info)) {
		err = errors.New("it was exchanged for something else while it was opened; see who else writes there")
	}
	h := &handle{file: file, info: info, fresh: before == nil}
	if err == nil {
		h.size, h.written = info.Size(), info.ModTime()
		err = mend(h)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return h, nil
}

// mend cuts off the piece of a line that a crash left at the end: nobody was told that
// it is there, so it comes again. A line that has no beginning nearby is ended instead.
func mend(h *handle) error {
	if h.size == 0 {
		return nil
	}
	tail := make([]byte, min(h.size, 1))
	for {
		if _, err := h.file.ReadAt(tail, h.size-int64(len(tail))); err != nil {
			return fmt.Errorf("read its end: %w", err)
		}
		if i := bytes.LastIndexByte(tail, '\n'); i >= 0 {
			size := h.size - int64(len(tail)-i-1)
			if size == h.size {
				return nil
			}
			h.size = size
			return h.file.Truncate(size)
		}
		switch {
		case int64(len(tail)) == h.size:
			h.size = 0
			return h.file.Truncate(0)
		case len(tail) >= 4<<20:
			h.size++
			_, err := h.file.Write([]byte{'\n'})
			return err
		}
		tail = make([]byte, min(h.size, int64(max(4*len(tail), 4096))))
	}
}

// makeDirs makes the directories of a path, and refuses links among them.
func (s *Sink) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	at := ""
	for part := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, part)
		info, err := s.root.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			if err = s.root.Mkdir(at, dirMode); err == nil && s.config.Fsync {
				err = s.syncDir(at)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is %s, not a directory; remove it or change the sink's path", at, kind(info.Mode()))
		}
	}
	return nil
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsDir():
		return "a directory"
	case m.IsRegular():
		return "a file"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// syncDir makes the name of a file durable.
func (s *Sink) syncDir(name string) error {
	d, err := s.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Sink) oldest() (name string) {
	least := s.tick + 1
	for n, h := range s.handles {
		if h.used < least {
			name, least = n, h.used
		}
	}
	return name
}

// drop closes a file that is open.
func (s *Sink) drop(name string) error {
	h := s.handles[name]
	if h == nil {
		return nil
	}
	delete(s.handles, name)
	h.held.Close()
	return h.file.Close()
}
