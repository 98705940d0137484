package crash

import "github.com/logcapturer/log_capturer/internal/spool"

// layer is a file system whose calls, one by one, go through do.
type layer struct {
	spool.FS
	do func(op, name string, call func() error) error
}

func (l layer) Open(name string, flag int) (f spool.File, err error) {
	err = l.do("open", name, func() error { f, err = l.FS.Open(name, flag); return err })
	if err != nil {
		return nil, err
	}
	return layerFile{f, name, l.do}, nil
}

func (l layer) Rename(from, to string) error {
	return l.do("rename", from, func() error { return l.FS.Rename(from, to) })
}

func (l layer) Remove(name string) error {
	return l.do("remove", name, func() error { return l.FS.Remove(name) })
}

func (l layer) Sync() error { return l.do("syncdir", "", l.FS.Sync) }

func (l layer) List() (names []string, err error) {
	err = l.do("list", "", func() error { names, err = l.FS.List(); return err })
	return names, err
}

type layerFile struct {
	spool.File
	name string
	do   func(op, name string, call func() error) error
}

func (f layerFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.do("write", f.name, func() error { n, err = f.File.WriteAt(b, off); return err })
	return n, err
}

func (f layerFile) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.do("read", f.name, func() error { n, err = f.File.ReadAt(b, off); return err })
	return n, err
}

func (f layerFile) Truncate(size int64) error {
	return f.do("truncate", f.name, func() error { return f.File.Truncate(size) })
}

func (f layerFile) Sync() error { return f.do("sync", f.name, f.File.Sync) }

func (f layerFile) Close() error { return f.do("close", f.name, f.File.Close) }

// onThread does all calls with disk.
func onThread(disk func(func())) func(spool.FS) spool.FS {
	return func(fs spool.FS) spool.FS {
		return layer{fs, func(_, _ string, call func() error) (err error) {
			disk(func() { err = call() })
			return err
		}}
	}
}
