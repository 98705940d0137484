package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// hole is a run of damaged bytes of a segment, [from, to).
type hole struct{ from, to int64 }

// damagedSuffix is behind the names of files in which nobody looks for records.
const damagedSuffix = ".damaged"

// quarantine keeps the bytes of a hole in a file of their own, for a person to look at:
// the segment goes when the rest of it is delivered. All together have at most an eighth
// of the cap. Where they cannot be kept they are counted all the same.
func (s *Spool) quarantine(from io.ReaderAt, id uint64, h hole) {
	n := h.to - h.from
	if s.kept+n > s.max.Load()/8 {
		return
	}
	name := fmt.Sprintf("%020d-%d%s", id, h.from, damagedSuffix)
	err := s.copyTo(name, io.NewSectionReader(from, h.from, n))
	switch {
	case err == nil:
		s.kept += n
	case !errors.Is(err, fs.ErrExist): // then it is there from an earlier start
		_ = s.fs.Remove(name)
	}
}

// countKept returns the bytes in quarantine.
func (s *Spool) countKept(names []string) (n int64) {
	for _, name := range names {
		if !strings.HasSuffix(name, damagedSuffix) {
			continue
		}
		f, err := s.fs.Open(name, 0)
		if err != nil {
			continue
		}
		if size, err := f.Size(); err == nil {
			n += size
		}
		_ = f.Close()
	}
	return n
}

func (s *Spool) setAside(name string) error {
	s.damage.SetAside++
	return s.fs.Rename(name, name+damagedSuffix)
}

// rewrite puts what is valid of a segment, whose fsync failed, into a new file under
// its name. The old descriptor is not synced again: it would say that all is well.
func (s *Spool) rewrite(seg *segment) error {
	const temp = "rewrite.tmp"
	if err := s.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.copyTo(temp, io.NewSectionReader(seg.file, 0, seg.synced)); err != nil {
		return err
	}
	return s.fs.Rename(temp, seg.name())
}

// copyTo makes a new file of the bytes and syncs it.
func (s *Spool) copyTo(name string, from io.Reader) error {
	to, err := s.fs.Open(name, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(to, 0), from)
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}
