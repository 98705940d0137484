package localfile

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// sweep looks at every file that the template can have named: it finishes what a crash
// left half compressed, ends files of past dates, and removes ended files that are
// older than Keep. Other files are not touched.
func (s *Sink) sweep(ctx context.Context, now time.Time) error {
	var errs []error
	var dirs []string
	depth := len(s.template.components)
	err := fs.WalkDir(s.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			errs = append(errs, err)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case name == ".":
		case d.IsDir():
			if strings.Count(name, "/")+1 >= depth {
				return fs.SkipDir
			}
			dirs = append(dirs, name)
		case d.Type().IsRegular() && strings.Count(name, "/")+1 == depth:
			errs = append(errs, s.sweepFile(ctx, name, d, now))
		}
		return nil
	})
	if s.template.date {
		slices.Reverse(dirs)
		for _, dir := range dirs {
			s.removeDated(dir, now)
		}
	}
	return errors.Join(append(errs, err)...)
}

func (s *Sink) sweepFile(ctx context.Context, name string, d fs.DirEntry, now time.Time) error {
	dir, file := path.Split(name)
	old, ended := parseRotated(file)
	base := name
	if ended {
		base = dir + old.base
	}
	if !s.template.named(base) {
		return nil
	}
	keep := s.config.Rotate.Keep.Std()
	switch {
	case old.temporary: // of this process none is left at this time
		return s.root.Remove(name)
	case ended && keep > 0 && now.Sub(old.ended) > keep:
		return s.root.Remove(name)
	case ended && !old.compressed:
		return s.compress(ctx, name)
	case ended || !s.template.date:
		return nil
	}
	info, err := d.Info()
	if err != nil || !s.past(name, now) || now.Sub(info.ModTime()) < sweepEvery {
		return err
	}
	if err := s.end(name, info.ModTime()); err != nil {
		return err
	}
	name, s.ended = s.ended[len(s.ended)-1], s.ended[:len(s.ended)-1]
	return s.compress(ctx, name)
}

// past tells whether a path is of an earlier date than now: it holds the dates of
// neither today nor a later day.
func (s *Sink) past(name string, now time.Time) bool {
	today := now.UTC().Format(time.DateOnly)
	for _, date := range dates.FindAllString(name, -1) {
		if date >= today {
			return false
		}
	}
	return true
}

// removeDated removes a directory of an earlier date, if it is empty.
func (s *Sink) removeDated(dir string, now time.Time) {
	if !s.template.named(dir) || !dates.MatchString(dir) || !s.past(dir, now) {
		return
	}
	// It stays when there is something in it, which is what the error says.
	_ = s.root.Remove(dir)
}
