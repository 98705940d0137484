package spool

import (
	"errors"
	"fmt"
	"slices"
)

// load looks at all files of the directory and makes the numbers from them.
func (s *Spool) load() error {
	pos, found, err := openPosition(s.fs)
	if err != nil {
		return err
	}
	s.position = pos
	names, err := s.fs.List()
	if err != nil {
		return fmt.Errorf("list the spool's directory: %w", err)
	}
	for _, name := range names {
		if id, ok := segmentID(name); ok {
			s.segments = append(s.segments, &segment{id: id})
			s.nextID = max(s.nextID, id+1)
		}
	}
	slices.SortFunc(s.segments, func(a, b *segment) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	l := loading{s: s, seen: pos.now.seq, expected: pos.now.lines, known: found, buf: make([]byte, chunk)}
	if err := l.headers(); err != nil {
		return errors.Join(err, s.closeSegments())
	}
	s.damage.PositionLost = !found && len(s.segments) > 0
	for _, seg := range s.segments {
		l.scan(seg)
	}
	if err := s.closeSegments(); err != nil {
		return err
	}
	s.lastSeq, s.durable, s.written = l.seen, l.seen, l.expected
	s.reader.last = pos.now.seq
	if !found {
		pos.now.lines = l.first
		err = pos.create()
	} else {
		pos.dirty = true // it may be newer in memory than on disk
		err = pos.sync()
	}
	if err != nil {
		return err
	}
	s.salt = pos.now.salt
	return s.removeDone()
}

func (s *Spool) closeSegments() error {
	var errs []error
	for _, seg := range s.segments {
		errs = append(errs, seg.close())
	}
	return errors.Join(errs...)
}

// loading is the state of the look over all segments.
type loading struct {
	s        *Spool
	buf      []byte
	seen     uint64 // highest sequence number so far, committed ones included
	expected uint64 // linesBefore of the next record, when known
	known    bool
	first    uint64 // linesBefore of the very first record
	started  bool
}

// headers opens the segments and finds their salts. A damaged header takes the salt of
// the position, or of another segment; where there is none its file is set aside.
func (l *loading) headers() error {
	s := l.s
	salt := s.position.now.salt
	for _, seg := range s.segments {
		file, err := s.fs.Open(seg.name(), 0)
		if err != nil {
			return fmt.Errorf("open spool file %s: %w", seg.name(), err)
		}
		seg.file = file
		if seg.size, err = file.Size(); err != nil {
			return fmt.Errorf("open spool file %s: %w", seg.name(), err)
		}
		own, ok, err := readHeader(file, seg.name())
		if err != nil {
			return err
		}
		if ok {
			seg.salt = own
			if salt == 0 {
				salt = own
			}
		}
	}
	s.position.now.salt = salt
	var errs []error
	s.segments = slices.DeleteFunc(s.segments, func(seg *segment) bool {
		if seg.salt == 0 {
			seg.salt = salt
		}
		if seg.salt != 0 {
			return false
		}
		s.damage.Holes++
		errs = append(errs, seg.close(), s.fs.Rename(seg.name(), seg.name()+".damaged"))
		return true
	})
	return errors.Join(errs...)
}

// scan counts the valid records of a segment and cuts what follows the last of them.
func (l *loading) scan(seg *segment) {
	sc := scanner{file: seg.file, limit: seg.size, salt: seg.salt, buf: l.buf}
	off, end := min(segmentHead, seg.size), min(segmentHead, seg.size)
	hole := false
	for off < seg.size {
		h, err := sc.check(off)
		var id string
		if err == nil {
			id, err = sc.sourceID(off, h)
		}
		if err == nil {
			if hole {
				l.s.damage.Holes++
				hole = false
			}
			l.count(seg, h, id)
			off += h.size()
			end = off
			continue
		}
		hole = true
		if !errors.Is(err, errDamaged) {
			break // the disk cannot read it: nor will anybody
		}
		if off, err = sc.next(off + 1); err != nil {
			break
		}
	}
	if end < seg.size {
		l.s.damage.CutBytes += seg.size - end
		// Where it cannot be cut, nothing behind end is read all the same.
		_ = seg.file.Truncate(end)
	}
	seg.size, seg.synced = end, end
	seg.syncedLines, seg.syncedBatches = seg.lines, seg.batches
	seg.lastSeq = l.seen
}

// count adds a valid record. One that comes again, or is committed, counts as done.
func (l *loading) count(seg *segment, h head, id string) {
	if !l.started {
		l.started, l.first = true, h.linesBefore
	}
	lines := int64(h.lines)
	seg.lines += lines
	seg.batches++
	if h.seq <= l.seen {
		seg.readLines += lines
		seg.readBatches++
		seg.doneLines += lines
		seg.doneBatches++
		return
	}
	if l.known && h.linesBefore > l.expected {
		l.s.damage.LostLines += int64(h.linesBefore - l.expected)
	}
	l.seen, l.known, l.expected = h.seq, true, h.linesBefore+uint64(h.lines)
	l.s.sources[id]++
}
