package spool

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// segment is one file of records. Its numbers are of valid records.
type segment struct {
	id    uint64
	salt  uint32
	file  File // open while there is something to write or to sync
	fresh bool // its name is not durable yet

	foreign bool   // made under another name; only while loading
	limit   uint64 // the count of lines at which later segments begin; only while loading
	holes   []hole // damage between its records that is counted already
	keep    bool   // the disk could not read all of it: it is set aside, not removed

	size, synced           int64 // bytes; what is read ends at synced
	lines, syncedLines     int64
	batches, syncedBatches int64
	lastSeq                uint64
	readLines, readBatches int64 // handed out by Read, or committed before Open
	doneLines, doneBatches int64 // committed
	finished               bool  // read to its end; nothing more will come
}

const segmentSuffix = ".seg"

func (seg *segment) name() string { return fmt.Sprintf("%020d", seg.id) + segmentSuffix }

func segmentID(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil
}

func (seg *segment) close() error {
	if seg.file == nil {
		return nil
	}
	f := seg.file
	seg.file = nil
	return f.Close()
}

// Sync makes all that was appended durable. Every batch with a number up to durable is
// then on disk for good. When err is not nil and dropped is above durable, every batch
// after durable up to dropped is not, and is not in the spool any more: after a failed
// fsync nobody knows what reached the disk, so the file is cut there and left.
func (s *Spool) Sync() (durable, dropped uint64, err error) {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	durable, dropped, err = s.syncSegments()
	if err != nil {
		return durable, dropped, err
	}
	return durable, 0, s.position.sync()
}

func (s *Spool) syncSegments() (durable, dropped uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.durable, 0, ErrClosed
	}
	for seg := s.unsynced(); seg != nil; seg = s.unsynced() {
		if err := s.syncSegment(seg); err != nil {
			err = fmt.Errorf("sync spool file %s: %w; what was in it is read again from its source", seg.name(), err)
			return s.durable, s.lastSeq, errors.Join(err, s.cut())
		}
	}
	return s.durable, 0, nil
}

// end is the count of lines up to which records were synced.
func (s *Spool) end() uint64 {
	end := s.written
	for _, seg := range s.segments {
		end -= uint64(seg.lines - seg.syncedLines)
	}
	return end
}

func (s *Spool) unsynced() *segment {
	for _, seg := range s.segments {
		if seg.size > seg.synced {
			return seg
		}
	}
	return nil
}

// syncSegment syncs what seg holds now. It lets go of mu meanwhile: appends go on, and
// no one else closes the file while there is something unsynced in it.
func (s *Spool) syncSegment(seg *segment) error {
	file, fresh := seg.file, seg.fresh
	size, lines, batches, last := seg.size, seg.lines, seg.batches, seg.lastSeq
	s.mu.Unlock()
	err := file.Sync()
	if err == nil && fresh {
		err = s.fs.Sync()
	}
	s.mu.Lock()
	if err != nil {
		return err
	}
	seg.synced, seg.syncedLines, seg.syncedBatches, seg.fresh = size, lines, batches, false
	s.durable = last
	_ = s.position.mark(s.end()) // what failed is met again by the position's next sync
	if seg != s.active && seg.size == seg.synced {
		return seg.close()
	}
	return nil
}

// cut drops all that is not synced, and the files it was in from further writing. The
// newest goes first: a crash in between leaves no gap that would look like a loss.
func (s *Spool) cut() error {
	var errs []error
	gone := map[*segment]bool{}
	for _, seg := range slices.Backward(s.segments) {
		if seg.size == seg.synced && seg.file == nil {
			continue
		}
		s.written -= uint64(seg.lines - seg.syncedLines)
		if seg.synced == segmentHead {
			errs = append(errs, seg.close(), s.fs.Remove(seg.name()))
			gone[seg] = true
			continue
		}
		if seg.size > seg.synced && seg.file != nil {
			// Synced, or a power cut could bring back some of what was cut, whose numbers are
			// given out again, and the rest of it would look like a loss. That an fsync of this
			// descriptor has failed does not matter: there is no data that this one is for.
			err := seg.file.Truncate(seg.synced)
			if err == nil {
				err = seg.file.Sync()
			}
			errs = append(errs, err)
		}
		seg.size, seg.lines, seg.batches = seg.synced, seg.syncedLines, seg.syncedBatches
		errs = append(errs, seg.close())
	}
	s.segments = slices.DeleteFunc(s.segments, func(seg *segment) bool { return gone[seg] })
	s.active = nil
	return errors.Join(errs...)
}
