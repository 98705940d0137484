package sim

import (
	"os"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/spool"
)

// spoolFS and positionFS are a folder as the product sees it.
type (
	spoolFS    struct{ folder }
	positionFS struct{ folder }
	writer     struct {
		*handle
		off int64
	}
	// slowly is a file whose fsyncs take their time.
	slowly struct{ *handle }
)

var (
	_ spool.FS    = spoolFS{}
	_ position.FS = positionFS{}
)

// Open opens a file. Those are slow whose fsync holds no lock that others wait for.
func (f spoolFS) Open(name string, flag int) (spool.File, error) {
	h, err := f.open(name, flag)
	if err != nil {
		return nil, err
	}
	if name == "position" || name == "position.tmp" {
		return h, nil
	}
	return slowly{h}, nil
}

// Sync is slow, now and then.
func (s slowly) Sync() error {
	if !s.hasty {
		s.dawdle()
	}
	return s.handle.Sync()
}

// Read returns what is seen of a file.
func (f positionFS) Read(name string) ([]byte, error) {
	h, err := f.open(name, 0)
	if err != nil {
		return nil, err
	}
	if err := f.begin("read"); err != nil {
		return nil, err
	}
	defer f.d.mu.Unlock()
	return append([]byte(nil), h.file.now...), nil
}

// Create makes a file that was not there.
func (f positionFS) Create(name string) (position.File, error) {
	h, err := f.open(name, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	return &writer{handle: h}, nil
}

// Write writes behind what was written.
func (w *writer) Write(b []byte) (int, error) {
	n, err := w.WriteAt(b, w.off)
	w.off += int64(n)
	return n, err
}

// Sync is slow, now and then.
func (w *writer) Sync() error {
	w.dawdle()
	return w.handle.Sync()
}

// Sync is the last step of a save: what it leaves is there for good.
func (f positionFS) Sync() error {
	err := f.folder.Sync()
	if err == nil {
		f.d.set(func(d *disk) { d.saved = d.dir(f.name).now[position.FileName].now }) // it is never written to again
	}
	return err
}

// lasting returns the cursors that were saved last, for certain.
func (d *disk) lasting() map[string]position.Cursor {
	c := newDisk(0, &trace{})
	if d.saved != nil {
		c.dir("").now[position.FileName] = &inode{now: d.saved}
	}
	store, err := position.OpenStoreFS(positionFS{folder{c, &life{}, ""}}, "", quiet)
	if err != nil {
		return nil
	}
	return store.All()
}
