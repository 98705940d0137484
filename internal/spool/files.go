package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// FS is the directory of one spool. Tests put faults behind it. Names are plain file
// names without separators.
type FS interface {
	// Open opens a file for reading and writing; flag adds os.O_CREATE and os.O_EXCL.
	Open(name string, flag int) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// List returns the names in the directory.
	List() ([]string, error)
	// Sync makes created, renamed and removed names durable.
	Sync() error
	Close() error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
	Close() error
}

// dirFS is the real directory, reached through os.Root.
type dirFS struct {
	root *os.Root
	open *ledger.Account
}

// Held returns the account of the files that are open of a real directory; nil of another.
func Held(files FS) *ledger.Account {
	if d, ok := files.(dirFS); ok {
		return d.open
	}
	return nil
}

// Dir returns the real directory, which it creates where it is missing. It is what Open
// uses without Options.FS.
func Dir(dir string) (FS, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool's directory: %w; create it, or let data_dir be writable for the agent's user", err)
	}
	if err := syncAbove(dir); err != nil {
		return nil, fmt.Errorf("sync the directories above the spool: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the spool's directory: %w", err)
	}
	return dirFS{root, new(ledger.Account)}, nil
}

// syncAbove makes the name of dir durable, and those of spool/ and data_dir above it: any
// of them may be new, and without its name all that is below is gone after a power cut.
func syncAbove(dir string) error {
	for range 3 {
		dir = filepath.Dir(dir)
		d, err := os.Open(dir)
		if errors.Is(err, fs.ErrPermission) {
			return nil // not ours, so we did not make what is in it
		}
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (d dirFS) Open(name string, flag int) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	file := &diskFile{File: f}
	file.held = ledger.Open("", d.open, file)
	return file, nil
}

func (d dirFS) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d dirFS) Remove(name string) error     { return d.root.Remove(name) }
func (d dirFS) Close() error                 { return d.root.Close() }

func (d dirFS) List() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d dirFS) Sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

type diskFile struct {
	*os.File
	held *ledger.Holding
}

func (f *diskFile) Close() error {
	f.held.Close()
	return f.File.Close()
}

func (f *diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file; remove it", f.Name())
	}
	return info.Size(), nil
}
