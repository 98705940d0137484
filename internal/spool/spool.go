// Package spool keeps batches on disk, first in first out, for one sink.
//
// A spool is a directory of segment files (format.go) and one file that holds how far
// they were acknowledged (position.go). Batches are appended, become the spool's
// responsibility with Sync, are read in order and are gone with Commit. Only synced
// batches are read, so that a batch whose fsync failed is never delivered as well.
//
// It promises: what Sync took over is read after any crash until it is committed; the
// position is durable before a finished segment is removed; a torn tail is cut, damage
// in the middle costs the damaged records alone, is counted and kept aside (quarantine.go);
// the segments do not grow past the cap by more than one batch. All numbers are derived
// from the files when it opens.
//
// One goroutine may Append, one Sync and one Read and Commit at the same time; all
// other methods are free. It owns its directory: no other process may use it.
package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/record"
)

// Errors of Append that a caller acts on.
var (
	// ErrFull means that the cap is reached until batches are committed.
	ErrFull = errors.New("the spool is full")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("the spool is closed")
)

// Sizes of a segment in bytes: an eighth of the cap, within these.
const (
	MaxSegment = 16 << 20
	MinSegment = 64 << 10
)

// Options are what Open may be given besides; the zero value is right.
type Options struct {
	// FS replaces the directory.
	FS FS
	// Pool gives the memory of the batches that Read returns (by Force); without it they
	// are left to the garbage collector.
	Pool *record.Pool
	// SegmentBytes replaces the size at which a segment ends.
	SegmentBytes int64
	// Salt, if not 0, replaces the random one of a spool that is made.
	Salt uint32
}

// Spool is an open spool.
type Spool struct {
	fs      FS
	pool    *record.Pool
	max     atomic.Int64
	segment int64
	salt    uint32

	syncMu sync.Mutex // one Sync at a time; taken before mu
	readMu sync.Mutex // guards reader; taken before mu
	reader reader

	mu       sync.Mutex
	closed   bool
	buf      []byte
	segments []*segment // in order of id
	active   *segment   // the last of segments, when it is written to
	position *positionFile
	nextID   uint64
	lastSeq  uint64 // of the last append that was accepted
	durable  uint64 // the highest sequence number that was synced
	written  uint64 // lines of all records that were ever appended and not cut
	sources  map[string]int
	damage   Damage
	reserved int64 // bytes that Append may count on
	kept     int64 // bytes in quarantine; guarded by readMu
}

// Damage counts what was found broken, since Open.
type Damage struct {
	// LostLines are lines that were taken over and cannot be read any more.
	LostLines int64
	// Holes are runs of damaged bytes between valid records.
	Holes int64
	// SetAside are files that are no segments of this spool, or of which nothing could be
	// read; they have ".damaged" behind their names now.
	SetAside int64
	// CutBytes were cut off the end, where writing had stopped in a record.
	CutBytes int64
	// PositionLost tells that the position was unreadable: what is in the segments is
	// read from the beginning, so that some entries may be delivered again.
	PositionLost bool
}

// Stats are the spool's numbers at one moment.
type Stats struct {
	// Bytes is the size of all segment files.
	Bytes int64
	// Batches and Lines are synced and not committed.
	Batches, Lines int64
	// PendingLines are appended and not synced: not yet the spool's.
	PendingLines int64
	Damage       Damage
}

// Open opens the spool in dir, which it creates where it is missing, and looks at all
// that is there: about a second for a gibibyte. maxBytes caps the segments' bytes.
func Open(dir string, maxBytes int64, o Options) (*Spool, error) {
	if maxBytes <= 0 {
		return nil, fmt.Errorf("open the spool in %s: the cap is %d bytes; set spool.max_bytes to a size above 0", dir, maxBytes)
	}
	s := &Spool{
		fs: o.FS, pool: o.Pool, segment: o.SegmentBytes,
		nextID: 1, sources: make(map[string]int),
	}
	s.max.Store(maxBytes)
	if s.segment <= 0 {
		s.segment = max(min(maxBytes/8, MaxSegment), MinSegment)
	}
	if s.fs == nil {
		var err error
		if s.fs, err = Dir(dir); err != nil {
			return nil, err
		}
	}
	if err := s.load(o.Salt); err != nil {
		if s.position != nil && s.position.file != nil {
			err = errors.Join(err, s.position.file.Close())
		}
		return nil, errors.Join(fmt.Errorf("open the spool in %s: %w", dir, err), s.fs.Close())
	}
	return s, nil
}

