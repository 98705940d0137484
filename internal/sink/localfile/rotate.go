package localfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// due tells whether the file must end before n more bytes.
func (s *Sink) due(h *handle, n int64) bool {
	if h.size == 0 {
		return false
	}
	if limit := int64(s.config.Rotate.MaxBytes); limit > 0 && h.size+n > limit {
		return true
	}
	every := s.config.Rotate.Every.Std()
	return every > 0 && s.now().UTC().Truncate(every).After(h.written.UTC().Truncate(every))
}

// end gives the file at name the name of an ended one: name-time.n, with the first n
// that is free.
func (s *Sink) end(name string, at time.Time) error {
	if err := s.drop(name); err != nil {
		return err
	}
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s-%s.%d", name, at.UTC().Format(stamp), n)
		free, err := s.free(to)
		if err != nil {
			return err
		}
		if !free {
			continue
		}
		if err := s.root.Rename(name, to); err != nil {
			return fmt.Errorf("end the file: %w", err)
		}
		s.ended = append(s.ended, to)
		if s.config.Fsync {
			return s.syncDir(name)
		}
		return nil
	}
}

// free tells whether there is no ended file of this name, compressed or not.
func (s *Sink) free(name string) (bool, error) {
	for _, suffix := range []string{"", ".zst", ".gz"} {
		_, err := s.root.Lstat(name + suffix)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

func (s *Sink) suffix() string {
	switch s.config.Rotate.Compress {
	case CompressZstd:
		return ".zst"
	case CompressGzip:
		return ".gz"
	}
	return ""
}

// compress replaces an ended file by its compressed form. The new file has its name
// only when it is whole and on disk, and the old one goes after that, so a crash in
// between loses nothing and doubles nothing: see sweep.
func (s *Sink) compress(ctx context.Context, name string) (err error) {
	suffix := s.suffix()
	if suffix == "" {
		return nil
	}
	final, temp := name+suffix, name+suffix+".tmp"
	for _, done := range []string{name + ".zst", name + ".gz"} {
		if info, err := s.root.Lstat(done); err == nil && info.Mode().IsRegular() {
			return s.root.Remove(name) // that one is whole, or it would not have its name
		}
	}
	from, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is %s, not a regular file", name, kind(info.Mode()))
	}
	if err := s.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	err = pack(ctx, to, from, suffix)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err == nil {
		err = s.root.Rename(temp, final)
	}
	if err != nil {
		return errors.Join(err, s.root.Remove(temp))
	}
	if err := s.syncDir(final); err != nil {
		return err
	}
	return s.root.Remove(name)
}

// pack copies with little memory and without goroutines.
func pack(ctx context.Context, to io.Writer, from io.Reader, suffix string) error {
	var w io.WriteCloser
	var err error
	if suffix == ".zst" {
		w, err = zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	} else {
		w, err = gzip.NewWriterLevel(to, gzip.DefaultCompression)
	}
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, reader{ctx, from}, make([]byte, 64<<10))
	return errors.Join(err, w.Close())
}

// reader stops when its context has ended.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// tidy compresses what this Send ended, and looks over all files when it is time. Its
// failures are not the delivery's: they are logged, and tried again by the next sweep.
func (s *Sink) tidy(ctx context.Context) {
	ended := s.ended
	s.ended = nil
	for _, name := range ended {
		if err := s.compress(ctx, name); err != nil && ctx.Err() == nil {
			s.log.Warn("an ended file is not compressed; it is kept as it is and tried again within the hour", "file", path.Join(s.template.dir, name), "error", err)
		}
	}
	now := s.now()
	if !s.swept.IsZero() && now.Sub(s.swept) < sweepEvery && now.After(s.swept.Add(-sweepEvery)) {
		return
	}
	s.swept = now
	if err := s.sweep(ctx, now); err != nil && ctx.Err() == nil {
		s.log.Warn("old files could not be looked over; tried again within the hour", "directory", s.template.dir, "error", err)
	}
}
