package spool

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// load looks at all files of the directory and makes the numbers from them. A spool that is
// made gets the salt, or a random one instead of 0.
func (s *Spool) load(salt uint32) error {
	pos, found, err := openPosition(s.fs)
	if err != nil {
		return err
	}
	s.position = pos
	names, err := s.fs.List()
	if err != nil {
		return fmt.Errorf("list the spool's directory: %w", err)
	}
	s.kept = s.countKept(names)
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
	l.limits()
	for _, seg := range s.segments {
		l.scan(seg)
	}
	l.missing(max(l.expected, pos.now.end))
	l.skipUnread()
	if err := errors.Join(s.settle(), s.closeSegments()); err != nil {
		return err
	}
	s.lastSeq, s.durable, s.written = l.seen, l.seen, l.expected
	s.reader.last = pos.now.seq
	if pos.now.endKnown && pos.now.end < l.expected { // found, and promised to nobody
		l.gaps = append(l.gaps, span{pos.now.end, l.expected})
	}
	pos.now.end, pos.now.endKnown = l.expected, true
	if !found {
		pos.now.lines = l.first
	}
	pos.now.learn(l.gaps)
	if !found {
		pos.now.salt = cmp.Or(pos.now.salt, salt)
		err = pos.create()
	} else {
		pos.dirty = true // it may be newer in memory than on disk
		_ = pos.put()    // where that fails, sync makes it anew
		err = pos.sync()
	}
	if err != nil {
		return err
	}
	s.salt = pos.now.salt
	_ = s.removeDone() // what cannot be removed now is tried again
	return nil
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
	gaps     []span // that were counted
	tails    []tail // behind the last valid record so far
}

// tail is what follows the last valid record of a segment. It is the trace of a write
// that was under way, of which nobody was told, unless lines turn out to be missing there.
type tail struct {
	seg *segment
	hole
}

// headers opens the segments and finds their salts. What was made under another name, or
// by another spool, is set aside: its numbers would hide our own records. A damaged
// header takes the spool's salt; where there is none its file is set aside as well.
func (l *loading) headers() error {
	s := l.s
	salts := map[uint32]int{}
	for _, seg := range s.segments {
		file, err := s.fs.Open(seg.name(), 0)
		if err != nil {
			return fmt.Errorf("open spool file %s: %w", seg.name(), err)
		}
		seg.file = file
		if seg.size, err = file.Size(); err != nil {
			return fmt.Errorf("open spool file %s: %w", seg.name(), err)
		}
		id, salt, ok, err := readHeader(file, seg.name())
		switch {
		case errors.Is(err, errUnreadable):
			seg.keep = true
		case err != nil:
			return err
		case ok:
			seg.salt, seg.foreign = salt, id != seg.id
			if !seg.foreign {
				salts[salt]++
			}
		}
	}
	salt := s.position.now.salt
	if salt == 0 { // the position is lost: what most segments have
		for candidate, n := range salts {
			if n > salts[salt] {
				salt = candidate
			}
		}
		s.position.now.salt = salt
	}
	var errs []error
	s.segments = slices.DeleteFunc(s.segments, func(seg *segment) bool {
		if seg.salt == 0 {
			seg.salt = salt
		}
		if seg.salt == salt && salt != 0 && !seg.foreign {
			return false
		}
		errs = append(errs, seg.close(), s.setAside(seg.name()))
		return true
	})
	return errors.Join(errs...)
}

// limits finds the count of lines at which the segments after each one begin. Records are
// appended in order, so one at or beyond it was cut off when its fsync failed, nobody was
// told that it was taken over, and its numbers were given out again; that it is there
// means that the cut did not reach the disk before the power went.
func (l *loading) limits() {
	limit := uint64(math.MaxUint64)
	for _, seg := range slices.Backward(l.s.segments) {
		seg.limit = limit
		sc := scanner{file: seg.file, limit: seg.size, salt: seg.salt, buf: l.buf}
		off := int64(segmentHead)
		h, err := sc.check(off)
		if errors.Is(err, errDamaged) {
			if off, err = sc.next(off); err == nil {
				h, err = sc.check(off)
			}
		}
		if err == nil {
			limit = min(limit, h.linesBefore)
		}
	}
}

// skipUnread leaves out the numbers of what the disk could not read at the end of the
// last segment: a later start may be able to.
func (l *loading) skipUnread() {
	if n := len(l.s.segments); n > 0 && l.s.segments[n-1].keep {
		most := uint64(l.s.segments[n-1].size) // a record and a line take more than a byte
		l.seen, l.expected = l.seen+most, l.expected+most
	}
}

// scan counts the valid records of a segment, and notes the holes between them and what
// follows the last of them.
func (l *loading) scan(seg *segment) {
	sc := scanner{file: seg.file, limit: seg.size, salt: seg.salt, buf: l.buf}
	off, end := min(segmentHead, seg.size), min(segmentHead, seg.size)
	tries := 0
	for off < seg.size {
		h, err := sc.check(off)
		var id string
		if err == nil {
			id, err = sc.sourceID(off, h)
		}
		if err == nil && h.linesBefore >= seg.limit {
			break
		}
		if err == nil {
			if end < off {
				seg.holes = append(seg.holes, hole{end, off})
				l.s.damage.Holes++
				l.s.quarantine(seg.file, seg.id, hole{end, off})
			}
			l.count(seg, h, id)
			off += h.size()
			end = off
			continue
		}
		if errors.Is(err, errDamaged) {
			off, err = sc.next(off + 1)
		}
		if err == nil {
			continue
		}
		if tries++; tries == readTries {
			seg.keep = true // what is behind may be whole: nobody cuts it
			break
		}
	}
	if end < seg.size && !seg.keep {
		l.tails = append(l.tails, tail{seg, hole{end, seg.size}})
	}
	seg.synced = end
	seg.syncedLines, seg.syncedBatches = seg.lines, seg.batches
	seg.lastSeq = l.seen
}

// count adds a valid record. One that is committed counts as done.
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
	l.missing(h.linesBefore)
	l.seen, l.known, l.expected = h.seq, true, h.linesBefore+uint64(h.lines)
	l.s.sources[id]++
}

// missing counts what is lost before the count of lines at which the next record is, or
// at which all ended.
func (l *loading) missing(next uint64) {
	now := &l.s.position.now
	if now.endKnown {
		next = min(next, now.end) // what was never synced was never ours
	}
	gap := span{l.expected, next}
	if l.known && gap.from < gap.to && now.overlap(gap) < gap.to-gap.from {
		l.s.damage.LostLines += int64(gap.to - gap.from - now.overlap(gap))
		l.gaps = append(l.gaps, gap)
		for _, t := range l.tails {
			l.s.quarantine(t.seg.file, t.seg.id, t.hole)
		}
	}
	l.tails = l.tails[:0]
}

// settle cuts the segments to what is valid in them and syncs them: records that an
// earlier process left in the system's memory become ours, and cut ones, whose numbers
// are given out again, cannot come back after a power cut.
func (s *Spool) settle() error {
	for _, seg := range s.segments {
		var err error
		if cut := seg.size - seg.synced; cut > 0 && !seg.keep {
			s.damage.CutBytes += cut
			err = seg.file.Truncate(seg.synced)
		}
		seg.size = seg.synced
		if err == nil {
			err = seg.file.Sync()
		}
		if err == nil {
			continue
		}
		if again := s.rewrite(seg); again != nil {
			return fmt.Errorf("sync spool file %s: %w; look at the disk of data_dir", seg.name(), errors.Join(err, again))
		}
	}
	return s.fs.Sync()
}
