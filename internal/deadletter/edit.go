package deadletter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/logcapturer/log_capturer/internal/spool"
)

// Each calls fn with every letter as it is on disk, the oldest file first, until fn
// returns false. Letters that come or go meanwhile may be among them or not. The bytes
// are fn's until it returns.
func (w *Writer) Each(fn func(line []byte) bool) error {
	w.mu.Lock()
	ids := w.ids()
	w.mu.Unlock()
	more := true
	for _, id := range ids {
		f, size, err := w.open(id)
		if err != nil {
			return w.failed("read", err)
		}
		if f == nil {
			continue
		}
		err = eachLine(f, size, func(_ int, line []byte) bool {
			more = fn(line)
			return more
		})
		if err := errors.Join(err, f.Close()); err != nil {
			return w.failed("read", err)
		}
		if !more {
			break
		}
	}
	return nil
}

func (w *Writer) failed(what string, err error) error {
	return fmt.Errorf("%s the dead letters of sink %s: %w", what, w.sink, err)
}

// ids returns the files that have letters; the caller holds the lock.
func (w *Writer) ids() (ids []uint64) {
	for _, f := range w.files {
		if f.size > 0 {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// find returns a file, or nil when it is not there any more.
func (w *Writer) find(id uint64) *file {
	for _, f := range w.files {
		if f.id == id {
			return f
		}
	}
	return nil
}

// open opens a file for reading; it is nil when a cap has removed it.
func (w *Writer) open(id uint64) (spool.File, int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, 0, errClosed
	}
	f := w.find(id)
	if f == nil {
		return nil, 0, nil
	}
	opened, err := w.fs.Open(f.name(), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	return opened, f.size, err
}

// Seal ends the file that is written to, and returns all that have letters, oldest
// first, for Edit. What Write is given from now on is in none of them.
func (w *Writer) Seal() ([]uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errClosed
	}
	if w.active != nil && w.last().size > 0 {
		if err := w.seal(); err != nil {
			return nil, w.failed("end the file of", err)
		}
	}
	return w.ids(), nil
}

// Edit is one file, out of reach of the caps until Close. There must be one at a time
// for each file.
type Edit struct {
	w *Writer
	f *file
}

// Edit begins to edit a file that Seal returned; nil when a cap has removed it.
func (w *Writer) Edit(id uint64) *Edit {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.find(id)
	if f == nil {
		return nil
	}
	f.busy = true
	return &Edit{w, f}
}

// Close gives the file back.
func (e *Edit) Close() {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.f.busy = false
}

// Read calls fn with the lines of the file and their numbers, from 0, until it returns
// false. The bytes are fn's until it returns.
func (e *Edit) Read(fn func(n int, line []byte) bool) error {
	f, size, err := e.w.open(e.f.id)
	if f == nil || err != nil {
		return err
	}
	return errors.Join(eachLine(f, size, fn), f.Close())
}

// Rewrite writes the file anew with what change returns for each of its lines: the line
// itself, another one, or nil to take it out. Lines are without their newlines, and
// change's own until the next call. Before all of the new file is on disk the old one
// is untouched; after an error it may be the one or the other.
func (e *Edit) Rewrite(change func(n int, line []byte) []byte) error {
	next := &file{id: e.f.id}
	tmp := e.f.name() + rewrite
	err := e.write(tmp, next, change)
	if err == nil {
		err = e.replace(tmp, next)
	}
	if err != nil {
		_ = e.w.fs.Remove(tmp) // the next Open does it otherwise
		return e.w.failed("rewrite", err)
	}
	return nil
}

// write makes the new file, durably.
func (e *Edit) write(tmp string, next *file, change func(n int, line []byte) []byte) error {
	if err := e.w.fs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := e.w.fs.Open(tmp, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(f, 0), 64<<10)
	err = e.Read(func(n int, line []byte) bool {
		line = change(n, line)
		if line == nil {
			return true
		}
		next.count(line)
		_, werr := out.Write(line)
		return werr == nil && out.WriteByte('\n') == nil
	})
	err = errors.Join(err, out.Flush()) // it has the error of an earlier write, too
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace puts the new file in the place of the old one, or removes both when it is empty.
func (e *Edit) replace(tmp string, next *file) error {
	w := e.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	if next.lines == 0 {
		if err := w.remove(e.f); err != nil {
			return err
		}
		return errors.Join(w.fs.Remove(tmp), w.fs.Sync())
	}
	if err := w.fs.Rename(tmp, e.f.name()); err != nil {
		return err
	}
	if next.newest.IsZero() {
		next.newest = e.f.newest
	}
	e.f.size, e.f.lines, e.f.newest = next.size, next.lines, next.newest
	return w.fs.Sync()
}
