package position

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// FS is the directory of the store. Tests put faults behind it. Names are plain file
// names without separators; errors wrap those of io/fs.
type FS interface {
	// Read returns what is in a file.
	Read(name string) ([]byte, error)
	// Create makes a file that was not there.
	Create(name string) (File, error)
	Link(from, to string) error
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes created, linked, renamed and removed names durable.
	Sync() error
}

// File is a file that is being written.
type File interface {
	io.WriteCloser
	Sync() error
}

// dirFS is the real directory, by its path: one that was gone and is there again will do.
type dirFS string

func (d dirFS) path(name string) string { return filepath.Join(string(d), name) }

func (d dirFS) Read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

func (d dirFS) Create(name string) (File, error) {
	return os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (d dirFS) Link(from, to string) error   { return os.Link(d.path(from), d.path(to)) }
func (d dirFS) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d dirFS) Remove(name string) error     { return os.Remove(d.path(name)) }

func (d dirFS) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
