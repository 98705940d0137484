package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/logcapturer/log_capturer/internal/record"
)

// reader is how far Read has come; it runs ahead of what is committed.
type reader struct {
	interner
	segment uint64 // id of the segment that off is in; 0 before the first
	off     int64
	file    File // of that segment
	last    uint64
	out     []handed
	broken  bool // in a hole that is counted already
	// failures of the disk to read at off
	failures int
}

// readTries is how often a place that the disk cannot read is tried. Then the rest of
// the segment is given up for now, so that it does not hold up what is behind it; the
// file is set aside.
const readTries = 5

// handed is a record that was read and not committed.
type handed struct {
	segment    *segment
	seq, lines uint64
	linesAfter uint64
}

func (r *reader) close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// Read returns the next batch and its number, or io.EOF while there is no further one
// on disk. The batch is the caller's: it belongs to no budget but that of Options.Pool,
// its Done recycles it and changes nothing in the spool. Damaged records are passed
// over and counted. Another error is one of the disk; Read goes on at the same place.
func (s *Spool) Read() (*record.Batch, uint64, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	for {
		seg, limit, err := s.readable()
		if err != nil {
			return nil, 0, err
		}
		b, h, err := s.readRecord(seg, limit)
		if err != nil {
			return nil, 0, err
		}
		if b == nil {
			continue // in a hole, or at a record that was committed before
		}
		lines := uint64(h.lines)
		s.mu.Lock()
		seg.readLines += int64(lines)
		seg.readBatches++
		s.mu.Unlock()
		s.reader.last = h.seq
		s.reader.out = append(s.reader.out, handed{seg, h.seq, lines, h.linesBefore + lines})
		return b, h.seq, nil
	}
}

// readable returns the segment to read from, with bytes to read, and opens its file.
func (s *Spool) readable() (*segment, int64, error) {
	r := &s.reader
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0, ErrClosed
	}
	for _, seg := range s.segments {
		if seg.id < r.segment || seg.finished {
			continue
		}
		if seg.id != r.segment {
			if err := r.close(); err != nil {
				return nil, 0, fmt.Errorf("close a spool segment: %w", err)
			}
			r.segment, r.off, r.broken = seg.id, segmentHead, false
		}
		if r.off < seg.synced {
			if r.file != nil {
				return seg, seg.synced, nil
			}
			file, err := s.fs.Open(seg.name(), 0)
			if err == nil {
				r.file = file
				return seg, seg.synced, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, 0, fmt.Errorf("open spool file %s: %w", seg.name(), err)
			}
			s.damage.Holes++
			r.off = seg.synced // it is gone; what it held is lost
		}
		if seg.size > seg.synced || seg == s.active && seg.readBatches == seg.batches {
			break
		}
		if seg == s.active { // damaged: go on in a new file
			s.active = nil
		}
		s.finish(seg)
	}
	_ = s.removeDone() // Commit and Sync tell; what waits in memory is not to wait for it
	return nil, 0, io.EOF
}

// finish marks a segment that was read to its end. What was in it and did not come out
// is lost.
func (s *Spool) finish(seg *segment) {
	seg.finished = true
	if lost := seg.syncedLines - seg.readLines; lost > 0 {
		s.damage.LostLines += lost
	}
	seg.lines, seg.syncedLines = seg.readLines, seg.readLines
	seg.batches, seg.syncedBatches = seg.readBatches, seg.readBatches
}

// readRecord decodes the record at the reader's place and steps behind it. No batch and
// no error means that there was none to hand out.
func (s *Spool) readRecord(seg *segment, limit int64) (*record.Batch, head, error) {
	r := &s.reader
	sc := scanner{file: r.file, limit: limit, salt: seg.salt}
	b, h, err := s.decode(&sc, r.off)
	if errors.Is(err, errDamaged) {
		for _, h := range seg.holes {
			if r.off == h.from {
				r.off = h.to
				return nil, head{}, nil
			}
		}
		sc.buf = make([]byte, chunk)
		next, err := sc.next(r.off + 1)
		if err != nil {
			return nil, h, err
		}
		s.mu.Lock()
		if next < limit || !r.broken {
			s.damage.Holes++
		}
		s.mu.Unlock()
		s.quarantine(r.file, seg.id, hole{r.off, next})
		r.off, r.broken = next, next == limit
		return nil, h, nil
	}
	if err != nil {
		if r.failures++; r.failures < readTries {
			return nil, h, err
		}
		s.mu.Lock()
		s.damage.Holes++
		seg.keep = true
		s.mu.Unlock()
		r.off, r.failures = limit, 0
		return nil, h, nil
	}
	r.off, r.broken, r.failures = r.off+h.size(), false, 0
	return b, h, nil
}

