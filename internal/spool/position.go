package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
)

// positionName is the file that holds how far the spool was acknowledged: two slots,
// written in turn, so that a torn write leaves the one before. It is written in place:
// that needs no room on a full disk.
const (
	positionName = "position"
	slotSize     = 512
	slotBytes    = 56 + maxSpans*16 + 4
	maxSpans     = 16
)

var positionMagic = [8]byte{'L', 'C', 'S', 'P', 'P', 'O', 'S', 0}

// position says that all records up to seq, with all lines before the count of lines,
// are acknowledged, and that records up to the count end were synced: what is missing
// there was lost, also when it was the last of all. Version 1 had no end.
type position struct {
	salt            uint32
	generation      uint64
	seq, lines, end uint64
	endKnown        bool
	// known are lines whose absence is no news, the latest maxSpans runs of them: they
	// were counted as lost at an earlier start, or nobody was ever promised them.
	known []span
}

// span is a run of lines by their count, [from, to).
type span struct{ from, to uint64 }

// overlap returns how many lines of s are known.
func (p *position) overlap(s span) (n uint64) {
	for _, k := range p.known {
		if from, to := max(k.from, s.from), min(k.to, s.to); from < to {
			n += to - from
		}
	}
	return n
}

// learn adds spans and forgets what is delivered, or beyond the end: its numbers are given
// out again.
func (p *position) learn(spans []span) {
	p.known = append(slices.Clone(p.known), spans...)
	p.known = slices.DeleteFunc(p.known, func(s span) bool { return s.to <= p.lines || s.to > p.end })
	p.known = p.known[max(0, len(p.known)-maxSpans):]
}

type positionFile struct {
	fs FS

	mu   sync.Mutex
	file File
	now  position
	// dirty: changed and not synced.
	dirty bool
	// poisoned: a write or an fsync failed. What of it is on disk is not known, and a
	// further fsync of this descriptor would say that all is well, so only create helps.
	poisoned bool
}

func (p *position) encode() []byte {
	b := make([]byte, slotBytes)
	copy(b, positionMagic[:])
	le.PutUint16(b[8:], positionVersion)
	le.PutUint32(b[12:], p.salt)
	le.PutUint64(b[16:], p.generation)
	le.PutUint64(b[24:], p.seq)
	le.PutUint64(b[32:], p.lines)
	le.PutUint64(b[40:], p.end)
	le.PutUint32(b[48:], crc32.Checksum(b[:48], castagnoli))
	le.PutUint32(b[52:], uint32(len(p.known)))
	for i, s := range p.known {
		le.PutUint64(b[56+i*16:], s.from)
		le.PutUint64(b[64+i*16:], s.to)
	}
	le.PutUint32(b[slotBytes-4:], crc32.Checksum(b[52:slotBytes-4], castagnoli))
	return b
}

// decodePosition takes it that every later version keeps magic, version and the place
// of the sum, so that it can be told from damage.
func decodePosition(b []byte) (p position, ok bool, err error) {
	v, end := le.Uint16(b[8:]), 48
	if v == 1 {
		end = 40
	}
	if [8]byte(b[:8]) != positionMagic || le.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return p, false, nil
	}
	if v > positionVersion {
		return p, false, errVersion(positionName, v, positionVersion)
	}
	p = position{salt: le.Uint32(b[12:]), generation: le.Uint64(b[16:]), seq: le.Uint64(b[24:]), lines: le.Uint64(b[32:])}
	if v > 1 {
		p.end, p.endKnown = le.Uint64(b[40:]), true
		n := le.Uint32(b[52:])
		if n > maxSpans || le.Uint32(b[slotBytes-4:]) != crc32.Checksum(b[52:slotBytes-4], castagnoli) {
			return p, true, nil
		}
		for i := range int(n) {
			p.known = append(p.known, span{le.Uint64(b[56+i*16:]), le.Uint64(b[64+i*16:])})
		}
	}
	return p, true, nil
}

func errVersion(name string, v, known uint16) error {
	return fmt.Errorf("read spool file %s: it has format version %d and this program knows %d; nothing was changed: run the version that wrote it until the spool is empty, or move the spool's directory away", name, v, known)
}

// openPosition reads the position, and found=false when there was none that is valid.
func openPosition(dir FS) (p *positionFile, found bool, err error) {
	p = &positionFile{fs: dir}
	file, err := dir.Open(positionName, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open the spool's position: %w", err)
	}
	p.file = file
	for i := range 2 {
		b := make([]byte, slotBytes)
		if _, err := file.ReadAt(b, int64(i*slotSize)); err != nil && !errors.Is(err, io.EOF) {
			return nil, false, errors.Join(fmt.Errorf("read the spool's position: %w", err), file.Close())
		}
		slot, ok, err := decodePosition(b)
		if err != nil {
			return nil, false, errors.Join(err, file.Close())
		}
		if ok && (!found || slot.generation > p.now.generation) {
			p.now, found = slot, true
		}
	}
	return p, found, nil
}

// create replaces the file by a new one that holds p.now in both slots, durably.
func (p *positionFile) create() error {
	if p.now.salt == 0 {
		p.now.salt = rand.Uint32() | 1
	}
	const temp = positionName + ".tmp"
	if err := p.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the spool's old %s: %w", temp, err)
	}
	file, err := p.fs.Open(temp, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("create the spool's position: %w", err)
	}
	slot := p.now.encode()
	_, err0 := file.WriteAt(slot, 0)
	_, err1 := file.WriteAt(slot, slotSize)
	err = errors.Join(err0, err1)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = p.fs.Rename(temp, positionName)
	}
	if err == nil {
		err = p.fs.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the spool's position: %w", err), file.Close())
	}
	old := p.file
	p.file, p.dirty, p.poisoned = file, false, false
	if old != nil {
		return old.Close()
	}
	return nil
}

// write keeps the position over the end of this process; Sync over a power cut.
func (p *positionFile) write(seq, lines uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.seq, p.now.lines = seq, lines
	p.dirty = true
	return p.put()
}

// mark notes up to which count of lines records were synced. It goes to disk with the
// next sync, at the latest; until then it is over the end of this process.
func (p *positionFile) mark(end uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.end == end {
		return nil
	}
	p.now.end = end
	return p.put()
}

// put writes now into the slot whose turn it is; where that fails, into a new file.
func (p *positionFile) put() error {
	p.now.generation++
	if !p.poisoned {
		_, err := p.file.WriteAt(p.now.encode(), int64(p.now.generation%2)*slotSize)
		if err == nil {
			return nil
		}
		p.poisoned, p.dirty = true, true
	}
	if err := p.create(); err != nil {
		return fmt.Errorf("%w; after a crash some entries would be sent again", err)
	}
	return nil
}

// sync makes the position durable. What a failed fsync leaves behind is not known, so
// the file is then made anew, now or with the next sync.
func (p *positionFile) sync() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty {
		return nil
	}
	var err error
	if !p.poisoned {
		if err = p.file.Sync(); err == nil {
			p.dirty = false
			return nil
		}
		p.poisoned = true
	}
	again := p.create()
	if again == nil {
		return nil
	}
	return fmt.Errorf("sync the spool's position: %w; after a power cut some entries would be sent again", errors.Join(err, again))
}

func (p *positionFile) close() error {
	if p.file == nil {
		return nil
	}
	return errors.Join(p.sync(), p.file.Close())
}