// SetMax changes the cap. What is there stays, also beyond it; segments keep their size.
func (s *Spool) SetMax(maxBytes int64) { s.max.Store(maxBytes) }

// Max returns the most that the spool takes on disk, in bytes.
func (s *Spool) Max() int64 { return s.max.Load() }

// Append writes b behind all others under the number seq, which must be higher than
// any before. It reads b and does not keep it. The batch is the spool's after the next
// Sync that reaches it. ErrFull and every other error leave nothing behind.
func (s *Spool) Append(b *record.Batch, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if seq <= s.lastSeq {
		return fmt.Errorf("append batch %d to the spool: the last was %d; this is a bug", seq, s.lastSeq)
	}
	if s.reserved == 0 && !s.room(0) {
		return ErrFull
	}
	rec, err := appendRecord(s.buf[:0], b, seq, s.written, s.salt)
	if err != nil {
		return fmt.Errorf("append to the spool: %w", err)
	}
	if s.buf = rec; cap(rec) > 1<<20 {
		s.buf = nil
	}
	seg, err := s.writable(int64(len(rec)))
	if err != nil {
		return err
	}
	if _, err := seg.file.WriteAt(rec, seg.size); err != nil {
		if cut := seg.file.Truncate(seg.size); cut != nil {
			s.active = nil // its end is not known; go on in a new file
		}
		return fmt.Errorf("append to spool file %s: %w; free space on the disk of data_dir, or lower spool.max_bytes", seg.name(), err)
	}
	seg.size += int64(len(rec))
	seg.lines += int64(len(b.Entries))
	seg.batches++
	seg.lastSeq, s.lastSeq = seq, seq
	s.written += uint64(len(b.Entries))
	return nil
}

// writable returns the segment for a record of n bytes, a new one where the last is full.
func (s *Spool) writable(n int64) (*segment, error) {
	if s.active != nil && (s.active.size == segmentHead || s.active.size+n <= s.segment) {
		return s.active, nil
	}
	seg := &segment{id: s.nextID, salt: s.salt, size: segmentHead, synced: segmentHead}
	file, err := s.fs.Open(seg.name(), os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("create a spool segment: %w", err)
	}
	if _, err := file.WriteAt(segmentHeader(seg.id, seg.salt), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("create spool file %s: %w", seg.name(), err), file.Close(), s.fs.Remove(seg.name()))
	}
	seg.file, seg.fresh = file, true
	s.nextID++
	s.segments = append(s.segments, seg)
	s.active = seg
	return seg, nil
}

// Files returns the account of the files that are open, nil with Options.FS, and how many
// there should be at most.
func (s *Spool) Files() (open *ledger.Account, expected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	expected = 3 // the position, also while it is made anew, and the one that is read
	for _, seg := range s.segments {
		if seg.file != nil {
			expected++
		}
	}
	return Held(s.fs), expected
}

// Bytes returns the size of all segments.
func (s *Spool) Bytes() int64 { return s.Stats().Bytes }

// Lines returns the lines that are synced and not committed.
func (s *Spool) Lines() int64 { return s.Stats().Lines }

// LastSeq returns the highest number that was appended or committed, also by earlier
// processes; the next one must be higher.
func (s *Spool) LastSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastSeq
}

// Sources returns the number of batches by source ID that Open found.
func (s *Spool) Sources() map[string]int { return s.sources }

// Stats returns the numbers of the moment.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Damage: s.damage}
	for _, seg := range s.segments {
		st.Bytes += seg.size
		st.Batches += seg.syncedBatches - seg.doneBatches
		st.Lines += seg.syncedLines - seg.doneLines
		st.PendingLines += seg.lines - seg.syncedLines
	}
	return st
}

// usage returns the bytes of all segments and whether they hold nothing of worth.
func (s *Spool) usage() (bytes int64, empty bool) {
	empty = true
	for _, seg := range s.segments {
		bytes += seg.size
		empty = empty && seg.batches == seg.doneBatches
	}
	return bytes, empty
}

// Close closes the files. What was appended and not synced is cut off: nobody has been
// told that it was taken over.
func (s *Spool) Close() error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.readMu.Lock()
	defer s.readMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	errs := []error{s.cut(), s.reader.close(), s.position.close()}
	for _, seg := range s.segments {
		errs = append(errs, seg.close())
	}
	return errors.Join(append(errs, s.fs.Close())...)
}

// Empty tells whether nothing is in the spool that is still to be delivered.
func (s *Spool) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, empty := s.usage()
	return empty
}