func (s *Spool) decode(sc *scanner, off int64) (b *record.Batch, h head, err error) {
	var raw [recordHead + payloadHead]byte
	if off+int64(len(raw)) > sc.limit {
		return nil, h, errDamaged
	}
	if err := sc.read(raw[:], off); err != nil {
		return nil, h, err
	}
	payload, want, ok := parseHead(raw[:recordHead], sc.salt)
	if !ok || off+recordHead+payload > sc.limit {
		return nil, h, errDamaged
	}
	if h, ok = parsePayloadHead(raw[recordHead:], payload); !ok {
		return nil, h, errDamaged
	}
	if h.seq <= s.reader.last {
		return nil, h, nil
	}
	b = s.batch(int(payload))
	defer func() {
		if err != nil {
			b.Done(record.Failed)
			b = nil
		}
	}()
	b.Arena = b.Arena[:payload]
	if err := sc.read(b.Arena, off+recordHead); err != nil {
		return b, h, err
	}
	if crc32.Checksum(b.Arena, castagnoli) != want {
		return b, h, errDamaged
	}
	if b.Source, err = s.reader.source(b.Arena[payloadHead : payloadHead+h.sourceLen]); err != nil {
		return b, h, err
	}
	return b, h, decodeEntries(b, h)
}

func (s *Spool) batch(size int) *record.Batch {
	if s.pool != nil {
		return s.pool.Force(size)
	}
	b := &record.Batch{Arena: make([]byte, 0, size)}
	b.Retain(1)
	return b
}

// Commit says that every batch that Read returned up to the number seq is delivered,
// and removes the segments that are done with. After an error the same batches may be
// read again by the next process; in this one they are gone.
func (s *Spool) Commit(seq uint64) error {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	r := &s.reader
	n, after := 0, uint64(0)
	for ; n < len(r.out) && r.out[n].seq <= seq; n++ {
		h := &r.out[n]
		h.segment.doneLines += int64(h.lines)
		h.segment.doneBatches++
		after = h.linesAfter
	}
	if n == 0 {
		return nil
	}
	last := r.out[n-1].seq
	r.out = append(r.out[:0], r.out[n:]...)
	if err := s.position.write(last, after); err != nil {
		return err
	}
	s.retire()
	return s.removeDone()
}

// retire ends the segment that is written to when all of it is committed, so that an
// empty spool takes no room.
func (s *Spool) retire() {
	a := s.active
	if a != nil && a.size == a.synced && a.doneBatches == a.batches && a.batches > 0 {
		s.active = nil
		s.finish(a)
	}
}

// removeDone removes the leading segments of which nothing is left to deliver, after
// the position that says so is durable.
func (s *Spool) removeDone() error {
	n := 0
	for n < len(s.segments) && s.done(s.segments[n]) {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := s.position.sync(); err != nil {
		return err
	}
	for ; n > 0; n-- {
		seg := s.segments[0]
		if s.reader.segment == seg.id {
			_ = s.reader.close() // it was read only
		}
		_ = seg.close() // all of it is synced
		remove := s.fs.Remove
		if seg.keep {
			remove = s.setAside
		}
		if err := remove(seg.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove spool file %s: %w; it is tried again", seg.name(), err)
		}
		s.segments = s.segments[1:]
	}
	return nil
}

// done tells whether a segment can go: sealed, synced, and all of it committed. One
// with damage in it goes once the reader has passed its end.
func (s *Spool) done(seg *segment) bool {
	return seg != s.active && seg.size == seg.synced && seg.doneBatches == seg.batches
}
